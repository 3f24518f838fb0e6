//! Events: something happens at a probe point, and the programs attached there run.

use std::ops::ControlFlow;
use std::sync::Arc;

use bpf_helpers_mock::contexts::{
    self, ContextError, PerfEvent, Probe, PtRegs, Syscall, Tracepoint, TracepointLayout, TypedArgs,
};
use bpf_helpers_mock::objects;
use bpf_helpers_mock::{LoadedProg, Machine, RunInput};
use bpf_vm_shim::exec::Outcome;
use bpf_vm_shim::object::AttachPoint;

use super::attach::Attachment;
use super::backend::MadeUp;
use super::{Bpf, Point, RunReport, UserPlace, passage, turns};
use crate::error::Error;
use crate::stimulus::Passage;

/// The kernel's `MAX_BPF_FUNC_ARGS`: how many arguments there are if nobody knows better.
const MAX_ARGS: usize = 12;
/// Where the first argument is in the record of a system call.
const FIRST_ARG: u32 = 16;

/// An event that is about to happen. Nothing runs before [`Event::fire`].
///
/// ```
/// use bpf_harness::Bpf;
/// # let object = bpf_fixtures::object("vfsreadlat").unwrap();
/// let mut bpf = Bpf::load(object)?;
/// bpf.attach("vfs_read_entry")?;
/// let fired = bpf.kprobe("vfs_read").cpu(1).arg(0x1000).fire()?;
/// assert_eq!(fired.ret(), Some(0));
///
/// let error = bpf.kprobe("vfs_write").fire().unwrap_err();
/// assert!(error.to_string().contains("nothing is attached to kprobe/vfs_write"));
/// # Ok::<(), bpf_harness::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "an event happens only when it is fired"]
pub struct Event<'a> {
    bpf: &'a mut Bpf,
    what: What,
    cpu: Option<u32>,
    task: Option<u32>,
}

/// What happens, apart from where and to whom.
#[derive(Clone, Debug)]
struct What {
    point: Point,
    args: Vec<u64>,
    ret: Option<u64>,
    fields: Vec<(String, objects::Value)>,
    layout: Option<TracepointLayout>,
    /// What the kernel's profile knows of the record.
    known: Option<TracepointLayout>,
    packet: Vec<u8>,
    /// Metadata in front of the packet.
    meta: Vec<u8>,
    nr: u64,
    location: usize,
    perf: Option<(u32, u64)>,
    passage: Option<Passage>,
}

/// How the programs of one event ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fired {
    /// One report per program that ran, in the order in which kernels run them: most places run the one first that was
    /// attached last; tracepoints, traffic control, control groups and returns of functions keep the order.
    pub reports: Vec<RunReport>,
}

impl Fired {
    /// R0 of the last program; of the only one, mostly. `None` where a kernel does not tell.
    #[must_use]
    pub fn ret(&self) -> Option<u64> {
        self.reports.last().filter(|r| r.ret_known).and_then(|r| r.ret().ok())
    }
}

impl<'a> Event<'a> {
    pub(super) fn new(bpf: &'a mut Bpf, point: Point) -> Self {
        Self::with_packet(bpf, point, Vec::new())
    }

    pub(super) fn with_packet(bpf: &'a mut Bpf, point: Point, packet: Vec<u8>) -> Self {
        let what = What {
            point,
            args: Vec::new(),
            ret: None,
            fields: Vec::new(),
            layout: None,
            known: None,
            packet,
            meta: Vec::new(),
            nr: 0,
            location: 0,
            perf: None,
            passage: None,
        };
        Self { bpf, what, cpu: None, task: None }
    }

    /// The next argument of the function, system call or tracepoint.
    pub fn arg(mut self, value: u64) -> Self {
        self.what.args.push(value);
        self
    }

    /// More arguments.
    pub fn args(mut self, values: impl IntoIterator<Item = u64>) -> Self {
        self.what.args.extend(values);
        self
    }

    /// The return value.
    pub fn ret(mut self, value: i64) -> Self {
        self.what.ret = Some(value.cast_unsigned());
        self
    }

    /// A field of the tracepoint's record: a number, text or bytes.
    pub fn set(mut self, field: impl Into<String>, value: impl Into<objects::Value>) -> Self {
        self.what.fields.push((field.into(), value.into()));
        self
    }

    /// What the tracepoint's record looks like; without it the kernel's BTF is asked, and system calls are known.
    pub fn layout(mut self, layout: TracepointLayout) -> Self {
        self.what.layout = Some(layout);
        self
    }

    /// The packet, with its Ethernet header, or the context of a program that the `bpf` system call runs.
    pub fn payload(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.what.packet = bytes.into();
        self
    }

    /// The system call's number.
    pub fn nr(mut self, nr: u64) -> Self {
        self.what.nr = nr;
        self
    }

    /// The place, from 0, at which a statically defined user-space probe is hit; the first one otherwise.
    pub fn location(mut self, index: usize) -> Self {
        self.what.location = index;
        self
    }

