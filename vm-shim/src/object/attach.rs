//! What a program is attached to, as its section name says.

use super::kinds::AttachType;
use super::section_defs::SectionDef;

/// The way of attaching: which part of the kernel fires the program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[non_exhaustive]
pub enum AttachKind {
    /// The section name does not say.
    #[default]
    Unknown,
    /// Entry of a kernel function, or an address inside it.
    Kprobe,
    /// Return of a kernel function.
    Kretprobe,
    /// Entry of every kernel function that matches a pattern.
    KprobeMulti,
    /// Return of every kernel function that matches a pattern.
    KretprobeMulti,
    /// Entry and return of every kernel function that matches a pattern.
    KprobeSession,
    /// Entry of a system call, whatever the architecture calls its function.
    Ksyscall,
    /// Return of a system call.
    Kretsyscall,
    /// Entry of a user-space function.
    Uprobe,
    /// Return of a user-space function.
    Uretprobe,
    /// Entry of every user-space function that matches a pattern.
    UprobeMulti,
    /// Return of every user-space function that matches a pattern.
    UretprobeMulti,
    /// Entry and return of every user-space function that matches a pattern.
    UprobeSession,
    /// A statically defined user-space probe.
    Usdt,
    /// A kernel tracepoint, with the record of its format file as context.
    Tracepoint,
    /// A kernel tracepoint, with its raw arguments as context.
    RawTracepoint,
    /// A kernel tracepoint, with typed arguments.
    TpBtf,
    /// Entry of a kernel or BPF function, through BTF.
    Fentry,
    /// Return of a kernel or BPF function, through BTF.
    Fexit,
    /// Entry and return of a kernel function, through BTF.
    Fsession,
    /// Entry of every kernel function that matches a pattern, through BTF.
    FentryMulti,
    /// Return of every kernel function that matches a pattern, through BTF.
    FexitMulti,
    /// Entry and return of every kernel function that matches a pattern, through BTF.
    FsessionMulti,
    /// A kernel function whose return value the program decides.
    FmodRet,
    /// A function of another BPF program.
    Freplace,
    /// A security hook.
    Lsm,
    /// A BPF iterator.
    Iter,
    /// Run by the `bpf` system call itself.
    Syscall,
    /// A network device's receive path.
    Xdp,
    /// Traffic control.
    Tc,
    /// A netkit device.
    Netkit,
    /// A socket filter.
    Socket,
    /// Socket selection in a reuseport group.
    SkReuseport,
    /// Socket lookup.
    SkLookup,
    /// A socket map's stream parser, verdict or message program.
    Sockmap,
    /// A control group.
    Cgroup,
    /// A perf event.
    PerfEvent,
    /// A lightweight tunnel.
    Lwt,
    /// An infrared receiver.
    LircMode2,
    /// The flow dissector of a network namespace.
    FlowDissector,
    /// A netfilter hook.
    Netfilter,
    /// A member of a kernel structure of function pointers.
    StructOps,
}

impl AttachKind {
    /// Whether the program runs when the function returns, with the return value in its context.
    #[must_use]
    pub const fn is_return(self) -> bool {
        matches!(
            self,
            Self::Kretprobe
                | Self::KretprobeMulti
                | Self::Kretsyscall
                | Self::Uretprobe
                | Self::UretprobeMulti
        )
    }
}

/// The part of a section name behind the type, taken apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[non_exhaustive]
pub enum AttachPoint {
    /// Nothing is named: the caller attaches by hand.
    #[default]
    None,
    /// A function and an offset into it, in bytes (`kprobe/name+0x10`).
    Symbol {
        /// Function name.
        name: String,
        /// Bytes from its start.
        offset: u64,
    },
    /// A pattern over function names (`kprobe.multi/vfs_*`).
    Pattern(String),
    /// A system call by its name without any prefix (`ksyscall/openat`).
    Syscall(String),
    /// A function of a binary (`uprobe//bin/bash:readline+0x8`).
    Binary {
        /// Path or library name, as written.
        path: String,
        /// Function name or pattern; `None` if only a path is given.
        function: Option<String>,
        /// Bytes from the function's start, or from the file's start if there is no function.
        offset: u64,
    },
    /// A statically defined probe (`usdt/libc.so.6:libc:setjmp`).
    Usdt {
        /// Path or library name, as written.
        path: String,
        /// Provider.
        provider: String,
        /// Probe name.
        name: String,
    },
    /// A tracepoint (`tp/sched/sched_switch`).
    Tracepoint {
        /// Category: the directory under `events/`.
        category: String,
        /// Event name.
        name: String,
    },
    /// Anything else by its plain name: raw tracepoint, BTF function, hook, iterator, structure member.
    Name(String),
}

/// How and where a program is attached.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct AttachTarget {
    /// The way of attaching.
    pub kind: AttachKind,
    /// The expected attach type that the kernel is told; zero where there is none.
    pub attach_type: AttachType,
    /// The place, taken apart.
    pub point: AttachPoint,
    /// The section name behind the type and its `/`, as written; empty if there is nothing.
    pub extra: String,
    /// The program may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
    /// The program takes packets of several buffers (`BPF_F_XDP_HAS_FRAGS`).
    pub frags: bool,
}

