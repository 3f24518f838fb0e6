//! Which program runs at which probe point.

use std::sync::Arc;

use bpf_helpers_mock::{LoadedProg, ProgId};
use bpf_vm_shim::object::{AttachKind, AttachPoint, AttachTarget, ProgType};

use super::backend::Attached;
use super::{Bpf, Event, Link, Point, prog_type};
use crate::error::Error;

/// A program at a probe point.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) prog: ProgId,
    pub(crate) target: AttachTarget,
    pub(crate) cookie: u64,
    pub(crate) link: Link,
    /// What a kernel holds for it.
    pub(super) held: Option<Box<dyn Attached>>,
}

impl Attachment {
    pub(super) fn new(prog: ProgId, target: AttachTarget, cookie: u64, link: Link) -> Self {
        Self { prog, target, cookie, link, held: None }
    }
}

impl Bpf {
    /// Attaches a program where its section says.
    ///
    /// # Errors
    /// If there is no such program or its section names no place.
    pub fn attach(&mut self, program: &str) -> Result<(), Error> {
        let prog = self.loaded_program(program)?;
        let (id, target) = (prog.id, prog.linked.attach.clone());
        if !names_a_place(&target) {
            let (program, section) = (program.to_owned(), prog.linked.section.clone());
            return Err(Error::NoTarget { program, section });
        }
        self.attach_where_section_says(program, id, target)
    }

    fn attach_where_section_says(
        &mut self,
        program: &str,
        id: ProgId,
        target: AttachTarget,
    ) -> Result<(), Error> {
        if self.attach_usdt_section(program, &target)? {
            return Ok(());
        }
        self.add(Attachment::new(id, target, 0, Link::default()))
    }

    /// Attaches every program whose section says where (libbpf's skeleton `attach`), unless it is attached there, and says
    /// how many these are. Programs of bcc text whose names say where are attached when they are loaded.
    ///
    /// # Errors
    /// If one of them cannot be attached, or a kernel refuses it; those before it are attached. A device has one XDP
    /// program: of an object with several, attach one by its name.
    pub fn attach_all(&mut self) -> Result<usize, Error> {
        let progs = self.machine.kernel.progs.iter().filter(|p| names_a_place(&p.linked.attach));
        // By hand or by name: what counts is the place.
        let same = |a: &AttachTarget, b: &AttachTarget| a.kind == b.kind && a.point == b.point;
        let is_there = |p: &LoadedProg| {
            self.attached.iter().any(|a| a.prog == p.id && same(&a.target, &p.linked.attach))
        };
        let progs: Vec<_> = progs.filter(|p| !is_there(p)).cloned().collect();
        for p in &progs {
            self.attach_where_section_says(&p.linked.name, p.id, p.linked.attach.clone())?;
        }
        Ok(progs.len())
    }

    /// Adds an attachment; a kernel may refuse it.
    pub(super) fn add(&mut self, mut attachment: Attachment) -> Result<(), Error> {
        self.check_loaded_for(&attachment)?;
        self.check_alone(&attachment)?;
        if let Some(kernel) = &mut self.kernel {
            attachment.held = kernel.attach(&attachment)?;
        }
        self.attached.push(Arc::new(attachment));
        Ok(())
    }

