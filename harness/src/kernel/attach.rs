//! Attaching programs to what they are attached to on the simulator.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

use bpf_vm_shim::object::{AttachKind, AttachPoint};
use libbpf_rs::{
    AsRawLibbpf, KprobeOpts, Link, PerfEventOpts, ProgramMut, RawTracepointOpts, TC_EGRESS, TC_INGRESS,
    TcHookBuilder, TracepointOpts, UprobeOpts,
};

use super::counters::{Event, online_cpus};
use super::net::{LOOPBACK, Net};
use super::{Kernel, errors, indirect, messages};
use crate::bpf::{Attached, Attachment, Backend};
use crate::error::Error;
use crate::symbols::Binary;

/// Links, and what they stand on. Dropping it detaches.
struct Held {
    links: Vec<Link>,
    /// One that libbpf-rs has no way to make.
    raw: Option<RawLink>,
    /// What is no link at all.
    other: Option<Box<dyn Other>>,
}

impl Attached for Held {}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field(
                "links",
                &(self.links.len() + usize::from(self.raw.is_some()) + usize::from(self.other.is_some())),
            )
            .finish_non_exhaustive()
    }
}

/// Attaches a program.
pub(super) fn attach(kernel: &mut Kernel, attachment: &Attachment) -> Result<Box<dyn Attached>, Error> {
    let net = if is_of_network(attachment.target.kind) { Some(kernel.net()?.clone()) } else { None };
    let prog = kernel.prog(attachment.prog)?;
    let place = place_of(attachment);
    let (done, said) = messages::of(|| prog.with(|p| link(&p, attachment, net.as_ref())));
    match done? {
        Ok(held) => Ok(Box::new(held)),
        Err(Refused::Libbpf(e)) if is_unknown_function(kernel, attachment, &e) => {
            let known = kernel.kernel_functions()?;
            let name = attachment.target.name().unwrap_or_default();
            Err(Error::unknown("kernel function", name, known.iter().map(String::as_str)))
        }
        Err(Refused::Libbpf(e)) => Err(errors::attach(&prog.name, &place, &e, &said)),
        Err(Refused::Here(why)) => {
            Err(Error::Invalid(format!("program '{}' cannot be attached to {place}: {why}", prog.name)))
        }
    }
}

/// Whether the place is in a binary that only the test has declared: it has no instructions that a kernel could probe.
pub(super) fn is_imagined(a: &Attachment) -> bool {
    a.link.user.as_ref().is_some_and(|site| !std::path::Path::new(&site.path).is_file())
}

fn is_unknown_function(kernel: &Kernel, a: &Attachment, e: &libbpf_rs::Error) -> bool {
    let of_function = matches!(a.target.kind, AttachKind::Kprobe | AttachKind::Kretprobe);
    let missing = matches!(e.kind(), libbpf_rs::ErrorKind::NotFound | libbpf_rs::ErrorKind::InvalidInput);
    of_function && missing && a.target.name().is_some_and(|name| kernel.kernel_address(name).is_none())
}

/// Why it is not attached.
enum Refused {
    Libbpf(libbpf_rs::Error),
    Here(String),
}

impl From<libbpf_rs::Error> for Refused {
    fn from(e: libbpf_rs::Error) -> Self {
        Self::Libbpf(e)
    }
}

impl From<Link> for Held {
    fn from(link: Link) -> Self {
        Self { links: vec![link], raw: None, other: None }
    }
}

fn is_of_network(kind: AttachKind) -> bool {
    use AttachKind as K;
    matches!(kind, K::Xdp | K::Tc | K::Socket | K::FlowDissector | K::SkLookup)
}