    /// The perf event that is sampled, by type and configuration; without it programs of all perf events run.
    pub fn sampling(mut self, ev_type: u32, ev_config: u64) -> Self {
        self.what.perf = Some((ev_type, ev_config));
        self
    }

    /// How the packet passes, with the metadata in front of it, so that only programs of that way see it.
    pub(crate) fn passing(mut self, passage: Passage, meta: Vec<u8>) -> Self {
        (self.what.passage, self.what.meta) = (Some(passage), meta);
        self
    }

    /// The CPU on which it happens; the current one otherwise.
    pub fn cpu(mut self, cpu: u32) -> Self {
        self.cpu = Some(cpu);
        self
    }

    /// The task, by its thread id, in whose context it happens; it then stays the running one of that CPU.
    pub fn task(mut self, pid: u32) -> Self {
        self.task = Some(pid);
        self
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// If nothing is attached there, or one of the programs faults or needs something unsupported.
    pub fn fire(self) -> Result<Fired, Error> {
        let reports = self.try_fire()?;
        for report in &reports {
            report.ret()?;
        }
        Ok(Fired { reports })
    }

    /// Lets it happen; faults are in the reports.
    ///
    /// # Errors
    /// If nothing is attached there, or a context cannot be made.
    pub fn try_fire(self) -> Result<Vec<RunReport>, Error> {
        let Self { bpf, mut what, cpu, task } = self;
        bpf.check_refused()?;
        if let Point::Tracepoint(category, event) = &what.point {
            let format = bpf.tracepoints.find(category, event);
            what.known = format.map(|f| f.layout()).transpose()?;
        }
        let mut attached = bpf.attached_to(&what.point);
        let version = bpf.machine.kernel.profile.version;
        if turns::last_first(&what.point, attached.iter().map(|(_, a)| a.target.kind), version) {
            attached.reverse();
        }
        if attached.is_empty() {
            let (point, attached) = (what.point.to_string(), bpf.describe_attached());
            return Err(Error::NothingAttached { point, attached });
        }
        let state = &mut bpf.machine.kernel.state;
        let before = state.cpus.current;
        let cpu = cpu.unwrap_or(before);
        if cpu >= state.cpus.count {
            return Err(Error::Invalid(format!("there is no CPU {cpu}: there are {}", state.cpus.count)));
        }
        if let Some(pid) = task
            && !state.tasks.run_on(cpu, pid)
        {
            return Err(Error::Invalid(format!("there is no task {pid}: add it with `add_task()` first")));
        }
        state.cpus.current = cpu;
        let running = state.current().clone();
        let tgid = running.tgid;
        let mut reports = Vec::new();
        for (prog, attachment) in &attached {
            let link = &attachment.link;
            if !link.concerns(tgid, cpu, what.perf, what.location) {
                continue;
            }
            if what.passage.is_some_and(|p| !passage::concerns(&p, prog, attachment)) {
                continue;
            }
            if let Some(kernel) = &mut bpf.kernel {
                let event = MadeUp {
                    prog: prog.id,
                    point: &what.point,
                    attachment,
                    args: &what.args,
                    ret: what.ret,
                    packet: &what.packet,
                    tasks: &bpf.machine.kernel.state.tasks,
                    pid: running.pid,
                    cpu,
                };
                match kernel.fire(&event) {
                    Ok(run) => reports.push(RunReport::of_kernel(&prog.linked.name, run)),
                    Err(e) => {
                        bpf.machine.kernel.state.cpus.current = before;
                        bpf.seen().runs(&reports);
                        return Err(e);
                    }
                }
                continue;
            }
            let user = bpf.user_place(link, tgid);
            let input = what.input(&mut bpf.machine, prog, attachment, user);
            let report = input.and_then(|i| Ok(bpf.machine.run(prog.id, i)?));
            match report {
                Ok(report) => reports.push(bpf.report(&prog.linked.name, report)),
                Err(e) => {
                    bpf.machine.kernel.state.cpus.current = before;
                    return Err(e);
                }
            }
            if what.go_on(reports.last()).is_break() {
                break;
            }
        }
        bpf.machine.kernel.state.cpus.current = before;
        bpf.seen().runs(&reports);
        Ok(reports)
    }
}

impl What {
    /// Whether the next program runs behind this one, of a packet with what it has made of it.
    fn go_on(&mut self, report: Option<&RunReport>) -> ControlFlow<()> {
        let Some(report) = report else { return ControlFlow::Continue(()) };
        if let (Point::Tc, Some(passage), Some(new)) = (&self.point, &mut self.passage, &report.packet) {
            self.packet.clone_from(&new.packet);
            self.meta.clone_from(&new.meta);
            *passage = passage.behind(&new.ctx);
        }
        match report.outcome {
            Outcome::Returned(ret) => turns::after(&self.point, ret, self.passage.is_some()),
            _ => ControlFlow::Continue(()),
        }
    }

