//! Accesses to the context, per program type (the `is_valid_access` functions in `net/core/filter.c` and
//! `kernel/trace/bpf_trace.c`).

use bpf_vm_shim::object::{AttachType, ProgType};

use super::mem::Access;
use super::scalar::Scalar;
use super::state::{Ptr, Reg, SockKind, Step, Target, refuse};
use super::walk::Walk;
use super::why::Why;

impl Walk<'_> {
    pub(super) fn check_ctx(&mut self, p: &Ptr, a: Access) -> Step<Reg> {
        let t = self.prog.prog_type;
        let converted = is_skb(t) || t == ProgType::Xdp;
        let Some(fixed) = p.fixed() else {
            if t == ProgType::Syscall {
                return Ok(Reg::scalar(Scalar::of_size(a.size as u32)));
            }
            return refuse(Why::CtxAccess, "variable ctx access disallowed".to_owned());
        };
        if fixed != 0 && converted {
            let m = format!("dereference of modified ctx ptr R{} off={fixed} disallowed", a.reg);
            return refuse(Why::CtxAccess, m);
        }
        let off = fixed + a.off;
        let bad = || refuse(Why::CtxAccess, format!("invalid bpf_context access off={off} size={}", a.size));
        if !(0..=0xffff).contains(&off) {
            return bad();
        }
        let (size, aligned) = (a.size as i64, off % a.size.max(1) as i64 == 0);
        let number = Ok(Reg::scalar(Scalar::of_size(a.size as u32)));
        match t {
            ProgType::Kprobe if off + size > 168 || !aligned || a.write => bad(),
            ProgType::Tracepoint if !(8..8192).contains(&off) || a.write || !aligned => bad(),
            ProgType::RawTracepoint if off >= 96 || a.write || !aligned => bad(),
            ProgType::Kprobe | ProgType::Tracepoint | ProgType::RawTracepoint => number,
            ProgType::Xdp => {
                if off >= 24 || !aligned || size != 4 || a.write {
                    return bad();
                }
                Ok(match off {
                    0 => Reg::Ptr(Ptr::to(Target::Packet)),
                    4 => Reg::Ptr(Ptr::to(Target::PacketEnd)),
                    8 => Reg::Ptr(Ptr::to(Target::PacketMeta)),
                    _ => return number,
                })
            }
            t if is_skb(t) => {
                if !skb(t, off, size, a.write) {
                    return bad();
                }
                Ok(match off {
                    76 => Reg::Ptr(Ptr::to(Target::Packet)),
                    80 => Reg::Ptr(Ptr::to(Target::PacketEnd)),
                    140 => Reg::Ptr(Ptr::to(Target::PacketMeta)),
                    168 => {
                        let id = self.new_id();
                        Reg::Ptr(Ptr { or_null: true, id, ..Ptr::to(Target::Sock(SockKind::Common)) })
                    }
                    _ => return number,
                })
            }
            ProgType::Tracing if several(self.prog.attach.attach_type).is_some_and(|end| off >= end) => bad(),
            ProgType::Tracing | ProgType::Lsm if self.hook_argument(off, a).is_some() => {
                Ok(self.hook_argument(off, a).unwrap_or(Reg::Unknown))
            }
            ProgType::Tracing | ProgType::Lsm
                if off >= 13 * 8 || off % 8 != 0 && size == 8 || a.write && t == ProgType::Tracing =>
            {
                bad()
            }
            ProgType::Syscall => number,
            ProgType::FlowDissector => {
                let fits = match off {
                    76 | 80 => size == 4 && !a.write,
                    144 => size == 8 && !a.write,
                    _ => return bad(),
                };
                if !fits {
                    return bad();
                }
                Ok(Reg::Ptr(Ptr::to(match off {
                    76 => Target::Packet,
                    80 => Target::PacketEnd,
                    _ => Target::FlowKeys,
                })))
            }
            t if is_other_skb(t) => {
                if off % size != 0 || !(0..192).contains(&off) {
                    return bad();
                }
                Ok(match off {
                    76 if size == 4 && !a.write => Reg::Ptr(Ptr::to(Target::Packet)),
                    80 if size == 4 && !a.write => Reg::Ptr(Ptr::to(Target::PacketEnd)),
                    _ if size <= 4 && off < 76 => return number,
                    _ => Reg::Unknown,
                })
            }
            ProgType::Netfilter if a.write || size != 8 || !matches!(off, 0 | 8) => bad(),
            ProgType::Netfilter => Ok(Reg::Ptr(Ptr::to(Target::Kernel))),
            _ if size == 8 && !a.write && socket_at(t, off).is_some() => {
                let id = self.new_id();
                let or_null = socket_at(t, off).unwrap_or_default();
                Ok(Reg::Ptr(Ptr { or_null, id, ..Ptr::to(Target::Sock(SockKind::Full)) }))
            }
            _ if !plain(t, self.prog.attach.attach_type, off, size) => bad(),
            _ if has_numbers(t) && a.size <= 4 => number,
            _ => Ok(Reg::Unknown),
        }
    }
}