fn link(prog: &ProgramMut<'_>, a: &Attachment, net: Option<&Net>) -> Result<Held, Refused> {
    use AttachKind as K;
    let target = &a.target;
    let cookie = a.cookie;
    let ret = matches!(target.kind, K::Kretprobe | K::Uretprobe | K::Kretsyscall);
    Ok(match (&target.kind, &target.point) {
        (K::Usdt, _) | (K::Uprobe | K::Uretprobe, _) if a.link.user.is_some() => {
            at_address(prog, a, ret)?.into()
        }
        (K::Kprobe | K::Kretprobe, AttachPoint::Symbol { name, offset: 0 }) => {
            kprobe(prog, name, ret, cookie)?.into()
        }
        (K::Kprobe, AttachPoint::Symbol { name, offset }) => {
            let link = RawLink::kprobe_at(prog, name, *offset, cookie)?;
            Held { links: Vec::new(), raw: Some(link), other: None }
        }
        (K::Ksyscall | K::Kretsyscall, AttachPoint::Syscall(name)) => prog.attach_ksyscall(ret, name)?.into(),
        (K::Tracepoint, AttachPoint::Tracepoint { category, name }) => {
            tracepoint(prog, category, name, cookie)?.into()
        }
        (K::RawTracepoint, AttachPoint::Name(name)) => raw_tracepoint(prog, name, cookie)?.into(),
        (K::PerfEvent, _) => perf_event(prog, a)?,
        (K::Xdp | K::Tc | K::Socket | K::FlowDissector | K::SkLookup, _) => match net {
            Some(net) => packets(prog, a, net)?,
            None => return Err(Refused::Here("there is no network for it".to_owned())),
        },
        (K::Cgroup, _) => cgroup(prog)?.into(),
        // Where the section says all, libbpf knows how.
        (K::Unknown, _) => return Err(Refused::Here("its section names no probe point".to_owned())),
        _ => prog.attach()?.into(),
    })
}

/// A link of libbpf's.
struct RawLink(NonNull<libbpf_sys::bpf_link>);

// SAFETY: libbpf's links have no thread of their own, and this one is only ever destroyed.
unsafe impl Send for RawLink {}
// SAFETY: as above.
unsafe impl Sync for RawLink {}

impl RawLink {
    /// A kprobe in the middle of a function.
    fn kprobe_at(prog: &ProgramMut<'_>, name: &str, offset: u64, cookie: u64) -> Result<Self, Refused> {
        let name = std::ffi::CString::new(name).map_err(|e| Refused::Here(e.to_string()))?;
        let opts = libbpf_sys::bpf_kprobe_opts {
            sz: size_of::<libbpf_sys::bpf_kprobe_opts>() as libbpf_sys::size_t,
            bpf_cookie: cookie,
            offset: offset as libbpf_sys::size_t,
            ..libbpf_sys::bpf_kprobe_opts::default()
        };
        // SAFETY: the program is loaded and alive, name and options are valid for the call.
        let link = unsafe {
            let prog = prog.as_libbpf_object().as_ptr();
            libbpf_sys::bpf_program__attach_kprobe_opts(prog, name.as_ptr(), &raw const opts)
        };
        match NonNull::new(link) {
            Some(link) => Ok(Self(link)),
            None => Err(Refused::Libbpf(std::io::Error::last_os_error().into())),
        }
    }
}

impl Drop for RawLink {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody uses it afterwards.
        unsafe { libbpf_sys::bpf_link__destroy(self.0.as_ptr()) };
    }
}

fn kprobe(prog: &ProgramMut<'_>, name: &str, ret: bool, cookie: u64) -> Result<Link, libbpf_rs::Error> {
    match cookie {
        0 => prog.attach_kprobe(ret, name),
        cookie => prog.attach_kprobe_with_opts(ret, name, KprobeOpts { cookie, ..KprobeOpts::default() }),
    }
}

fn tracepoint(
    prog: &ProgramMut<'_>,
    category: &str,
    name: &str,
    cookie: u64,
) -> Result<Link, libbpf_rs::Error> {
    let category = libbpf_rs::TracepointCategory::Custom(category.to_owned());
    match cookie {
        0 => prog.attach_tracepoint(category, name),
        cookie => {
            let opts = TracepointOpts { cookie, ..TracepointOpts::default() };
            prog.attach_tracepoint_with_opts(category, name, opts)
        }
    }
}

