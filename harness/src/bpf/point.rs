//! Probe points: what happens in a kernel, and which attached programs that concerns.

use std::fmt;

use bpf_vm_shim::object::{AttachKind, AttachPoint, AttachTarget};

/// Something that happens, to which programs can be attached.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Point {
    /// A kernel function is entered.
    Kprobe(String),
    /// A kernel function returns.
    Kretprobe(String),
    /// A system call is entered, by its name without prefix.
    Ksyscall(String),
    /// A system call returns.
    Kretsyscall(String),
    /// A user-space function is entered.
    Uprobe(String),
    /// A user-space function returns.
    Uretprobe(String),
    /// A statically defined user-space probe, provider and name.
    Usdt(String, String),
    /// A tracepoint, category and name, with its record.
    Tracepoint(String, String),
    /// A tracepoint with its raw arguments (raw and BTF-typed programs).
    RawTp(String),
    /// A kernel function is entered, for programs that BTF describes.
    Fentry(String),
    /// A kernel function returns, for programs that BTF describes.
    Fexit(String),
    /// A kernel function whose return value programs may decide.
    FmodRet(String),
    /// A security hook.
    Lsm(String),
    /// A sample of a perf event.
    PerfEvent,
    /// A packet in a device's receive path.
    Xdp,
    /// A packet in traffic control.
    Tc,
    /// A packet at a socket.
    Socket,
    /// A packet at a control group.
    CgroupSkb,
    /// A program run by the `bpf` system call.
    Syscall,
}

impl Point {
    /// Whether an attached program runs when this happens.
    #[must_use]
    pub(super) fn concerns(&self, target: &AttachTarget) -> bool {
        use AttachKind as K;
        let named = |name: &str| names(&target.point, name);
        match (self, target.kind) {
            (Self::Kprobe(n), K::Kprobe | K::KprobeMulti | K::KprobeSession) => named(n),
            (Self::Kretprobe(n), K::Kretprobe | K::KretprobeMulti | K::KprobeSession) => named(n),
            (Self::Ksyscall(n), K::Ksyscall) | (Self::Kretsyscall(n), K::Kretsyscall) => named(n),
            // The wrapper's name is as good.
            (Self::Ksyscall(n), K::Kprobe) | (Self::Kretsyscall(n), K::Kretprobe) => {
                target.name().and_then(syscall_of) == Some(n)
            }
            (Self::Uprobe(n), K::Uprobe | K::UprobeMulti | K::UprobeSession) => named(n),
            (Self::Uretprobe(n), K::Uretprobe | K::UretprobeMulti | K::UprobeSession) => named(n),
            (Self::Usdt(provider, name), K::Usdt) => match &target.point {
                AttachPoint::Usdt { provider: p, name: n, .. } => p == provider && n == name,
                _ => false,
            },
            (Self::Tracepoint(category, name), K::Tracepoint) => match &target.point {
                AttachPoint::Tracepoint { category: c, name: n } => c == category && n == name,
                _ => false,
            },
            (Self::RawTp(n), K::RawTracepoint | K::TpBtf)
            | (Self::Fentry(n), K::Fentry | K::Fsession | K::FentryMulti | K::FsessionMulti)
            | (Self::Fexit(n), K::Fexit | K::Fsession | K::FexitMulti | K::FsessionMulti)
            | (Self::FmodRet(n), K::FmodRet)
            | (Self::Lsm(n), K::Lsm) => named(n),
            (Self::PerfEvent, K::PerfEvent)
            | (Self::Xdp, K::Xdp)
            | (Self::Tc, K::Tc | K::Netkit)
            | (Self::Socket, K::Socket)
            | (Self::CgroupSkb, K::Cgroup)
            | (Self::Syscall, K::Syscall) => true,
            _ => false,
        }
    }

