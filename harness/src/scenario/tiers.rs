//! What of a scenario goes on which tier.

use toml::Spanned;

use super::file::{EventFile, Scenario};
use super::kernel::{Placed, at};
use super::stimulus::StimulusFile;
use crate::error::Error;
use crate::tier::Tier;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening<'a> {
    Event(&'a Spanned<EventFile>),
    Stimulus(&'a Spanned<StimulusFile>),
}

impl Happening<'_> {
    fn start(&self) -> usize {
        match self {
            Self::Event(e) => e.span().start,
            Self::Stimulus(s) => s.span().start,
        }
    }
}

/// What happens on this tier, events and stimuli in the order of the file.
pub(super) fn happenings(scenario: &Scenario, tier: Tier) -> Result<Vec<Happening<'_>>, Placed> {
    let mut all = Vec::new();
    for e in &scenario.event {
        if is_for(&e.get_ref().tier, tier)? {
            all.push(Happening::Event(e));
        }
    }
    for s in &scenario.stimulus {
        if is_for(&s.get_ref().tier, tier)? {
            all.push(Happening::Stimulus(s));
        }
    }
    all.sort_by_key(Happening::start);
    Ok(all)
}

fn is_for(wanted: &Option<Spanned<String>>, tier: Tier) -> Result<bool, Placed> {
    let Some(wanted) = wanted else { return Ok(true) };
    let wanted_tier: Tier = wanted.get_ref().parse().map_err(|e: Error| at(wanted)(e.to_string()))?;
    Ok(wanted_tier == tier)
}

/// Refuses what a real kernel cannot be told. Says whether its events are made up.
pub(super) fn on_kernel(scenario: &Scenario, all: &[Happening<'_>]) -> Result<bool, Placed> {
    let made_up = all.iter().any(|h| matches!(h, Happening::Event(_)));
    let real = all.iter().find_map(|h| match h {
        Happening::Stimulus(s) => Some(s),
        Happening::Event(_) => None,
    });
    if let (true, Some(stimulus)) = (made_up, real) {
        let message = "on a kernel a scenario has either [[event]]s, which are made up, or [[stimulus]]es, which really \
                       happen: say `tier = \"simulator\"` where that is what an entry is for";
        return Err(at(stimulus)(message.to_owned()));
    }
    let k = &scenario.kernel;
    let no = |place: Option<std::ops::Range<usize>>, what: &str| -> Result<(), Placed> {
        match place {
            None => Ok(()),
            Some(place) => {
                let message = format!(
                    "{what} can be given to a simulated kernel only, not to a real one: let something really happen \
                     (a [[stimulus]]), or keep this scenario to the simulator"
                );
                Err(((place.start < place.end).then_some(place), message))
            }
        }
    };
    no(k.btf.as_ref().map(Spanned::span), "its types")?;
    no(k.clock.map(|_| 0..0), "its clock ('clock' in [kernel])")?;
    no(k.clock_step.map(|_| 0..0), "its clock ('clock_step' in [kernel])")?;
    no(scenario.memory.first().map(Spanned::span), "memory of the kernel")?;
    no(scenario.object.first().map(Spanned::span), "an object of the kernel")?;
    no(scenario.symbols.values().next().map(Spanned::span), "the address of a kernel symbol")?;
    let counter = scenario.counter.iter().find(|c| c.get_ref().event.is_none());
    no(counter.map(Spanned::span), "what a counter counts (without the 'event' that a real one counts)")?;
    for t in &scenario.task {
        let task = t.get_ref();
        let stack = task.kernel_stack.first().or(task.user_stack.first());
        no(stack.map(Spanned::span), "the stack of a task")?;
        no(task.map.first().map(Spanned::span), "what a process has mapped")?;
        no(task.kthread.then(|| t.span()), "a kernel thread")?;
        let placed = task.memory.iter().find(|m| m.get_ref().at.is_some());
        no(placed.map(Spanned::span), "the address of user memory")?;
    }
    Ok(made_up)
}