    /// The context that the kernel would build for this program.
    fn input(
        &self,
        machine: &mut Machine,
        prog: &Arc<LoadedProg>,
        attachment: &Attachment,
        user: Option<UserPlace>,
    ) -> Result<RunInput, Error> {
        let cookie = attachment.cookie;
        Ok(match &self.point {
            Point::Kprobe(f) | Point::Uprobe(f) => {
                self.probe(prog, f, None, attachment, user.as_ref()).build(machine)
            }
            Point::Kretprobe(f) | Point::Uretprobe(f) => {
                self.probe(prog, f, Some(self.ret.unwrap_or(0)), attachment, user.as_ref()).build(machine)
            }
            Point::Usdt(provider, name) => {
                let site = attachment.link.usdt.as_deref();
                let user = user.as_ref();
                return super::usdt::input(machine, (provider, name), site, user, &self.args, cookie);
            }
            Point::Ksyscall(name) => self.syscall(name, None, cookie).build(machine),
            Point::Kretsyscall(name) => {
                self.syscall(name, Some(self.ret.unwrap_or(0).cast_signed()), cookie).build(machine)
            }
            Point::Tracepoint(..) => self.tracepoint(machine, prog, cookie)?.build(machine),
            Point::RawTp(_) => self.typed(machine, prog, None, cookie).build(machine),
            Point::Fentry(f) | Point::Fexit(f) | Point::FmodRet(f) => {
                self.typed(machine, prog, Some(f), cookie).build(machine)
            }
            Point::Lsm(_) => self.typed(machine, prog, None, cookie).build(machine),
            Point::PerfEvent => {
                let regs = PtRegs { ip: self.args.first().copied().unwrap_or(0), ..PtRegs::default() };
                let sample_period = attachment.link.perf.as_ref().map_or(0, |p| p.period());
                PerfEvent { regs, cookie, sample_period, ..PerfEvent::default() }.build(machine)
            }
            Point::Syscall => contexts::syscall_input(machine, &self.packet),
            Point::Xdp | Point::Tc | Point::Socket | Point::CgroupSkb => match &self.passage {
                Some(how) => passage::input(machine, prog.prog_type, (&self.packet, &self.meta), how),
                None => contexts::packet(machine, prog.prog_type, &self.packet),
            },
        }?)
    }

    fn probe(
        &self,
        prog: &LoadedProg,
        func: &str,
        ret: Option<u64>,
        attachment: &Attachment,
        user: Option<&UserPlace>,
    ) -> Probe {
        let mut probe = Probe::default_for(prog);
        probe.func = Some(func.to_owned());
        // The same program may be attached to several functions, and in the middle of one.
        if let AttachPoint::Symbol { offset, .. } | AttachPoint::Binary { offset, .. } =
            &attachment.target.point
        {
            probe.offset = *offset;
        }
        probe.addr = user.map(|u| u.addr);
        probe.user = matches!(self.point, Point::Uprobe(_) | Point::Uretprobe(_));
        probe.args.clone_from(&self.args);
        probe.ret = ret;
        probe.cookie = attachment.cookie;
        probe
    }

    fn syscall(&self, name: &str, ret: Option<i64>, cookie: u64) -> Syscall {
        Syscall { name: name.to_owned(), nr: self.nr, args: self.args.clone(), ret, cookie }
    }

    fn tracepoint(
        &self,
        machine: &Machine,
        prog: &LoadedProg,
        cookie: u64,
    ) -> Result<Tracepoint, ContextError> {
        let mut tp = Tracepoint::default_for(machine, prog)?;
        if let Some(layout) = &self.layout {
            tp.layout = layout.clone();
            tp.room = 0;
        } else if let Some(known) = &self.known {
            tp.layout = known.clone();
        }
        tp.values.clone_from(&self.fields);
        // Arguments of a system call's tracepoint are its fields, which may have names.
        for (i, arg) in (0..).zip(&self.args) {
            let numbered = format!("args[{i}]");
            let here =
                |f: &&contexts::Field| f.name != numbered && f.offset == FIRST_ARG + 8 * i && f.size == 8;
            let named = tp.layout.fields.iter().find(here).map(|f| f.name.clone());
            tp.values.push((named.unwrap_or(numbered), (*arg).into()));
        }
        if let Some(ret) = self.ret {
            tp.values.push(("ret".to_owned(), ret.into()));
        }
        tp.cookie = cookie;
        Ok(tp)
    }

    fn typed(&self, machine: &Machine, prog: &LoadedProg, func: Option<&String>, cookie: u64) -> TypedArgs {
        let mut typed = TypedArgs::default_for(machine, prog);
        if func.is_some() {
            typed.func = func.cloned();
        }
        // Arguments that the test does not give are zero.
        let known = typed.args.len() < MAX_ARGS;
        typed.args.resize(typed.args.len().max(self.args.len()), 0);
        for (slot, arg) in typed.args.iter_mut().zip(&self.args) {
            *slot = *arg;
        }
        let is_return = matches!(self.point, Point::Fexit(_) | Point::FmodRet(_));
        if is_return && !known && !self.args.is_empty() {
            // The return value stands right behind the arguments: those that were given are all.
            typed.args.truncate(self.args.len());
        }
        typed.ret = is_return.then_some(self.ret.unwrap_or(0));
        typed.cookie = cookie;
        typed
    }
}