    /// Where a program is attached that is attached here by hand.
    #[must_use]
    pub(super) fn target(&self) -> AttachTarget {
        use AttachKind as K;
        let symbol = |n: &str| AttachPoint::Symbol { name: n.to_owned(), offset: 0 };
        let name = |n: &str| AttachPoint::Name(n.to_owned());
        let user = |n: &str| {
            let (path, function) = split_binary(n);
            AttachPoint::Binary { path: path.to_owned(), function: Some(function.to_owned()), offset: 0 }
        };
        let (kind, point) = match self {
            Self::Kprobe(n) => (K::Kprobe, symbol(n)),
            Self::Kretprobe(n) => (K::Kretprobe, symbol(n)),
            Self::Ksyscall(n) => (K::Ksyscall, AttachPoint::Syscall(n.clone())),
            Self::Kretsyscall(n) => (K::Kretsyscall, AttachPoint::Syscall(n.clone())),
            Self::Uprobe(n) => (K::Uprobe, user(n)),
            Self::Uretprobe(n) => (K::Uretprobe, user(n)),
            Self::Usdt(provider, name) => {
                let (path, provider, name) = (String::new(), provider.clone(), name.clone());
                (K::Usdt, AttachPoint::Usdt { path, provider, name })
            }
            Self::Tracepoint(category, name) => {
                (K::Tracepoint, AttachPoint::Tracepoint { category: category.clone(), name: name.clone() })
            }
            Self::RawTp(n) => (K::RawTracepoint, name(n)),
            Self::Fentry(n) => (K::Fentry, name(n)),
            Self::Fexit(n) => (K::Fexit, name(n)),
            Self::FmodRet(n) => (K::FmodRet, name(n)),
            Self::Lsm(n) => (K::Lsm, name(n)),
            Self::PerfEvent => (K::PerfEvent, AttachPoint::None),
            Self::Xdp => (K::Xdp, AttachPoint::None),
            Self::Tc => (K::Tc, AttachPoint::None),
            Self::Socket => (K::Socket, AttachPoint::None),
            Self::CgroupSkb => (K::Cgroup, AttachPoint::None),
            Self::Syscall => (K::Syscall, AttachPoint::None),
        };
        let mut target = AttachTarget::default();
        target.kind = kind;
        target.point = point;
        target
    }
}

/// Whether a section's point names a function, event or hook; patterns match as `kprobe.multi/vfs_*` does.
fn names(point: &AttachPoint, name: &str) -> bool {
    match point {
        AttachPoint::Pattern(pattern) => glob(pattern.as_bytes(), name.as_bytes()),
        AttachPoint::Binary { path, function: Some(f), offset } => {
            // With a binary's name in front, only that one is meant.
            let (binary, name) = split_binary(name);
            let here = binary.is_empty() || path.is_empty() || path == binary || called(path, binary);
            here && (glob(f.as_bytes(), name.as_bytes()) || *offset > 0 && format!("{f}+{offset:#x}") == name)
        }
        AttachPoint::Symbol { name: n, .. } | AttachPoint::Syscall(n) | AttachPoint::Name(n) => n == name,
        _ => false,
    }
}

/// The binary and the function of `c:strlen`; no binary if there is none. Names of C++ have colons of their own.
fn split_binary(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((binary, function)) if !binary.ends_with(':') => (binary, function),
        _ => ("", name),
    }
}

/// Whether a path is meant by a file name or a library's short name.
fn called(path: &str, name: &str) -> bool {
    let file = crate::symbols::base_name(path);
    file == name || crate::symbols::is_library(file, name)
}

/// libbpf's `glob_match`: `*` and `?`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while let Some(c) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(x) if *x == b'?' || x == c => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

/// The system call behind a function's name (`__x64_sys_openat`).
fn syscall_of(function: &str) -> Option<&str> {
    ["__x64_sys_", "__arm64_sys_", "__se_sys_", "__do_sys_", "sys_"]
        .iter()
        .find_map(|p| function.strip_prefix(p))
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kprobe(n) => write!(f, "kprobe/{n}"),
            Self::Kretprobe(n) => write!(f, "kretprobe/{n}"),
            Self::Ksyscall(n) => write!(f, "ksyscall/{n}"),
            Self::Kretsyscall(n) => write!(f, "kretsyscall/{n}"),
            Self::Uprobe(n) => write!(f, "uprobe/{n}"),
            Self::Uretprobe(n) => write!(f, "uretprobe/{n}"),
            Self::Usdt(p, n) => write!(f, "usdt/{p}:{n}"),
            Self::Tracepoint(c, n) => write!(f, "tracepoint/{c}/{n}"),
            Self::RawTp(n) => write!(f, "raw_tp/{n}"),
            Self::Fentry(n) => write!(f, "fentry/{n}"),
            Self::Fexit(n) => write!(f, "fexit/{n}"),
            Self::FmodRet(n) => write!(f, "fmod_ret/{n}"),
            Self::Lsm(n) => write!(f, "lsm/{n}"),
            Self::PerfEvent => f.write_str("perf_event"),
            Self::Xdp => f.write_str("xdp"),
            Self::Tc => f.write_str("tc"),
            Self::Socket => f.write_str("socket"),
            Self::CgroupSkb => f.write_str("cgroup_skb"),
            Self::Syscall => f.write_str("syscall"),
        }
    }
}

