//! Playing an action: the machine at a moment of it, and what may happen next.

use bpf_helpers_mock::contexts::{PacketOutput, TracepointLayout};
use bpf_helpers_mock::objects::Value;

use super::happened::{Happened, Stimulated};
use super::network::Passage;
use crate::bpf::{Bpf, Point, RunReport, turns};
use crate::error::Error;

/// How many nanoseconds pass before every function that is entered, every one that returns, and every tracepoint.
pub const STEP_NS: u64 = 1_000;

/// An action in the middle of being played, by one task on one CPU.
///
/// Its methods are what an expansion is made of: [`syscall`](Self::syscall), [`function`](Self::function),
/// [`hook`](Self::hook), [`tracepoint`](Self::tracepoint), [`happen`](Self::happen) for any other point; objects to be
/// passed to them; tasks that are made, switched to and end.
#[derive(Debug)]
pub struct Simulation<'a> {
    pub(super) bpf: &'a mut Bpf,
    cpu: u32,
    /// Who acts, and who ran on the CPU before.
    actor: u32,
    happened: Vec<Happened>,
    reports: Vec<RunReport>,
}

/// What a point is given when it happens.
#[derive(Clone, Default, Debug)]
pub struct Occasion {
    /// Arguments of a function, system call, raw tracepoint or hook.
    pub args: Vec<u64>,
    /// The result, at a return.
    pub ret: Option<i64>,
    /// Fields of a tracepoint's record.
    pub fields: Vec<(String, Value)>,
    /// The tracepoint's record; what the kernel's profile says, if it is not given.
    pub layout: Option<TracepointLayout>,
    /// The packet, with its Ethernet header.
    pub packet: Vec<u8>,
    /// Metadata in front of the packet, which an XDP program has left.
    pub meta: Vec<u8>,
    /// How the packet passes; without it programs of all ways see it, as in a test run.
    pub passage: Option<Passage>,
    /// The number of the system call.
    pub nr: u64,
    /// The perf event that is sampled, by type and configuration.
    pub sampling: Option<(u32, u64)>,
}

impl<'a> Simulation<'a> {
    pub(crate) fn begin(bpf: &'a mut Bpf) -> Self {
        let state = &bpf.machine().kernel.state;
        let (cpu, actor) = (state.cpus.current, state.current().pid);
        Self { bpf, cpu, actor, happened: Vec::new(), reports: Vec::new() }
    }

    pub(crate) fn end(self, result: Result<Stimulated, Error>) -> Result<Stimulated, Error> {
        let state = &mut self.bpf.machine().kernel.state;
        if state.tasks.running(self.cpu).pid != self.actor {
            state.tasks.run_on(self.cpu, self.actor);
        }
        let mut done = result?;
        done.pid = self.actor;
        done.tgid = state.tasks.get(self.actor).map_or(self.actor, |t| t.tgid);
        done.fired = self.reports.len();
        done.reports = self.reports;
        done.happened = self.happened;
        Ok(done)
    }

    /// The machine, with everything that is not here.
    pub fn bpf(&mut self) -> &mut Bpf {
        self.bpf
    }

    /// The thread that runs now.
    pub fn pid(&mut self) -> u32 {
        self.bpf.machine().kernel.state.tasks.running(self.cpu).pid
    }

    /// Its process.
    pub fn tgid(&mut self) -> u32 {
        self.bpf.machine().kernel.state.tasks.running(self.cpu).tgid
    }

    /// Its name, as the kernel keeps it.
    pub fn comm(&mut self) -> String {
        self.bpf.machine().kernel.state.tasks.running(self.cpu).shown_comm().to_owned()
    }

    /// The CPU.
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Whether the machine's kernel is at least of this version.
    pub fn since(&mut self, major: u8, minor: u8) -> bool {
        use bpf_vm_shim::object::KernelProfile;
        self.bpf.machine().kernel.profile.version >= KernelProfile::kernel_version(major, minor, 0)
    }

    /// Whether the machine's kernel has a function; `None` if nothing is known of its functions.
    pub fn has_function(&mut self, name: &str) -> Option<bool> {
        let symbols = &self.bpf.machine().kernel.profile.symbols;
        (!symbols.is_empty()).then(|| symbols.contains(name))
    }