    /// A kernel loads some programs for one place, which their section names; they cannot go elsewhere.
    fn check_loaded_for(&self, a: &Attachment) -> Result<(), Error> {
        use AttachKind as K;
        let anywhere = matches!(
            a.target.kind,
            K::Kprobe
                | K::Kretprobe
                | K::Uprobe
                | K::Uretprobe
                | K::Ksyscall
                | K::Kretsyscall
                | K::Usdt
                | K::Tracepoint
        ) || matches!(a.target.kind, K::RawTracepoint | K::PerfEvent);
        let Some(prog) = self.machine.kernel.progs.get(a.prog).filter(|_| self.kernel.is_some() && !anywhere)
        else {
            return Ok(());
        };
        let own = &prog.linked.attach;
        if own.kind == K::Unknown || (own.kind, &own.point) == (a.target.kind, &a.target.point) {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "program '{}' is loaded for '{}': a kernel attaches programs of this kind to the place that their section names, \
             and nowhere else",
            prog.linked.name, prog.linked.section
        )))
    }

    /// A device has one XDP program (`dev_xdp_attach()` of `net/core/dev.c`: `EBUSY`), and there is one device.
    fn check_alone(&self, a: &Attachment) -> Result<(), Error> {
        if a.target.kind != AttachKind::Xdp {
            return Ok(());
        }
        let name = |id| self.machine.kernel.progs.get(id).map_or("?", |p| p.linked.name.as_str());
        let Some(there) = self.attached.iter().find(|b| b.target.kind == AttachKind::Xdp) else {
            return Ok(());
        };
        let (new, old) = (name(a.prog), name(there.prog));
        Err(Error::Invalid(format!(
            "program '{new}' cannot be attached to the device: program '{old}' is attached there, and a device has one XDP \
             program (EBUSY). Attach one of them, with `attach(\"{new}\")` in place of `attach_all()`, or `detach(\"{old}\")` \
             first; programs that are called by tail calls are not attached"
        )))
    }

    /// Attaches a program by hand, with the cookie that `bpf_get_attach_cookie()` gives it. A program whose section
    /// names no type gets the type that belongs there.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn attach_to(&mut self, program: &str, point: &Point, cookie: u64) -> Result<(), Error> {
        let (prog, target) = (self.loaded_program(program)?, point.target());
        let (id, known) = (prog.id, prog.prog_type);
        if let Some(wanted) = prog_type::of_kind(target.kind).filter(|_| known == ProgType::Unspec) {
            self.set_prog_type(id, wanted, &target)?;
        }
        self.add(Attachment::new(id, target, cookie, Link::default()))
    }

    /// Detaches a program from everywhere.
    ///
    /// # Errors
    /// If there is no such program.
    pub fn detach(&mut self, program: &str) -> Result<(), Error> {
        let prog = self.loaded_program(program)?.id;
        self.attached.retain(|a| a.prog != prog);
        Ok(())
    }

    pub(super) fn attached_to(&self, point: &Point) -> Vec<(Arc<LoadedProg>, Arc<Attachment>)> {
        let here = self.attached.iter().filter(|a| point.concerns(&a.target));
        here.filter_map(|a| Some((Arc::clone(self.machine.kernel.progs.get(a.prog)?), Arc::clone(a))))
            .collect()
    }

    /// What is attached where, as the end of a sentence.
    pub(super) fn describe_attached(&self) -> String {
        let progs = &self.machine.kernel.progs;
        let names: Vec<_> = self
            .attached
            .iter()
            .filter_map(|a| progs.get(a.prog))
            .map(|p| format!("'{}' ({})", p.linked.name, p.linked.section))
            .take(20)
            .collect();
        if names.is_empty() {
            "; no program is attached: call `attach()` or `attach_all()`".to_owned()
        } else {
            format!("; attached are: {}", names.join(", "))
        }
    }

    /// A kernel function is entered: kprobes on it run.
    pub fn kprobe(&mut self, function: &str) -> Event<'_> {
        Event::new(self, Point::Kprobe(function.to_owned()))
    }

    /// A kernel function returns: kretprobes on it run.
    pub fn kretprobe(&mut self, function: &str) -> Event<'_> {
        Event::new(self, Point::Kretprobe(function.to_owned()))
    }

    /// A system call is entered: ksyscall programs, and kprobes on its function, run.
    pub fn ksyscall(&mut self, name: &str) -> Event<'_> {
        Event::new(self, Point::Ksyscall(name.to_owned()))
    }

    /// A system call returns.
    pub fn kretsyscall(&mut self, name: &str) -> Event<'_> {
        Event::new(self, Point::Kretsyscall(name.to_owned()))
    }

    /// A user-space function is entered: `readline`, or with its binary `bash:readline`, `/bin/bash:readline`, `c:strlen`.
    pub fn uprobe(&mut self, function: &str) -> Event<'_> {
        Event::new(self, Point::Uprobe(function.to_owned()))
    }

    /// A user-space function returns.
    pub fn uretprobe(&mut self, function: &str) -> Event<'_> {
        Event::new(self, Point::Uretprobe(function.to_owned()))
    }

    /// A statically defined user-space probe is hit, at its first place (see [`Event::location`]).
    pub fn usdt(&mut self, provider: &str, name: &str) -> Event<'_> {
        Event::new(self, Point::Usdt(provider.to_owned(), name.to_owned()))
    }

    /// A tracepoint fires.
    pub fn tracepoint(&mut self, category: &str, name: &str) -> Event<'_> {
        Event::new(self, Point::Tracepoint(category.to_owned(), name.to_owned()))
    }

    /// A tracepoint fires, for programs that take its raw or typed arguments (`raw_tp`, `tp_btf`).
    pub fn raw_tp(&mut self, name: &str) -> Event<'_> {
        Event::new(self, Point::RawTp(name.to_owned()))
    }

    /// A kernel function is entered: fentry programs run.
    pub fn fentry(&mut self, function: &str) -> Event<'_> {
        Event::new(self, Point::Fentry(function.to_owned()))
    }

    /// A kernel function returns: fexit programs run.
    pub fn fexit(&mut self, function: &str) -> Event<'_> {
        Event::new(self, Point::Fexit(function.to_owned()))
    }

    /// A function is called whose result programs may decide.
    pub fn fmod_ret(&mut self, function: &str) -> Event<'_> {
        Event::new(self, Point::FmodRet(function.to_owned()))
    }

    /// A security hook is called.
    pub fn lsm(&mut self, hook: &str) -> Event<'_> {
        Event::new(self, Point::Lsm(hook.to_owned()))
    }

    /// A perf event is sampled; an argument is the sampled instruction's address.
    pub fn perf_event(&mut self) -> Event<'_> {
        Event::new(self, Point::PerfEvent)
    }

    /// A packet, with its Ethernet header, arrives at a device.
    pub fn xdp(&mut self, packet: impl Into<Vec<u8>>) -> Event<'_> {
        Event::with_packet(self, Point::Xdp, packet.into())
    }

    /// A packet, with its Ethernet header, passes traffic control.
    pub fn tc(&mut self, packet: impl Into<Vec<u8>>) -> Event<'_> {
        Event::with_packet(self, Point::Tc, packet.into())
    }

    /// A packet, with its Ethernet header, arrives at a socket with a filter.
    pub fn socket_filter(&mut self, packet: impl Into<Vec<u8>>) -> Event<'_> {
        Event::with_packet(self, Point::Socket, packet.into())
    }

    /// A packet, with its Ethernet header, passes a control group.
    pub fn cgroup_skb(&mut self, packet: impl Into<Vec<u8>>) -> Event<'_> {
        Event::with_packet(self, Point::CgroupSkb, packet.into())
    }

    /// User space runs a program through the `bpf` system call, with this context.
    pub fn syscall(&mut self, ctx: impl Into<Vec<u8>>) -> Event<'_> {
        Event::with_packet(self, Point::Syscall, ctx.into())
    }

    /// Something happens, by its point.
    pub fn event(&mut self, point: Point) -> Event<'_> {
        Event::new(self, point)
    }
}

/// Whether a section says where its program belongs: by a name, or by a kind that has only one place.
pub(super) fn names_a_place(target: &AttachTarget) -> bool {
    use AttachKind as K;
    match target.kind {
        K::Unknown => false,
        K::Xdp | K::Tc | K::Netkit | K::Socket | K::Cgroup | K::PerfEvent | K::Syscall => true,
        _ => target.point != AttachPoint::None,
    }
}