/// Programs on several functions see no arguments, only a result where there is one.
const fn several(t: AttachType) -> Option<i64> {
    match t {
        AttachType::TraceFentryMulti => Some(0),
        AttachType::TraceFexitMulti | AttachType::TraceFsessionMulti => Some(8),
        _ => None,
    }
}

/// Whether a context has its socket here, and if so, whether there may be none.
const fn socket_at(t: ProgType, off: i64) -> Option<bool> {
    match (t, off) {
        (ProgType::SockOps, 184) | (ProgType::SkLookup, 0) => Some(true),
        (ProgType::CgroupSockAddr, 64) | (ProgType::CgroupSockopt, 0) => Some(false),
        _ => None,
    }
}

/// Other types with `struct __sk_buff`, of whose rules little is known here.
const fn is_other_skb(t: ProgType) -> bool {
    use ProgType as P;
    matches!(t, P::LwtIn | P::LwtOut | P::LwtXmit | P::LwtSeg6local | P::SkSkb)
}

/// Contexts whose fields of up to four bytes are all numbers.
const fn has_numbers(t: ProgType) -> bool {
    use ProgType as P;
    matches!(
        t,
        P::CgroupSock
            | P::CgroupSockAddr
            | P::CgroupDevice
            | P::CgroupSysctl
            | P::SockOps
            | P::SkLookup
            | P::CgroupSockopt
    )
}

/// What is certainly refused of other contexts: misaligned accesses, parts of pointers, padding, fields that only
/// other hooks have.
fn plain(t: ProgType, attach: AttachType, off: i64, size: i64) -> bool {
    use ProgType as P;
    let aligned = off % size == 0;
    match t {
        P::CgroupSockopt => aligned && (off >= 24 || size == 8),
        P::CgroupSockAddr => aligned && !(60..64).contains(&off) && (off < 64 || size == 8),
        P::SockOps => aligned && (!matches!(off, 184..208 | 216..224) || size == 8),
        P::SkReuseport | P::FlowDissector => aligned,
        P::CgroupSock if (50..52).contains(&off) => false,
        P::CgroupSock => match attach {
            AttachType::CgroupInet4PostBind => !matches!(off, 16..24 | 28..44),
            AttachType::CgroupInet6PostBind => !matches!(off, 16..28),
            AttachType::CgroupInetSockCreate => !matches!(off, 24..48),
            _ => true,
        },
        _ => true,
    }
}

/// Types whose context is `struct __sk_buff` and whose rules are known here.
const fn is_skb(t: ProgType) -> bool {
    matches!(t, ProgType::SocketFilter | ProgType::SchedCls | ProgType::SchedAct | ProgType::CgroupSkb)
}

/// `bpf_skb_is_valid_access` and the type's own rules.
fn skb(t: ProgType, off: i64, size: i64, write: bool) -> bool {
    if !(0..192).contains(&off) || off % size != 0 {
        return false;
    }
    let within = |from: i64, to: i64| off >= from && off < to;
    let fits = match off {
        48..68 => off + size <= 68,
        76..84 | 100..132 | 140..144 => size == 4,
        92..100 if size > 4 => false,
        144..152 => false,
        152..160 => size == 8,
        168..176 => !write && size == 8 && off == 168,
        180 => !write && size == 1,
        181..184 => false,
        184..192 => !write && size == 8,
        _ if write => size == 4,
        _ => size <= 4,
    };
    if !fits {
        return false;
    }
    let cb = within(48, 68);
    match t {
        ProgType::SocketFilter => {
            let hidden = within(72, 84) || within(140, 144) || within(152, 164) || within(184, 192);
            !hidden && (!write || cb)
        }
        ProgType::SchedCls | ProgType::SchedAct => {
            let written =
                cb || within(8, 16) || within(32, 36) || within(44, 48) || within(72, 76) || within(152, 160);
            !within(88, 140) && (!write || written)
        }
        _ => {
            let written = cb || within(8, 12) || within(32, 36) || within(152, 160);
            let hidden = within(72, 76) || within(140, 144) || within(160, 164);
            !hidden && (!write || written)
        }
    }
}