impl AttachTarget {
    /// The name of the function, event, hook or system call; `None` if the section names none.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.point {
            AttachPoint::None => None,
            AttachPoint::Symbol { name, .. }
            | AttachPoint::Usdt { name, .. }
            | AttachPoint::Tracepoint { name, .. }
            | AttachPoint::Pattern(name)
            | AttachPoint::Syscall(name)
            | AttachPoint::Name(name) => Some(name),
            AttachPoint::Binary { function, .. } => function.as_deref(),
        }
    }

    /// Reads the section name (without `?`) in the light of its row of the table.
    pub(super) fn from_section(def: &SectionDef, section: &str) -> Self {
        let extra = section.strip_prefix(def.name).unwrap_or_default();
        let extra = extra.strip_prefix('/').unwrap_or(extra);
        Self {
            kind: def.kind,
            attach_type: def.attach_type,
            point: point(def.kind, extra),
            extra: extra.to_owned(),
            sleepable: def.sleepable,
            frags: def.frags,
        }
    }
}

fn point(kind: AttachKind, extra: &str) -> AttachPoint {
    use AttachKind as K;
    if extra.is_empty() {
        return AttachPoint::None;
    }
    match kind {
        K::Kprobe | K::Kretprobe => {
            let (name, offset) = split_offset(extra);
            AttachPoint::Symbol { name: name.to_owned(), offset }
        }
        K::KprobeMulti
        | K::KretprobeMulti
        | K::KprobeSession
        | K::FentryMulti
        | K::FexitMulti
        | K::FsessionMulti => AttachPoint::Pattern(extra.to_owned()),
        K::Ksyscall | K::Kretsyscall => AttachPoint::Syscall(extra.to_owned()),
        K::Uprobe | K::Uretprobe | K::UprobeMulti | K::UretprobeMulti | K::UprobeSession => binary(extra),
        K::Usdt => {
            // The path may hold colons; provider and name may not (`attach_usdt`).
            let mut parts = extra.rsplitn(3, ':');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(name), Some(provider), Some(path)) => AttachPoint::Usdt {
                    path: path.to_owned(),
                    provider: provider.to_owned(),
                    name: name.to_owned(),
                },
                _ => AttachPoint::Name(extra.to_owned()),
            }
        }
        K::Tracepoint => match extra.split_once('/') {
            Some((category, name)) => {
                AttachPoint::Tracepoint { category: category.to_owned(), name: name.to_owned() }
            }
            None => AttachPoint::Name(extra.to_owned()),
        },
        _ => AttachPoint::Name(extra.to_owned()),
    }
}

fn binary(extra: &str) -> AttachPoint {
    match extra.rsplit_once(':') {
        Some((path, function)) => {
            let (function, offset) = split_offset(function);
            let (function, offset) = match parse_number(function) {
                // `uprobe/path:0x1234`: an offset into the file.
                Some(n) => (None, n),
                None => (Some(function.to_owned()), offset),
            };
            AttachPoint::Binary { path: path.to_owned(), function, offset }
        }
        None => AttachPoint::Binary { path: extra.to_owned(), function: None, offset: 0 },
    }
}

fn split_offset(text: &str) -> (&str, u64) {
    text.rsplit_once('+')
        .and_then(|(name, off)| parse_number(off).map(|off| (name, off)))
        .unwrap_or((text, 0))
}

fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{AttachPoint, AttachTarget};
    use crate::object::section_defs::find_section_def;

    fn read(section: &str) -> AttachTarget {
        let (def, _) = find_section_def(section).expect("a known section name");
        AttachTarget::from_section(def, section)
    }

    #[test]
    fn targets_are_taken_apart() {
        let table = [
            ("kprobe", AttachPoint::None),
            ("kprobe/f+0x10", AttachPoint::Symbol { name: "f".into(), offset: 16 }),
            ("kprobe.multi/vfs_*", AttachPoint::Pattern("vfs_*".into())),
            ("ksyscall/openat", AttachPoint::Syscall("openat".into())),
            (
                "uprobe//bin/bash:readline",
                AttachPoint::Binary {
                    path: "/bin/bash".into(),
                    function: Some("readline".into()),
                    offset: 0,
                },
            ),
            (
                "uretprobe.s//proc/self/exe:f+8",
                AttachPoint::Binary { path: "/proc/self/exe".into(), function: Some("f".into()), offset: 8 },
            ),
            (
                "usdt/libc.so.6:libc:setjmp",
                AttachPoint::Usdt {
                    path: "libc.so.6".into(),
                    provider: "libc".into(),
                    name: "setjmp".into(),
                },
            ),
            (
                "tracepoint/sched/sched_switch",
                AttachPoint::Tracepoint { category: "sched".into(), name: "sched_switch".into() },
            ),
            ("raw_tp/sys_enter", AttachPoint::Name("sys_enter".into())),
            ("lsm.s/file_open", AttachPoint::Name("file_open".into())),
        ];
        for (section, expected) in table {
            assert_eq!(read(section).point, expected, "{section}");
        }
    }

    #[test]
    fn flags_come_from_the_type() {
        assert!(read("fentry.s/f").sleepable);
        assert!(!read("fentry/f").sleepable);
        assert!(read("xdp.frags").frags);
        assert!(read("kretprobe/f").kind.is_return());
    }
}
