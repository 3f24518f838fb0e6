//! What the host holds besides the machine: links, binaries, processes, readers of buffers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bpf_helpers_mock::maps::MapId;
use bpf_vm_shim::object::{AttachKind, AttachPoint};

use super::attach::Attachment;
use super::buffers::Reader;
use super::perf_event::PerfEventSpec;
use super::records::Kept;
use super::usdt::UsdtSite;
use super::{Bpf, Point};
use crate::error::Error;
use crate::symbols::{Binary, Process};
use crate::usdt::ArgSpec;

/// What a [`Bpf`] knows of user space, and who reads its buffers.
#[derive(Clone, Default, Debug)]
pub(crate) struct Host {
    pub(super) binaries: Vec<Arc<Binary>>,
    pub(super) processes: BTreeMap<u32, Process>,
    pub(super) perf_buffers: Vec<Reader>,
    pub(super) ring_buffers: Vec<Reader>,
    /// What was asked for though a kernel does not have it.
    pub(super) refused: Option<&'static str>,
    /// Records that were collected before somebody takes them, by map.
    pub(super) kept: BTreeMap<MapId, Kept>,
    /// Lines of the trace behind the one that was read last.
    pub(super) trace_rest: VecDeque<String>,
    /// The USDT specifications that were written for libbpf's programs, by number.
    pub(super) usdt_specs: Vec<Vec<ArgSpec>>,
    /// What is to be compared with another tier, if that was asked for.
    pub(super) seen: crate::diff::Seen,
}

/// What an attachment is limited to, and where in user space it is.
#[derive(Clone, Default, Debug)]
pub(crate) struct Link {
    /// Only in this process.
    pub(crate) pid: Option<u32>,
    /// Only on this CPU.
    pub(crate) cpu: Option<u32>,
    pub(crate) perf: Option<PerfEventSpec>,
    pub(crate) usdt: Option<Arc<UsdtSite>>,
    pub(crate) user: Option<UserSite>,
}

/// A place in a binary.
#[derive(Clone, Debug)]
pub(crate) struct UserSite {
    pub(crate) path: String,
    /// As the file has it.
    pub(crate) addr: u64,
}

/// A place in a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserPlace {
    pub(super) addr: u64,
    /// What is to be added to the file's addresses.
    pub(super) delta: u64,
}

impl Link {
    /// Whether it is hit by what happens in this process, on this CPU.
    pub(super) fn concerns(&self, tgid: u32, cpu: u32, perf: Option<(u32, u64)>, location: usize) -> bool {
        self.pid.is_none_or(|p| p == tgid)
            && self.cpu.is_none_or(|c| c == cpu)
            && self.usdt.as_ref().is_none_or(|site| site.location == location)
            && match (&self.perf, perf) {
                (Some(own), Some((ev_type, config))) => own.is(ev_type, config),
                _ => true,
            }
    }
}

impl Attachment {
    /// The name that bcc gives the kernel's event: `p_vfs_read`, `r_vfs_read`, `p__bin_bash_0x1234`; `None` if it is no
    /// kprobe or uprobe.
    pub(super) fn event_name(&self) -> Option<String> {
        use AttachKind as K;
        let prefix = match self.target.kind {
            K::Kprobe | K::KprobeMulti | K::KprobeSession | K::Ksyscall => "p",
            K::Kretprobe | K::KretprobeMulti | K::Kretsyscall => "r",
            K::Uprobe | K::UprobeMulti | K::UprobeSession | K::Usdt => "p",
            K::Uretprobe | K::UretprobeMulti => "r",
            _ => return None,
        };
        if let Some(site) = &self.link.user {
            let path: String =
                site.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            let pid = self.link.pid.map_or_else(String::new, |p| format!("_{p}"));
            return Some(format!("{prefix}_{path}_{:#x}{pid}", site.addr));
        }
        let text = match &self.target.point {
            AttachPoint::Symbol { name, offset: 0 } => name.clone(),
            AttachPoint::Symbol { name, offset } => format!("{name}_{offset:#x}"),
            _ => self.target.extra.clone(),
        };
        let text = if text.is_empty() { self.target.name()?.to_owned() } else { text };
        Some(format!("{prefix}_{}", text.replace(['+', '.', '/', ':'], "_")))
    }