    /// The name that a function has on the machine's kernel, of those that it had since some version, newest first: the
    /// first that the kernel has, by its functions or else by its version.
    pub fn named<'n>(&mut self, names: &[(&'n str, (u8, u8))]) -> &'n str {
        let mut last = "";
        for (name, (major, minor)) in names {
            last = name;
            if self.has_function(name).unwrap_or_else(|| self.since(*major, *minor)) {
                return name;
            }
        }
        last
    }

    /// Lets time pass, and with it whatever falls due.
    ///
    /// # Errors
    /// If a timer's callback does something wrong.
    pub fn advance(&mut self, ns: u64) -> Result<(), Error> {
        self.bpf.advance(ns)
    }

    /// A point comes by: programs that are attached there run, none is no error. Gives what they have decided: R0 of the
    /// last one that ran, or in a control group of all together.
    ///
    /// # Errors
    /// If one of them does something wrong, or its context cannot be made.
    pub fn happen(&mut self, point: Point, occasion: &Occasion) -> Result<Option<u64>, Error> {
        let attached = self.bpf.is_attached_at(&point);
        let before = self.reports.len();
        if attached {
            let mut event = self.bpf.event(point.clone()).cpu(self.cpu).nr(occasion.nr);
            event = event.args(occasion.args.iter().copied());
            if let Some(ret) = occasion.ret {
                event = event.ret(ret);
            }
            for (name, value) in &occasion.fields {
                event = event.set(name.as_str(), value.clone());
            }
            if let Some(layout) = &occasion.layout {
                event = event.layout(layout.clone());
            }
            if let Some((ev_type, ev_config)) = occasion.sampling {
                event = event.sampling(ev_type, ev_config);
            }
            if !occasion.packet.is_empty() {
                event = event.payload(occasion.packet.clone());
            }
            if let Some(passage) = occasion.passage {
                event = event.passing(passage, occasion.meta.clone());
            }
            self.reports.extend(event.try_fire()?);
        }
        let new = self.reports.get(before..).unwrap_or_default();
        for report in new {
            report.ret()?;
        }
        let ran = new.len();
        let verdict = turns::verdict(&point, new);
        let pid = self.pid();
        self.happened.push(Happened { point, pid, args: occasion.args.clone(), ret: occasion.ret, ran });
        Ok(verdict)
    }

    /// As [`Simulation::happen`], without a trace of it where nothing is attached: another view of what is there already.
    pub(super) fn also(&mut self, point: Point, occasion: &Occasion) -> Result<Option<u64>, Error> {
        if !self.bpf.is_attached_at(&point) {
            return Ok(None);
        }
        let result = self.happen(point, occasion);
        self.happened.pop();
        result
    }

    /// The last packet that programs have made of the one that they were given.
    pub(super) fn last_packet(&self) -> Option<&PacketOutput> {
        self.reports.last().and_then(|r| r.packet.as_ref())
    }

    /// A kernel function is called: programs at its entry, what it does, programs at its return. Gives its result, which
    /// a program may have decided.
    ///
    /// A compiler's part of a function (`finish_task_switch.isra.0`) counts as the function.
    ///
    /// # Errors
    /// As [`Simulation::happen`], and what the inner part gives.
    pub fn function(
        &mut self,
        name: &str,
        args: &[u64],
        inner: impl FnOnce(&mut Self) -> Result<i64, Error>,
    ) -> Result<i64, Error> {
        self.within(name, |sim| sim.called(name, args, inner)).and_then(|ret| self.returned(name, args, ret))
    }

    /// What happens here happens inside of a function: it is on the task's kernel stack.
    pub(super) fn within<T>(&mut self, name: &str, inner: impl FnOnce(&mut Self) -> T) -> T {
        let (pid, addr) = (self.pid(), self.bpf.symbol(name));
        self.bpf.machine().kernel.state.tasks.enter_function(pid, addr);
        let result = inner(self);
        self.bpf.machine().kernel.state.tasks.leave_function(pid, addr);
        result
    }

    /// The entry of a function and what it does. Gives its result.
    fn called(
        &mut self,
        name: &str,
        args: &[u64],
        inner: impl FnOnce(&mut Self) -> Result<i64, Error>,
    ) -> Result<i64, Error> {
        self.advance(STEP_NS)?;
        let entry = Occasion { args: args.to_vec(), ..Occasion::default() };
        self.happen(Point::Kprobe(name.to_owned()), &entry)?;
        let part = format!("{name}.isra.0");
        self.also(Point::Kprobe(part), &entry)?;
        self.also(Point::Fentry(name.to_owned()), &entry)?;
        let call = Occasion { args: args.to_vec(), ret: Some(0), ..Occasion::default() };
        let decided = self.also(Point::FmodRet(name.to_owned()), &call)?.map(|r| i64::from(r as u32 as i32));
        match decided.filter(|r| *r != 0) {
            Some(ret) => Ok(ret),
            None => inner(self),
        }
    }

    /// The return of a function, in its caller.
    fn returned(&mut self, name: &str, args: &[u64], ret: i64) -> Result<i64, Error> {
        self.advance(STEP_NS)?;
        let call = Occasion { args: args.to_vec(), ret: Some(ret), ..Occasion::default() };
        self.also(Point::Fexit(name.to_owned()), &call)?;
        self.also(Point::Kretprobe(format!("{name}.isra.0")), &call)?;
        let exit = Occasion { ret: Some(ret), ..Occasion::default() };
        self.happen(Point::Kretprobe(name.to_owned()), &exit)?;
        Ok(ret)
    }

    /// A function that calls nothing of interest.
    ///
    /// # Errors
    /// As [`Simulation::function`].
    pub fn leaf(&mut self, name: &str, args: &[u64], ret: i64) -> Result<i64, Error> {
        self.function(name, args, |_| Ok(ret))
    }

    /// A security hook is called, by the function `security_NAME`. Gives 0, or what a program has refused it with.
    ///
    /// # Errors
    /// As [`Simulation::function`].
    pub fn hook(&mut self, name: &str, args: &[u64]) -> Result<i64, Error> {
        self.hook_by(&format!("security_{name}"), name, args)
    }

    /// As [`Simulation::hook`], for a hook whose function has another name.
    ///
    /// # Errors
    /// As there.
    pub fn hook_by(&mut self, function: &str, name: &str, args: &[u64]) -> Result<i64, Error> {
        let point = Point::Lsm(name.to_owned());
        let occasion = Occasion { args: args.to_vec(), ..Occasion::default() };
        self.function(function, args, |sim| {
            Ok(sim.happen(point, &occasion)?.map_or(0, |r| i64::from(r as u32 as i32)))
        })
    }
}
