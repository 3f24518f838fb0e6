//! Perf events: output and counters (`kernel/trace/bpf_trace.c`).

use bpf_vm_shim::env::{CallResult, Flow};
use bpf_vm_shim::fault::{FaultKind, Trap};
use bpf_vm_shim::object::MapType;

use super::args::map_arg;
use super::desc::{Arg, Call, HelperDesc};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::maps::MapId;
use crate::state::Counter;

/// `BPF_F_INDEX_MASK`, and `BPF_F_CURRENT_CPU`, which has all its bits set.
const BPF_F_INDEX_MASK: u64 = 0xffff_ffff;
/// `BPF_F_CTXLEN_MASK`: how much of the packet to append.
const BPF_F_CTXLEN_MASK: u64 = 0xf_ffff << 32;
/// Bytes of `struct bpf_perf_event_value`.
const VALUE: u64 = 24;

macro_rules! row {
    ($id:literal, $name:literal, $args:expr, $since:expr, $gpl:literal, $func:ident) => {
        HelperDesc {
            id: $id,
            name: $name,
            args: $args,
            since: $since,
            gpl_only: $gpl,
            func: $func,
            resume: None,
        }
    };
}

static OUTPUT: &[Arg] = &[Arg::Ctx, Arg::Map, Arg::Any, Arg::Mem, Arg::SizeOrZero];
/// The context may be any BTF pointer to the packet.
static PACKET_OUTPUT: &[Arg] = &[Arg::Any, Arg::Map, Arg::Any, Arg::Mem, Arg::SizeOrZero];

pub(super) static TABLE: &[HelperDesc] = &[
    row!(22, "bpf_perf_event_read", &[Arg::Map, Arg::Any], (4, 3), true, read),
    row!(25, "bpf_perf_event_output", OUTPUT, (4, 4), true, output),
    row!(
        55,
        "bpf_perf_event_read_value",
        &[Arg::Map, Arg::Any, Arg::MemOut, Arg::Size],
        (4, 15),
        true,
        read_value
    ),
    row!(56, "bpf_perf_prog_read_value", &[Arg::Ctx, Arg::MemOut, Arg::Size], (4, 15), true, prog_read_value),
    row!(111, "bpf_skb_output", PACKET_OUTPUT, (5, 5), true, packet_output),
    row!(121, "bpf_xdp_output", PACKET_OUTPUT, (5, 6), true, packet_output),
];

/// The array behind a map argument and the index that the flags name (`BPF_F_CURRENT_CPU` or a number).
fn index(kernel: &Kernel, addr: u64, flags: u64, callee: &str) -> Result<(MapId, Result<u32, Errno>), Trap> {
    let id = map_arg(kernel, addr)?;
    let Some(map) = kernel.maps.get(id) else { return Ok((id, Err(Errno::EINVAL))) };
    if map.def.map_type != MapType::PerfEventArray {
        let why = format!("cannot pass map_type {} into it", map.def.map_type);
        return Err(FaultKind::NotAllowed { callee: callee.to_owned(), why }.into());
    }
    let index = match flags & BPF_F_INDEX_MASK {
        BPF_F_INDEX_MASK => kernel.state.cpus.current,
        index => index as u32,
    };
    // libbpf makes the array as large as there are CPUs if the object does not say.
    let entries = if map.def.max_entries == 0 { kernel.profile.cpus } else { map.def.max_entries };
    Ok((id, if index < entries { Ok(index) } else { Err(Errno::E2BIG) }))
}

/// `bpf_perf_event_output`: 0, `-EINVAL` (flags), `-E2BIG` (index), `-ENOENT` (no event), `-EOPNOTSUPP` (another
/// CPU's event), `-ENOSPC` (full). Networking programs may append bytes of their packet, as `bpf_skb_event_output` does.
fn output(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let packet = kernel.run().is_some_and(|run| run.input.packet.is_some());
    emit(kernel, call, packet)
}

/// `bpf_skb_output`, `bpf_xdp_output`: as `bpf_perf_event_output`, from tracing programs that were given a packet.
fn packet_output(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    emit(kernel, call, true)
}

fn emit(kernel: &mut Kernel, call: &mut Call<'_, '_>, packet: bool) -> CallResult {
    let [ctx, map, flags, data, size] = call.args;
    let known = BPF_F_INDEX_MASK | if packet { BPF_F_CTXLEN_MASK } else { 0 };
    let (id, index) = index(kernel, map, flags, call.name)?;
    if flags & !known != 0 {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    }
    let mut bytes = vec![0; size as u32 as usize];
    if call.cx.mem.read(data, &mut bytes).is_err() {
        return Ok(Flow::Return(Errno::EFAULT.ret()));
    }
    let appended = (flags & BPF_F_CTXLEN_MASK) >> 32;
    if appended > 0 {
        match super::packet_bytes(kernel, call.cx, ctx, appended) {
            Some(packet) => bytes.extend(packet),
            None => return Ok(Flow::Return(Errno::EFAULT.ret())),
        }
    }
    let cpu = kernel.state.cpus.current;
    let done = index.and_then(|index| kernel.state.perf.output(id, index, cpu, bytes));
    Ok(Flow::Return(done.map_or_else(Errno::ret, |()| 0)))
}

fn counter(kernel: &mut Kernel, call: &Call<'_, '_>) -> Result<Result<Counter, Errno>, Trap> {
    let [map, flags, ..] = call.args;
    let (id, index) = index(kernel, map, flags, call.name)?;
    if flags & !BPF_F_INDEX_MASK != 0 {
        return Ok(Err(Errno::EINVAL));
    }
    let cpu = kernel.state.cpus.current;
    Ok(index.and_then(|index| kernel.state.perf.read(id, index, cpu)))
}

/// `bpf_perf_event_read`: the counter, or an error that looks like a count: `-EINVAL` (flags, another CPU's event),
/// `-E2BIG` (index), `-ENOENT` (no event).
fn read(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    Ok(Flow::Return(counter(kernel, call)?.map_or_else(Errno::ret, |c| c.counter)))
}

/// Writes a reading to the buffer; on an error the buffer is zeroed.
fn write(call: &mut Call<'_, '_>, buf: u64, size: u64, value: Result<Counter, Errno>) -> CallResult {
    let mut bytes = vec![0; size as u32 as usize];
    let ret = match value {
        Ok(c) => {
            for (place, word) in bytes.chunks_exact_mut(8).zip([c.counter, c.enabled, c.running]) {
                place.copy_from_slice(&word.to_le_bytes());
            }
            0
        }
        Err(e) => e.ret(),
    };
    let _ = call.cx.mem.write(buf, &bytes);
    Ok(Flow::Return(ret))
}

/// `bpf_perf_event_read_value`: counter, enabled and running time; `-EINVAL` unless the size is 24.
fn read_value(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, _, buf, size, _] = call.args;
    let value = if size == VALUE { counter(kernel, call)? } else { Err(Errno::EINVAL) };
    write(call, buf, size, value)
}

/// `bpf_perf_prog_read_value`: the counter of the event that the program is attached to.
fn prog_read_value(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [_, buf, size, ..] = call.args;
    let value = if size == VALUE { Ok(kernel.state.perf.prog_counter.reading()) } else { Err(Errno::EINVAL) };
    write(call, buf, size, value)
}
