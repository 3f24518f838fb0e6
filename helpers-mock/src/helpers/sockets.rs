//! Maps of sockets, values that belong to sockets, and devices' limits (`net/core/sock_map.c`, `bpf_sk_storage.c`,
//! `filter.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap, Unsupported, UnsupportedKind};
use bpf_vm_shim::object::MapType;

use super::desc::{Arg, Call, HelperDesc};
use super::packet::{fail, field};
use super::storage;
use crate::errno::Errno;
use crate::kernel::Kernel;

const fn row(
    id: u32,
    name: &'static str,
    args: &'static [Arg],
    since: (u8, u8),
    func: super::HelperFn,
) -> HelperDesc {
    HelperDesc { id, name, args, since, gpl_only: false, func, resume: None }
}

const CTX_MAP_KEY: &[Arg] = &[Arg::Ctx, Arg::Any, Arg::Any, Arg::Any];
const MAP_AT: &[Arg] = &[Arg::Any, Arg::Any, Arg::Any, Arg::Any];

pub(super) static TABLE: &[HelperDesc] = &[
    row(52, "bpf_sk_redirect_map", MAP_AT, (4, 14), dropped),
    row(53, "bpf_sock_map_update", CTX_MAP_KEY, (4, 14), sock_update),
    row(60, "bpf_msg_redirect_map", MAP_AT, (4, 17), dropped),
    row(70, "bpf_sock_hash_update", CTX_MAP_KEY, (4, 18), sock_update),
    row(71, "bpf_msg_redirect_hash", MAP_AT, (4, 18), dropped),
    row(72, "bpf_sk_redirect_hash", MAP_AT, (4, 18), dropped),
    row(82, "bpf_sk_select_reuseport", CTX_MAP_KEY, (4, 19), select_reuseport),
    row(
        107,
        "bpf_sk_storage_get",
        &[Arg::Map, Arg::KernelPtrOrNull, Arg::Any, Arg::Any],
        (5, 2),
        storage_get,
    ),
    row(108, "bpf_sk_storage_delete", &[Arg::Map, Arg::KernelPtrOrNull], (5, 2), storage_delete),
    row(
        163,
        "bpf_check_mtu",
        &[Arg::Ctx, Arg::Any, Arg::FixedOut(4), Arg::Any, Arg::Any],
        (5, 12),
        check_mtu,
    ),
];

/// The map of argument 2, of one of these types.
fn map_of(kernel: &Kernel, call: &Call<'_, '_>, types: &[MapType]) -> Result<(), Trap> {
    let id = super::map_arg(kernel, call.args[1])?;
    let Some(map) = kernel.maps.get(id) else { return super::map_arg(kernel, 0).map(|_| ()) };
    if types.contains(&map.def.map_type) {
        return Ok(());
    }
    let (name, map_type) = (&map.def.name, map.def.map_type);
    let why = format!("cannot pass map '{name}' of type {map_type} into func {}", call.name);
    Err(FaultKind::NotAllowed { callee: call.name.to_owned(), why }.into())
}

/// `SK_DROP`, as where the map has no socket at that place: no map has any here.
fn dropped(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    map_of(kernel, call, &[MapType::Sockmap, MapType::Sockhash])?;
    Ok(Flow::Return(0))
}

/// `bpf_sock_map_update`, `bpf_sock_hash_update`: `-EOPNOTSUPP` unless a connection has just been made or a socket
/// listens (`sock_map_op_okay`), and such sockets are not simulated.
fn sock_update(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const ACTIVE_ESTABLISHED: u32 = 4;
    const PASSIVE_ESTABLISHED: u32 = 5;
    const LISTEN: u32 = 11;
    map_of(kernel, call, &[MapType::Sockmap, MapType::Sockhash])?;
    // `op` is the first member of `struct bpf_sock_ops`.
    match field(call.cx.mem, call.args[0], 0) {
        ACTIVE_ESTABLISHED | PASSIVE_ESTABLISHED | LISTEN => {
            Err(Unsupported::new(UnsupportedKind::Feature, "a connected socket in a sockmap").into())
        }
        _ => fail(Errno::EOPNOTSUPP),
    }
}

/// `bpf_sk_select_reuseport`: `-ENOENT` where the map has no socket at that place.
fn select_reuseport(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    map_of(kernel, call, &[MapType::ReuseportSockarray, MapType::Sockmap, MapType::Sockhash])?;
    fail(Errno::ENOENT)
}

/// A socket is told by its address.
fn socket(call: &Call<'_, '_>) -> Option<u64> {
    Some(call.args[1]).filter(|sk| *sk != 0)
}

/// `bpf_sk_storage_get`: the address of the socket's value; null if there is none and flags do not ask to create it.
fn storage_get(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let owner = socket(call);
    storage::get(kernel, call, owner)
}