fn raw_tracepoint(prog: &ProgramMut<'_>, name: &str, cookie: u64) -> Result<Link, libbpf_rs::Error> {
    match cookie {
        0 => prog.attach_raw_tracepoint(name),
        cookie => {
            let opts = RawTracepointOpts { cookie, ..RawTracepointOpts::default() };
            prog.attach_raw_tracepoint_with_opts(name, opts)
        }
    }
}

/// A uprobe at an address of a file, with the counter of a USDT probe's users if it has one.
fn at_address(prog: &ProgramMut<'_>, a: &Attachment, ret: bool) -> Result<Link, Refused> {
    let Some(site) = &a.link.user else { return Err(Refused::Here("no place is known".to_owned())) };
    let binary = Binary::from_path(&site.path).map_err(|e| {
        Refused::Here(format!("{e}; a binary that only the test has declared has no instructions to probe"))
    })?;
    let semaphore = a.link.usdt.as_ref().and_then(|s| s.place.semaphore);
    let opts = UprobeOpts {
        ref_ctr_offset: semaphore.map_or(0, |addr| binary.file_offset(addr) as usize),
        cookie: a.cookie,
        retprobe: ret,
        ..UprobeOpts::default()
    };
    let pid = a.link.pid.map_or(-1, |p| p as i32);
    let offset = match &a.target.point {
        AttachPoint::Binary { function: Some(function), offset: 0, .. } => {
            indirect::offset_of(&site.path, function).map_err(Refused::Here)?
        }
        _ => None,
    };
    let offset = offset.unwrap_or_else(|| binary.file_offset(site.addr));
    Ok(prog.attach_uprobe_with_opts(pid, &site.path, offset as usize, opts)?)
}

/// A perf event on every CPU that is asked for.
fn perf_event(prog: &ProgramMut<'_>, a: &Attachment) -> Result<Held, Refused> {
    let Some(spec) = &a.link.perf else {
        return Err(Refused::Here("which event is not said: use `attach_perf_event()`".to_owned()));
    };
    let (ev_type, ev_config, sample, is_frequency) = spec.parts();
    let event = Event { ev_type, ev_config, sample, is_frequency };
    let cpus: Vec<u32> = match a.link.cpu {
        Some(cpu) => vec![cpu],
        None => (0..online_cpus() as u32).collect(),
    };
    let mut held = Held { links: Vec::new(), raw: None, other: None };
    for cpu in cpus {
        let fd = event
            .open(a.link.pid, Some(cpu))
            .map_err(|e| Refused::Here(format!("the event cannot be opened on CPU {cpu}: {e}")))?;
        let opts = PerfEventOpts { cookie: a.cookie, ..PerfEventOpts::default() };
        let raw = fd.as_raw_fd();
        let link = if a.cookie == 0 {
            prog.attach_perf_event(raw)
        } else {
            prog.attach_perf_event_with_opts(raw, opts)
        };
        held.links.push(link?);
        // The link closes the descriptor that it was given.
        std::mem::forget(fd);
    }
    Ok(held)
}

/// On the device, or the namespace, of the test's own network.
fn packets(prog: &ProgramMut<'_>, a: &Attachment, net: &Net) -> Result<Held, Refused> {
    use AttachKind as K;
    let here = |e: Error| Refused::Here(e.to_string());
    Ok(match a.target.kind {
        K::Xdp => net.enter(|| prog.attach_xdp(LOOPBACK)).map_err(here)??.into(),
        K::FlowDissector | K::SkLookup => prog.attach_netns(net.namespace())?.into(),
        K::Socket => Held { links: Vec::new(), raw: None, other: Some(socket(prog, net)?) },
        _ => {
            let egress = a.target.extra.contains("egress") || a.target.name() == Some("egress");
            Held { links: Vec::new(), raw: None, other: Some(traffic_control(prog, egress, net)?) }
        }
    })
}