    pub(super) fn is_kprobe(&self) -> bool {
        use AttachKind as K;
        matches!(
            self.target.kind,
            K::Kprobe
                | K::Kretprobe
                | K::KprobeMulti
                | K::KretprobeMulti
                | K::KprobeSession
                | K::Ksyscall
                | K::Kretsyscall
        )
    }
}

impl Bpf {
    /// How many events of kernel functions are open: entries and returns, each once however many programs are attached
    /// to it (bcc's `num_open_kprobes`).
    #[must_use]
    pub fn num_open_kprobes(&self) -> usize {
        self.count_events(Attachment::is_kprobe)
    }

    /// How many events of user-space functions are open, as [`Bpf::num_open_kprobes`].
    #[must_use]
    pub fn num_open_uprobes(&self) -> usize {
        self.count_events(|a| !a.is_kprobe())
    }

    /// How many tracepoints have programs (bcc's `num_open_tracepoints`).
    #[must_use]
    pub fn num_open_tracepoints(&self) -> usize {
        let points = self.attached.iter().filter(|a| a.target.kind == AttachKind::Tracepoint);
        points.map(|a| format!("{:?}", a.target.point)).collect::<BTreeSet<_>>().len()
    }

    fn count_events(&self, which: impl Fn(&Attachment) -> bool) -> usize {
        let events = self.attached.iter().filter(|a| which(a));
        events.filter_map(|a| a.event_name()).collect::<BTreeSet<_>>().len()
    }

    /// Adds a link for a program that fits its place.
    pub(super) fn link(&mut self, fn_name: &str, point: &Point, link: Link) -> Result<(), Error> {
        self.link_target(fn_name, point.target(), &point.to_string(), link, 0)
    }

    pub(super) fn link_target(
        &mut self,
        fn_name: &str,
        target: bpf_vm_shim::object::AttachTarget,
        place: &str,
        link: Link,
        cookie: u64,
    ) -> Result<(), Error> {
        let Some(wanted) = super::prog_type::of_kind(target.kind) else {
            return Err(Error::Invalid(format!("programs are not attached to {place} by name")));
        };
        let prog = self.typed_program(fn_name, wanted, &target, place)?;
        self.add(Attachment::new(prog, target, cookie, link))
    }

    /// Takes away the links that are chosen, of one program or of all; none is an error.
    pub(super) fn unlink(
        &mut self,
        place: &str,
        fn_name: Option<&str>,
        which: impl Fn(&Attachment) -> bool,
    ) -> Result<(), Error> {
        let prog = fn_name.map(|name| self.loaded_program(name).map(|p| p.id)).transpose()?;
        let before = self.attached.len();
        self.attached.retain(|a| !(which(a) && prog.is_none_or(|p| p == a.prog)));
        if self.attached.len() == before {
            let attached = self.describe_attached();
            return Err(Error::NothingAttached { point: place.to_owned(), attached });
        }
        Ok(())
    }

    /// Where a link's place is in a process: where the process has the file mapped, else where all have it that say
    /// nothing.
    pub(super) fn user_place(&self, link: &Link, tgid: u32) -> Option<UserPlace> {
        let site = link.user.as_ref()?;
        let mapped = self.host.processes.get(&tgid).and_then(|p| p.address(&site.path, site.addr));
        let addr = mapped.unwrap_or_else(|| site.addr.wrapping_add(self.host.default_base(&site.path)));
        Some(UserPlace { addr, delta: addr.wrapping_sub(site.addr) })
    }
}

/// Where the first library is mapped in processes of which nothing is said, and how far the next ones are.
const LIBRARIES: u64 = 0x7f00_0000_0000;
const LIBRARY: u64 = 0x1000_0000;

impl Host {
    /// Where processes of which nothing is said have a binary.
    pub(super) fn default_base(&self, path: &str) -> u64 {
        let found = self.binaries.iter().position(|b| b.path() == path);
        match found.and_then(|i| Some((i, self.binaries.get(i)?))) {
            Some((i, binary)) if binary.is_position_independent() => LIBRARIES + LIBRARY * i as u64,
            _ => 0,
        }
    }

    /// What an address is in a process.
    pub(super) fn resolve(&self, pid: u32, addr: u64) -> crate::symbols::Resolved {
        if let Some(process) = self.processes.get(&pid) {
            return process.resolve(addr);
        }
        let all = self.binaries.iter().map(|b| (b, self.default_base(b.path())));
        let process = all.fold(Process::new(), |p, (b, base)| p.map(Arc::clone(b), base, LIBRARY));
        process.resolve(addr)
    }
}