/// `bpf_sk_storage_delete`: `-ENOENT` if there is none, `-EINVAL` for no socket.
fn storage_delete(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let owner = socket(call);
    storage::delete(kernel, call, owner)
}

/// `bpf_check_mtu`: whether a packet of a length fits a device: one of those that packets come by here, `-ENODEV` otherwise.
fn check_mtu(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    const ETH_HLEN: i64 = 14;
    const SEGMENTS: u64 = 1;
    const FRAG_NEEDED: u64 = 1;
    /// `ifindex` and `gso_size` of `struct __sk_buff`; `ingress_ifindex` of `struct xdp_md`.
    const SKB: (u64, u64) = (40, 176);
    const XDP_IFINDEX: u64 = 12;
    let [ctx, ifindex, mtu_len, len_diff, flags] = call.args;
    let xdp = kernel.run().is_some_and(|r| r.prog.prog_type == bpf_vm_shim::object::ProgType::Xdp);
    let Some((_, len)) = super::packet(kernel, call.cx, ctx) else {
        let what = format!("{} without a packet", call.name);
        return Err(Unsupported::new(UnsupportedKind::Feature, what).into());
    };
    let given = field(call.cx.mem, mtu_len, 0);
    let segments = flags & SEGMENTS != 0 && (len_diff as u32 != 0 || given != 0);
    if flags & !(if xdp { 0 } else { SEGMENTS }) != 0 || segments {
        return fail(Errno::EINVAL);
    }
    let own = field(call.cx.mem, ctx, if xdp { XDP_IFINDEX } else { SKB.0 });
    let device = if ifindex as u32 == 0 { own } else { ifindex as u32 };
    let Some(device) = crate::state::device::device(device) else { return fail(Errno::ENODEV) };
    let whole = if given == 0 { len as i64 } else { i64::from(given) + ETH_HLEN };
    let fits = whole + i64::from(len_diff as i32) <= i64::from(device.mtu) + ETH_HLEN;
    // Segments that are cut later are not measured here unless asked for, and then the packet's length fits.
    let later = !xdp && field(call.cx.mem, ctx, SKB.1) != 0;
    call.write(mtu_len, &device.mtu.to_le_bytes())?;
    Ok(Flow::Return(if fits || later { 0 } else { FRAG_NEEDED }))
}

#[cfg(test)]
mod tests {
    use bpf_vm_shim::exec::Outcome;
    use bpf_vm_shim::object::{MapDef, MapType};

    use crate::errno::Errno;
    use crate::machine::Machine;
    use crate::testing::{buffer, call, machine, ret};

    fn map(machine: &mut Machine, map_type: MapType) -> u64 {
        let def = MapDef::of_type("m", map_type, (4, 4), 4);
        machine.create_map(def).expect("a valid map").addr()
    }

    #[test]
    fn maps_of_sockets_are_empty_and_take_none_that_there_is() {
        let types = [MapType::Sockmap, MapType::Sockhash, MapType::Xskmap, MapType::ReuseportSockarray];
        let deleted = [Errno::EINVAL.ret(), Errno::ENOENT.ret(), 0, Errno::ENOENT.ret()];
        for (map_type, deleted) in types.into_iter().zip(deleted) {
            let mut m = machine();
            let (map, key) = (map(&mut m, map_type), buffer(&mut m, 4));
            m.mem.store(key, 4, 1).expect("writable");
            assert_eq!(ret(&mut m, 1, &[map, key]), 0, "{map_type}");
            if matches!(map_type, MapType::Sockmap | MapType::Sockhash) {
                assert_eq!(ret(&mut m, 3, &[map, key]), deleted.cast_signed(), "{map_type}");
                let sk = 0xffff_8880_dead_0000;
                assert_eq!(ret(&mut m, 2, &[map, key, sk, 0]), Errno::EOPNOTSUPP.ret().cast_signed());
            }
        }
    }

    #[test]
    fn a_redirect_into_an_empty_map_does_what_its_flags_say() {
        let mut m = machine();
        let xsk = map(&mut m, MapType::Xskmap);
        for (flags, expected) in [(0, 0), (2, 2), (3, 3), (4, 0), (1 << 40, 0)] {
            assert_eq!(ret(&mut m, 51, &[xsk, 0, flags]), expected);
        }
        let socks = map(&mut m, MapType::Sockmap);
        assert_eq!(ret(&mut m, 52, &[0, socks, 0, 0]), 0);
        match call(&mut m, 52, &[0, xsk, 0, 0]) {
            Outcome::Fault(fault) => assert_eq!(fault.kind.id(), "not-allowed"),
            other => panic!("{other:?}"),
        }
    }
}
