//! Playing a scenario.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bpf_helpers_mock::objects;
use bpf_vm_shim::object::Object;

use super::ScenarioError;
use super::actor::Actor;
use super::attach::attach;
use super::file::{EventFile, Number, Scenario};
use super::kernel::{Names, Placed, at, configure, number, populate};
use super::line::Lines;
use super::maps;
use super::output::{Output, show};
use super::print::print;
use super::redact::redaction;
use super::stimulus::StimulusFile;
use super::tiers::{Happening, happenings, on_kernel};
use crate::bpf::{Bpf, BpfBuilder, Point, RunReport};
use crate::error::Error;
use crate::redact::Redaction;
use crate::tier::Tier;
use crate::value::{Value, hex_to_bytes};

/// What came of a scenario.
#[derive(Debug)]
#[non_exhaustive]
pub struct Played {
    /// How each run ended, in order.
    pub runs: Vec<RunReport>,
    /// What the scenario asked to show.
    pub output: Output,
    /// The machine afterwards.
    pub bpf: Bpf,
    /// What the scenario has replaced where it shows something.
    pub(crate) redaction: Option<Redaction>,
    /// Whether anything really happened, or would have on a kernel: there are stimuli.
    pub(crate) stimulated: bool,
}

/// The most events of one scenario, repetitions included.
const MAX_EVENTS: u32 = 1_000_000;

/// Plays a scenario with an object. `file` is the scenario's path, for errors and for the files that it names; `builder`
/// has what the caller wants to be different: its CPUs, types and seed win over the scenario's.
///
/// # Errors
/// What is wrong with the scenario, and where. Faults of programs are in the runs; the scenario goes on after them.
pub fn play(file: &Path, text: &str, object: Object, builder: BpfBuilder) -> Result<Played, ScenarioError> {
    play_with(file, text, builder.parsed(object))
}

/// As [`play`], with what the builder loads: objects, or texts in bcc's dialect.
///
/// # Errors
/// As there.
pub fn play_with(file: &Path, text: &str, builder: BpfBuilder) -> Result<Played, ScenarioError> {
    let name = file.display().to_string();
    let scenario = Scenario::parse(&name, text)?;
    let dir = file.parent().unwrap_or(Path::new("."));
    run(&scenario, dir, builder).map_err(|(span, message)| ScenarioError::new(&name, text, span, message))
}

/// The builder with what a scenario says about kernel and compilation: for whoever wants the compiled object.
///
/// # Errors
/// What is wrong with the scenario, and where.
pub fn prepare(file: &Path, text: &str, builder: BpfBuilder) -> Result<BpfBuilder, ScenarioError> {
    let name = file.display().to_string();
    let scenario = Scenario::parse(&name, text)?;
    let actor = Actor::new(scenario.actor.comm.get_ref(), Tier::Simulator);
    actor
        .map_err(|message| (None, message))
        .and_then(|actor| configure(&scenario, file.parent().unwrap_or(Path::new(".")), &actor, builder))
        .map_err(|(span, message)| ScenarioError::new(&name, text, span, message))
}

fn run(scenario: &Scenario, dir: &Path, builder: BpfBuilder) -> Result<Played, Placed> {
    let tier = builder.chosen_tier().map_err(|e| (None, e.to_string()))?;
    let happenings = happenings(scenario, tier)?;
    let mut builder = builder;
    if tier == Tier::Kernel && on_kernel(scenario, &happenings)? {
        builder = builder.made_up_events();
    }
    let actor = Actor::new(scenario.actor.comm.get_ref(), tier).map_err(at(&scenario.actor.comm))?;
    let result = run_as(&actor, scenario, &happenings, dir, builder);
    actor.end();
    result
}

