//! Attaching programs to what they are attached to on the simulator.

mod hooks;
mod packets;
mod probes;
mod raw_link;

use std::fmt;

use bpf_vm_shim::object::{AttachKind, AttachPoint};
use libbpf_rs::{Link, ProgramAttachType, ProgramMut};

use super::net::Net;
use super::{Kernel, errors, messages};
use crate::bpf::{Attached, Attachment, Backend};
use crate::error::Error;
use hooks::{hook, trace};
use packets::{Other, cgroup, packets};
use probes::{at_address, kprobe, kprobe_multi, perf_event, raw_tracepoint, tracepoint};
use raw_link::RawLink;

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

impl From<RawLink> for Held {
    fn from(link: RawLink) -> Self {
        Self { links: Vec::new(), raw: Some(link), other: None }
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
        (K::Kprobe | K::Kretprobe, AttachPoint::Symbol { name, offset: 0 })
            if matches!(prog.attach_type(), ProgramAttachType::KprobeMulti) =>
        {
            kprobe_multi(prog, name, ret, cookie)?.into()
        }
        (K::Kprobe | K::Kretprobe, AttachPoint::Symbol { name, offset: 0 }) => {
            kprobe(prog, name, ret, cookie)?.into()
        }
        (K::Kprobe, AttachPoint::Symbol { name, offset }) => {
            RawLink::kprobe_at(prog, name, *offset, cookie)?.into()
        }
        (K::Ksyscall | K::Kretsyscall, AttachPoint::Syscall(name)) => match cookie {
            0 => prog.attach_ksyscall(ret, name)?.into(),
            cookie => RawLink::ksyscall(prog, name, ret, cookie)?.into(),
        },
        (K::Tracepoint, AttachPoint::Tracepoint { category, name }) => {
            tracepoint(prog, category, name, cookie)?.into()
        }
        (K::RawTracepoint, AttachPoint::Name(_))
            if matches!(prog.attach_type(), ProgramAttachType::TraceRawTp) =>
        {
            trace(prog, a)?
        }
        (K::RawTracepoint, AttachPoint::Name(name)) => raw_tracepoint(prog, name, cookie)?.into(),
        (K::PerfEvent, _) => perf_event(prog, a)?,
        (K::Xdp | K::Tc | K::Socket | K::FlowDissector | K::SkLookup, _) => match net {
            Some(net) => packets(prog, a, net)?,
            None => return Err(Refused::Here("there is no network for it".to_owned())),
        },
        (K::Cgroup, _) => cgroup(prog)?.into(),
        (K::Lsm, _) => hook(prog, a)?,
        (K::Fentry | K::Fexit | K::FmodRet | K::Fsession | K::TpBtf, _) => trace(prog, a)?,
        // Where the section says all, libbpf knows how.
        (K::Unknown, _) => return Err(Refused::Here("its section names no probe point".to_owned())),
        // Programs of packets and control groups, above, cannot ask for a cookie. Those of many functions have one for each.
        (kind, _) if cookie != 0 => {
            return Err(Refused::Here(format!(
                "its cookie {cookie} cannot be passed on: libbpf has no way for attachments of kind {kind:?}"
            )));
        }
        _ => prog.attach()?.into(),
    })
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
