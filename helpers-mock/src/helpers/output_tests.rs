//! Rings, perf events and stacks, call by call.

use std::sync::Arc;

use bpf_vm_shim::object::{MapDef, MapType};

use crate::machine::Machine;
use crate::maps::{self, MapCx, MapId};
use crate::state::{Counter, PerfRecordKind, Task};
use crate::testing::{buffer, bytes, machine, ret};

fn map(m: &mut Machine, kind: MapType, sizes: (u32, u32), entries: u32) -> MapId {
    let def = Arc::new(MapDef::of_type("m", kind, sizes, entries));
    let mut cx = MapCx::host(&mut m.mem, m.kernel.state.cpus.count);
    let map = maps::create(def, None, &mut cx).unwrap();
    m.kernel.maps.push(map)
}

#[test]
fn ring_buffer_output_and_queries() {
    let mut m = machine();
    let ring = map(&mut m, MapType::Ringbuf, (0, 0), 4096);
    let data = buffer(&mut m, 16);
    // (helper, arguments after the map, result)
    let table: &[(u32, &[u64], i64)] = &[
        (130, &[data, 12, 0], 0),
        (130, &[data, 12, 4], -22),
        (130, &[data, 16, 1], 0),
        (134, &[0], 24 + 24),
        (134, &[1], 4096),
        (134, &[2], 0),
        (134, &[3], 48),
        (134, &[9], 0),
        (131, &[5000, 0], 0),
        (131, &[8, 1], 0),
    ];
    for (id, args, result) in table {
        let args = [&[ring.addr()], *args].concat();
        assert_eq!(ret(&mut m, *id, &args), *result, "helper {id} {args:x?}");
    }
    let got = m.take_ringbuf(ring).unwrap();
    assert_eq!(got.records, [vec![0xee; 12], vec![0xee; 16]]);
    assert_eq!((got.lost, got.wakeups), (1, 1));
    assert_eq!(ret(&mut m, 134, &[ring.addr(), 0]), 0);
}

#[test]
fn a_full_ring_buffer_answers_eagain() {
    let mut m = machine();
    let ring = map(&mut m, MapType::Ringbuf, (0, 0), 4096);
    let data = buffer(&mut m, 2040);
    let put = [ring.addr(), data, 2040, 0];
    assert_eq!([ret(&mut m, 130, &put), ret(&mut m, 130, &put)], [0, -11]);
    assert_eq!(m.take_ringbuf(ring).unwrap().records.len(), 1);
    assert_eq!(ret(&mut m, 130, &put), 0);
}

#[test]
fn perf_output_goes_to_the_cpu_that_runs() {
    let mut m = machine();
    let events = map(&mut m, MapType::PerfEventArray, (4, 4), 4);
    let data = buffer(&mut m, 8);
    m.kernel.state.cpus.current = 2;
    (0..3).for_each(|cpu| m.open_perf_ring(events, cpu, 1, 1));
    // (flags, result)
    let table: &[(u64, i64)] = &[(0xffff_ffff, 0), (2, 0), (1, -95), (3, -2), (4, -7), (1 << 32, -22)];
    for (flags, result) in table {
        assert_eq!(ret(&mut m, 25, &[0, events.addr(), *flags, data, 8]), *result, "flags {flags:x}");
    }
    m.kernel.state.cpus.current = 0;
    assert_eq!(ret(&mut m, 25, &[0, events.addr(), 0, data, 3]), 0);
    let got: Vec<_> = m.take_perf(events).into_iter().map(|r| (r.cpu, r.kind)).collect();
    let sample = |n| PerfRecordKind::Sample { data: vec![0xee; n] };
    assert_eq!(got, [(2, sample(8)), (2, sample(8)), (0, sample(3))]);
}

#[test]
fn counters_are_read_with_their_times() {
    let mut m = machine();
    let events = map(&mut m, MapType::PerfEventArray, (4, 4), 4);
    m.set_perf_counter(events, 0, Counter { counter: 10, enabled: 5, running: 4, step: 1 });
    let buf = buffer(&mut m, 24);
    assert_eq!(ret(&mut m, 22, &[events.addr(), 0xffff_ffff]), 10);
    assert_eq!(ret(&mut m, 55, &[events.addr(), 0, buf, 24]), 0);
    assert_eq!(bytes(&mut m, buf, 24), [11u64, 5, 4].map(u64::to_le_bytes).concat());
    assert_eq!(ret(&mut m, 55, &[events.addr(), 0, buf, 16]), -22);
    assert_eq!(bytes(&mut m, buf, 16), [0; 16]);
    assert_eq!(ret(&mut m, 22, &[events.addr(), 9]), -7);
    // Never opened: another CPU's event or not, there is none.
    assert_eq!(ret(&mut m, 22, &[events.addr(), 1]), -2);
    assert_eq!(ret(&mut m, 55, &[events.addr(), 1, buf, 24]), -2);
    let data = buffer(&mut m, 8);
    assert_eq!(ret(&mut m, 25, &[0, events.addr(), 0, data, 8]), -22);
}

#[test]
fn the_same_stack_has_the_same_id() {
    let mut m = machine();
    let stacks = map(&mut m, MapType::StackTrace, (4, 32), 64);
    let mut task = Task::new(1000, "t");
    task.kernel_stack = (1..=6).map(|n| 0xffff_ffff_8100_0000 + n * 16).collect();
    m.kernel.state.tasks.insert(task);
    let mut id = |flags: u64| ret(&mut m, 27, &[0, stacks.addr(), flags]);
    let first = id(0);
    assert!((0..64).contains(&first));
    assert_eq!(id(0), first);
    assert_ne!(id(1), first);
    // No user stack; all of it skipped; unknown flags.
    assert_eq!([id(1 << 8), id(6), id(1 << 20)], [-14, -14, -22]);
}

#[test]
fn stacks_are_copied_and_padded() {
    let mut m = machine();
    let mut task = Task::new(1000, "t");
    task.user_stack = vec![1, 2, 3];
    m.kernel.state.tasks.insert(task);
    let buf = buffer(&mut m, 32);
    // (size, flags, result, the first words)
    let table: &[(u64, u64, i64, [u64; 4])] = &[
        (32, 1 << 8, 24, [1, 2, 3, 0]),
        (16, 1 << 8, 16, [1, 2, 3, 0]),
        (32, 1 << 8 | 1, 16, [2, 3, 0, 0]),
        (32, 0, -14, [0; 4]),
        (32, 1 << 9, -22, [0; 4]),
        (32, 1 << 11, -22, [0; 4]),
        (28, 1 << 8, -22, [0; 4]),
        (32, 1 << 8 | 1 << 11, 32, [2, 0, 0, 1]),
    ];
    for (size, flags, result, words) in table {
        assert_eq!(ret(&mut m, 67, &[0, buf, *size, *flags]), *result, "{size} {flags:x}");
        assert_eq!(bytes(&mut m, buf, 32), words.map(u64::to_le_bytes).concat(), "{size} {flags:x}");
    }
}

#[test]
fn a_map_of_another_type_is_refused() {
    let mut m = machine();
    let array = map(&mut m, MapType::Array, (4, 8), 1);
    let data = buffer(&mut m, 8);
    for (id, args) in [(130, vec![array.addr(), data, 8, 0]), (25, vec![0, array.addr(), 0, data, 8])] {
        let outcome = crate::testing::call(&mut m, id, &args);
        assert!(format!("{outcome:?}").contains("cannot pass map_type array"), "{outcome:?}");
    }
}