fn run_as(
    actor: &Actor,
    scenario: &Scenario,
    happenings: &[Happening<'_>],
    dir: &Path,
    builder: BpfBuilder,
) -> Result<Played, Placed> {
    let mut bpf = configure(scenario, dir, actor, builder)?.load().map_err(|e| {
        // The scenario has the line of a variable that nobody has.
        let wrong = match &e {
            Error::NotFound { what: "global variable", name, .. } => scenario.globals.get(name),
            _ => None,
        };
        (wrong.map(toml::Spanned::span), e.to_string())
    })?;
    let names = populate(scenario, dir, &mut bpf)?;
    maps::fill(scenario, actor, &mut bpf)?;
    if !scenario.stimulus.is_empty() {
        actor.appear(&mut bpf);
    }
    if scenario.attach.is_empty() {
        bpf.attach_all().map_err(|e| (None, e.to_string()))?;
    }
    for a in &scenario.attach {
        attach(a, &mut bpf)?;
    }
    // Their rings are open while things happen; what is wrong with a name is said when it is shown.
    let buffers = buffers(scenario);
    for map in &buffers {
        let _ = bpf.keep_records(map);
    }
    let mut runs = Vec::new();
    let mut events = 0u32;
    let mut more = |times: u32, placed: &dyn Fn(String) -> Placed| {
        events = events.saturating_add(times);
        if events > MAX_EVENTS { Err(placed(format!("more than {MAX_EVENTS} events"))) } else { Ok(times) }
    };
    for happening in happenings {
        match happening {
            Happening::Event(e) => {
                for _ in 0..more(e.get_ref().repeat.unwrap_or(1), &at(e))? {
                    event(e, &mut bpf, &names, &mut runs)?;
                    bpf.collect_records(buffers.iter().copied());
                }
            }
            Happening::Stimulus(s) => {
                let times = s.get_ref().times.as_ref().map_or(1, |t| *t.get_ref());
                for _ in 0..more(times, &at(s))? {
                    bpf = stimulus(s, actor, bpf, &mut runs)?;
                    bpf.collect_records(buffers.iter().copied());
                }
            }
        }
    }
    let mut output = Output::default();
    // Lines look up symbols and stacks while they are written, so the machine is theirs meanwhile.
    let shared = Arc::new(Mutex::new(bpf));
    let lines = Lines::new(&shared, actor.names());
    let mut redaction = redaction(scenario)?;
    print(&scenario.print, &shared, &lines, &mut redaction, &mut output.parts)?;
    drop(lines);
    let Some(bpf) = Arc::into_inner(shared) else {
        return Err((None, "the machine is still in use".to_owned()));
    };
    let mut bpf = bpf.into_inner().unwrap_or_else(PoisonError::into_inner);
    show(&scenario.output, &mut bpf, redaction.as_mut(), &mut output)?;
    let stimulated = happenings.iter().any(|h| matches!(h, Happening::Stimulus(_)));
    Ok(Played { runs, output, bpf, redaction, stimulated })
}

/// Lets something happen; gives the machine back.
fn stimulus(
    s: &toml::Spanned<StimulusFile>,
    actor: &Actor,
    mut bpf: Bpf,
    runs: &mut Vec<RunReport>,
) -> Result<Bpf, Placed> {
    let act = s.get_ref().action()?;
    bpf.advance(s.get_ref().after).map_err(|e| at(s)(e.to_string()))?;
    let (bpf, done) = actor.act(bpf, act).map_err(at(&s.get_ref().what))?;
    runs.extend(done.reports);
    Ok(bpf)
}

/// The maps whose records are shown at the end.
fn buffers(scenario: &Scenario) -> Vec<&str> {
    let shown = scenario.output.events.iter().map(|e| e.get_ref().map.as_str());
    let printed =
        scenario.print.iter().filter_map(|p| p.get_ref().events.as_ref()).map(|e| e.get_ref().as_str());
    let mut maps: Vec<&str> = shown.chain(printed).collect();
    maps.sort_unstable();
    maps.dedup();
    maps
}

fn event(
    e: &toml::Spanned<EventFile>,
    bpf: &mut Bpf,
    names: &Names,
    runs: &mut Vec<RunReport>,
) -> Result<(), Placed> {
    let file = e.get_ref();
    let point: Point = file.probe.get_ref().parse().map_err(at(&file.probe))?;
    let tasks = &bpf.machine().kernel.state;
    let task = match &file.task {
        Some(pid) => tasks.tasks.get(*pid.get_ref()),
        None => Some(tasks.current()),
    };
    let tgid = task.map_or(0, |t| t.tgid);
    let mut args = Vec::new();
    for a in &file.args {
        args.push(number(a.get_ref(), names, bpf, tgid).map_err(at(a))?);
    }
    let ret = match &file.ret {
        Some(ret) => Some(number(ret.get_ref(), names, bpf, tgid).map_err(at(ret))?),
        None => None,
    };
    bpf.advance(file.after).map_err(|err| at(e)(err.to_string()))?;
    let payload = match (&file.packet, &file.ctx) {
        (Some(hex), None) | (None, Some(hex)) => {
            hex_to_bytes(hex.get_ref()).ok_or_else(|| at(hex)("this is not hexadecimal".to_owned()))?
        }
        (None, None) if matches!(point, Point::Syscall) => Vec::new(),
        (None, None) => vec![0; 64],
        (Some(_), Some(hex)) => {
            return Err(at(hex)("an event has a packet or a context, not both".to_owned()));
        }
    };
    let kernel = &bpf.machine().kernel;
    if let Some(cpu) = file.cpu.as_ref().filter(|c| *c.get_ref() >= kernel.profile.cpus) {
        let cpus = kernel.profile.cpus;
        return Err(at(cpu)(format!("there is no CPU {}: there are {cpus}, from 0", cpu.get_ref())));
    }
    if let Some(pid) = file.task.as_ref().filter(|t| kernel.state.tasks.get(*t.get_ref()).is_none()) {
        return Err(at(pid)(format!("there is no task {}: add it as a [[task]]", pid.get_ref())));
    }
    let mut fields = Vec::new();
    for (field, value) in &file.set {
        fields.push((field, field_value(value.get_ref(), names, bpf, tgid).map_err(at(value))?));
    }
    let mut event = bpf.event(point).payload(payload).args(args).nr(file.nr).location(file.location);
    if let Some(ret) = ret {
        event = event.ret(ret.cast_signed());
    }
    for (field, value) in fields {
        event = event.set(field.as_str(), value);
    }
    if let Some(cpu) = &file.cpu {
        event = event.cpu(*cpu.get_ref());
    }
    if let Some(pid) = &file.task {
        event = event.task(*pid.get_ref());
    }
    runs.extend(event.try_fire().map_err(|err| at(&file.probe)(err.to_string()))?);
    Ok(())
}

/// A number, an address by its name, or text.
fn field_value(value: &Value, names: &Names, bpf: &mut Bpf, tgid: u32) -> Result<objects::Value, String> {
    match (value, Number::of(value)) {
        (Value::Int(v), _) => Ok((*v).into()),
        (_, Ok(n)) => Ok(number(&n, names, bpf, tgid)?.into()),
        (Value::Text(t), Err(_)) => Ok(t.as_str().into()),
        (Value::List(items), _) => {
            let bytes = items.iter().map(|i| i.as_u64().and_then(|b| u8::try_from(b).ok()));
            let bytes: Option<Vec<u8>> = bytes.collect();
            bytes.map(Into::into).ok_or_else(|| "a list is of bytes, 0 to 255".to_owned())
        }
        _ => Err("a field is a number, a text or a list of bytes".to_owned()),
    }
}