/// Reads what `Display` writes: `kprobe/vfs_read`, `tp/sched/sched_switch`, `xdp`.
impl std::str::FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once('/').unwrap_or((text, ""));
        let name = || {
            if rest.is_empty() {
                Err(format!("'{text}' names nothing behind '{kind}/'"))
            } else {
                Ok(rest.to_owned())
            }
        };
        Ok(match kind {
            "kprobe" => Self::Kprobe(name()?),
            "kretprobe" => Self::Kretprobe(name()?),
            "ksyscall" => Self::Ksyscall(name()?),
            "kretsyscall" => Self::Kretsyscall(name()?),
            "uprobe" => Self::Uprobe(name()?),
            "uretprobe" => Self::Uretprobe(name()?),
            "usdt" => match rest.split_once(':') {
                Some((p, n)) if !p.is_empty() && !n.is_empty() => Self::Usdt(p.to_owned(), n.to_owned()),
                _ => return Err(format!("'{text}': a user-space probe is written usdt/<provider>:<name>")),
            },
            "tracepoint" | "tp" => match rest.split_once('/') {
                Some((c, n)) if !c.is_empty() && !n.is_empty() => {
                    Self::Tracepoint(c.to_owned(), n.to_owned())
                }
                _ => return Err(format!("'{text}': a tracepoint is written tracepoint/<category>/<name>")),
            },
            "raw_tp" | "raw_tracepoint" | "tp_btf" => Self::RawTp(name()?),
            "fentry" => Self::Fentry(name()?),
            "fexit" => Self::Fexit(name()?),
            "fmod_ret" => Self::FmodRet(name()?),
            "lsm" => Self::Lsm(name()?),
            "perf_event" => Self::PerfEvent,
            "xdp" => Self::Xdp,
            "tc" => Self::Tc,
            "socket" => Self::Socket,
            "cgroup_skb" => Self::CgroupSkb,
            "syscall" => Self::Syscall,
            other => {
                return Err(format!(
                    "'{other}' is no kind of probe point; there are: kprobe, kretprobe, ksyscall, kretsyscall, uprobe, \
                     uretprobe, usdt, tracepoint, raw_tp, fentry, fexit, fmod_ret, lsm, perf_event, xdp, tc, socket, \
                     cgroup_skb, syscall"
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Point, glob};

    #[test]
    fn patterns_match_as_in_libbpf() {
        for (pattern, text, expected) in [
            ("vfs_*", "vfs_read", true),
            ("*", "", true),
            ("*read", "vfs_read_iter", false),
            ("*r?ad*", "vfs_read_iter", true),
            ("vfs_read", "vfs_rea", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn points_are_read_as_they_are_written() {
        for text in [
            "kprobe/vfs_read",
            "usdt/http:request",
            "tracepoint/sched/sched_switch",
            "raw_tp/sys_enter",
            "xdp",
        ] {
            assert_eq!(text.parse::<Point>().map(|p| p.to_string()), Ok(text.to_owned()));
        }
        assert!("kprobe".parse::<Point>().is_err());
        assert!("nothing/x".parse::<Point>().unwrap_err().contains("kprobe"));
    }

    #[test]
    fn a_point_concerns_what_is_attached_there() {
        let point = Point::Kprobe("vfs_read".into());
        assert!(point.concerns(&point.target()));
        assert!(!point.concerns(&Point::Kretprobe("vfs_read".into()).target()));
        let mut strlen = Point::Uprobe("strlen".into()).target();
        strlen.point = bpf_vm_shim::object::AttachPoint::Binary {
            path: "/lib/libc.so.6".into(),
            function: Some("strlen".into()),
            offset: 0,
        };
        for (name, expected) in [
            ("strlen", true),
            ("c:strlen", true),
            ("libc.so.6:strlen", true),
            ("/lib/libc.so.6:strlen", true),
            ("m:strlen", false),
            ("c:strchr", false),
        ] {
            assert_eq!(Point::Uprobe(name.into()).concerns(&strlen), expected, "{name}");
        }
        let by_hand = Point::Uprobe("c:strlen".into()).target();
        for (name, expected) in
            [("strlen", true), ("c:strlen", true), ("m:strlen", false), ("a::strlen", false)]
        {
            assert_eq!(Point::Uprobe(name.into()).concerns(&by_hand), expected, "{name}");
        }
        assert!(
            Point::Ksyscall("openat".into()).concerns(&Point::Kprobe("__x64_sys_openat".into()).target())
        );
    }
}
