//! Fields of sockets (`bpf_sock_common_is_valid_access`, `bpf_sock_is_valid_access`, `bpf_tcp_sock_is_valid_access` in
//! `net/core/filter.c`) and of flow keys (`flow_dissector_is_valid_access`, `check_flow_keys_access`).

use super::mem::Access;
use super::scalar::Scalar;
use super::state::{Ptr, Reg, SockKind, Step, refuse};
use super::why::Why;

/// Size of `struct bpf_flow_keys`.
pub(super) const FLOW_KEYS: u64 = 56;

/// A load of a field; what it gives.
pub(super) fn load(p: &Ptr, kind: SockKind, a: Access) -> Step<Reg> {
    let Some(off) = p.fixed() else { return Ok(Reg::Unknown) };
    let off = off + a.off;
    let fits = match kind {
        SockKind::Common => common(off, a.size as i64),
        SockKind::Full => full(off, a.size as i64),
        SockKind::Tcp => tcp(off, a.size as i64),
    };
    if !fits {
        let m = format!("R{} invalid {} access off={off} size={}", a.reg, kind.name(), a.size);
        return refuse(Why::InvalidMemAccess, m);
    }
    Ok(Reg::scalar(Scalar::of_size(a.size as u32)))
}

/// `struct bpf_sock` of a socket that may be a request or a time-wait one.
fn common(off: i64, size: i64) -> bool {
    // type, protocol, mark, priority
    full(off, size) && !(8..24).contains(&off)
}

/// `struct bpf_sock`.
fn full(off: i64, size: i64) -> bool {
    if !(0..80).contains(&off) || off % size != 0 || size > 4 {
        return false;
    }
    match off {
        // bound_dev_if, mark, priority
        0..4 | 16..24 => size == 4,
        // Behind dst_port.
        50..52 => false,
        _ => true,
    }
}

/// `struct bpf_tcp_sock`.
fn tcp(off: i64, size: i64) -> bool {
    let inside = (0..128).contains(&off) && off % size == 0;
    inside && if matches!(off, 80 | 88) { size == 8 } else { size == 4 }
}