/// A packet socket with the program for its filter (`SO_ATTACH_BPF`).
fn socket(prog: &ProgramMut<'_>, net: &Net) -> Result<Box<dyn Other>, Refused> {
    let socket = net.packet_socket().map_err(|e| Refused::Here(e.to_string()))?;
    let fd = prog.as_fd().as_raw_fd();
    // SAFETY: the option's value is one descriptor, as long as it says.
    let ret = unsafe {
        let len = size_of::<i32>() as libc::socklen_t;
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            (&raw const fd).cast(),
            len,
        )
    };
    if ret < 0 {
        return Err(Refused::Libbpf(std::io::Error::last_os_error().into()));
    }
    Ok(Box::new(socket))
}

/// Traffic control of the device: by `clsact`, which all kernels know.
fn traffic_control(prog: &ProgramMut<'_>, egress: bool, net: &Net) -> Result<Box<dyn Other>, Refused> {
    let fd = prog.as_fd();
    let attached = net.enter(|| {
        let mut builder = TcHookBuilder::new(fd);
        builder.ifindex(LOOPBACK).replace(true).handle(1).priority(1);
        let mut hook = builder.hook(if egress { TC_EGRESS } else { TC_INGRESS });
        hook.create()?;
        hook.attach()
    });
    let needs = "traffic control needs the modules sch_ingress and cls_bpf (in a virtual machine: `bpf-vm run --module \
                 sch_ingress --module cls_bpf`)";
    match attached.map_err(|e| Refused::Here(e.to_string()))? {
        // The namespace takes it away when it ends; so does this before.
        Ok(hook) => Ok(Box::new(Hook { hook, net: net.clone() })),
        Err(e) => Err(Refused::Here(format!("{e:#}; {needs}"))),
    }
}

/// What holds an attachment that is no link.
trait Other: Send + Sync {}
impl Other for std::os::fd::OwnedFd {}
impl Other for Hook {}

// SAFETY: the pointer in it is a name for attach points of another kind, and null here.
unsafe impl Send for Hook {}
// SAFETY: as above; it is used only when it is dropped.
unsafe impl Sync for Hook {}

/// A filter of traffic control.
struct Hook {
    hook: libbpf_rs::TcHook,
    net: Net,
}

impl Drop for Hook {
    fn drop(&mut self) {
        let mut hook = self.hook;
        // Nobody can be told, and the namespace ends soon.
        let _ = self.net.enter(move || hook.detach());
    }
}

/// The control group that this process is in.
fn cgroup(prog: &ProgramMut<'_>) -> Result<Link, Refused> {
    let of_file =
        |e: std::io::Error| Refused::Here(format!("the process's control group cannot be found: {e}"));
    let text = std::fs::read_to_string("/proc/self/cgroup").map_err(of_file)?;
    let path = text.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or("/");
    let dir = std::fs::File::open(format!("/sys/fs/cgroup{path}")).map_err(of_file)?;
    Ok(prog.attach_cgroup(dir.as_raw_fd())?)
}

fn place_of(a: &Attachment) -> String {
    let kind = format!("{:?}", a.target.kind).to_lowercase();
    match (&a.link.user, &a.target.point) {
        (Some(site), _) => format!("{kind}/{}:{:#x}", site.path, site.addr),
        (None, AttachPoint::Tracepoint { category, name }) => format!("{kind}/{category}:{name}"),
        (None, AttachPoint::Symbol { name, offset: 0 }) => format!("{kind}/{name}"),
        (None, AttachPoint::Symbol { name, offset }) => format!("{kind}/{name}+{offset:#x}"),
        (None, AttachPoint::None) => kind,
        (None, other) => {
            format!("{kind}/{}", a.target.name().map_or_else(|| format!("{other:?}"), str::to_owned))
        }
    }
}
