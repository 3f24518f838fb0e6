//! Made-up events of probes: an actor enters a point that the program is attached to.

use std::os::fd::AsFd;

use libbpf_rs::{ErrorKind, Link, ProgramMut, UprobeOpts};

use super::Actors;
use super::arch::Registers;
use super::body::Call;
use super::error::ActorError;
use super::job::Job;
use super::points::Point;
use super::role::Role;
use super::stats;

/// Where a probe is, and what it sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Firing {
    /// On the return of a function (kretprobe, uretprobe), not on its entry.
    pub(crate) on_return: bool,
    /// What `bpf_get_attach_cookie()` gives (Linux 5.15); 0 if nothing.
    pub(crate) cookie: u64,
    /// The registers at the probe.
    pub(crate) registers: Registers,
}

impl Firing {
    /// The entry of a function with these arguments.
    ///
    /// # Errors
    /// If there are too many.
    pub(crate) fn entry(args: &[u64]) -> Result<Self, ActorError> {
        Ok(Self { on_return: false, cookie: 0, registers: Registers::call(args)? })
    }

    /// The return of a function with this value.
    pub(crate) fn exit(value: u64) -> Self {
        Self { on_return: true, cookie: 0, registers: Registers::default().returning(value) }
    }
}

/// What a made-up event did.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub(crate) struct Ran {
    /// What the program returned, where the kernel tells: it keeps what programs of probes return to itself.
    pub(crate) retval: Option<u32>,
    /// How long it ran, in nanoseconds of the kernel's own count.
    pub(crate) run_time_ns: u64,
    /// The task ended in the event: the program sent it a signal. The next event makes it anew.
    pub(crate) ended: bool,
}

/// Which attachment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct AttachedKey {
    prog: u32,
    on_return: bool,
    cookie: u64,
}

/// A program attached to a point of its own. Dropping detaches first and then gives the point back.
#[derive(Debug)]
pub(super) struct Attached {
    _link: Link,
    point: Point,
    used: u64,
}

/// How many threads detach at most.
const DETACHERS: usize = 16;

/// Detaches, without letting the caller wait: the kernel takes 50 to 100 ms for each since it waits for all CPUs to have let go
/// of the program, and for many at once no longer than for one.
pub(super) fn let_go(attached: Vec<Attached>) {
    let mut lots: Vec<Vec<Attached>> = Vec::new();
    for (i, one) in attached.into_iter().enumerate() {
        match lots.get_mut(i % DETACHERS) {
            Some(lot) => lot.push(one),
            None => lots.push(vec![one]),
        }
    }
    for lot in lots {
        // If there can be no thread, the closure is dropped here, and the links with it.
        let _ = std::thread::Builder::new().name("detach".to_owned()).spawn(move || drop(lot));
    }
}

impl Actors {
    /// Lets a probe's event happen to one program: the task of the role comes by, with the registers. Gives what is known of
    /// the run when it is over.
    ///
    /// The program is of type `BPF_PROG_TYPE_KPROBE`, loaded without an expected attach type of its own (multi, session). It
    /// is attached at the first event and stays so, since attaching takes much longer than an event.
    ///
    /// # Errors
    /// If there is no such task or CPU, the kernel does not attach the program, or the program did not run.
    pub(crate) fn fire(
        &mut self,
        prog: &ProgramMut<'_>,
        firing: &Firing,
        role: &Role,
    ) -> Result<Ran, ActorError> {
        let before = stats::of(prog.as_fd())?;
        let point = self.attached(prog, before.id, firing)?;
        let registers = Box::new(firing.registers.clone());
        let call = Call::enter(&raw const *registers, point);
        let job = Job { calls: vec![call], registers: Some(registers), ..Job::default() };
        let performed = self.member.perform(role, job);
        let after = stats::of(prog.as_fd())?;
        let ran = after.run_cnt > before.run_cnt;
        let ended = match performed {
            Err(ActorError::Died { .. }) if ran => true,
            other => other.map(|_| false)?,
        };
        if !ran {
            return Err(ActorError::DidNotRun { prog: prog.name().to_string_lossy().into_owned() });
        }
        Ok(Ran { retval: None, run_time_ns: after.run_time_ns.saturating_sub(before.run_time_ns), ended })
    }

    /// Detaches a program from its points: they are attached again when an event needs them.
    ///
    /// # Errors
    /// If the descriptor is not a program's.
    #[cfg(test)]
    pub(crate) fn detach(&mut self, prog: &ProgramMut<'_>) -> Result<(), ActorError> {
        let id = stats::of(prog.as_fd())?.id;
        self.attached.retain(|key, _| key.prog != id);
        Ok(())
    }

    /// The address of the point that a program is attached to.
    fn attached(&mut self, prog: &ProgramMut<'_>, id: u32, firing: &Firing) -> Result<usize, ActorError> {
        let key = AttachedKey { prog: id, on_return: firing.on_return, cookie: firing.cookie };
        self.clock += 1;
        if let Some(attached) = self.attached.get_mut(&key) {
            attached.used = self.clock;
            return Ok(attached.point.address());
        }
        let kind = if firing.on_return { "uretprobe" } else { "uprobe" };
        let refused =
            |why: String| ActorError::Attach { prog: prog.name().to_string_lossy().into_owned(), kind, why };
        if self.attached.len() >= self.most {
            let oldest = self.attached.iter().min_by_key(|(_, a)| a.used).map(|(key, _)| *key);
            let_go(oldest.and_then(|key| self.attached.remove(&key)).into_iter().collect());
        }
        let point =
            Point::take().ok_or_else(|| refused("other tests of this process use all points".to_owned()))?;
        let (file, offset) = point.place()?;
        let opts = UprobeOpts { cookie: firing.cookie, retprobe: firing.on_return, ..UprobeOpts::default() };
        let pid = std::process::id().cast_signed();
        let link = prog.attach_uprobe_with_opts(pid, file, offset, opts).map_err(|e| {
            let hint = match e.kind() {
                _ if firing.cookie != 0 => " (cookies need Linux 5.15)",
                ErrorKind::InvalidInput => {
                    " (a program that calls bpf_override_return(), or was loaded for many or session probes, runs at kernel \
                     functions only: let a Stimulus make it run)"
                }
                _ => "",
            };
            refused(format!("{e:#}{hint}"))
        })?;
        let address = point.address();
        self.attached.insert(key, Attached { _link: link, point, used: self.clock });
        Ok(address)
    }
}
