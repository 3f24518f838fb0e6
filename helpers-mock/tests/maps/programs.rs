//! Maps as programs see them.

use bpf_helpers_mock::maps::{MapId, flag};
use bpf_helpers_mock::{Errno, Machine};
use bpf_vm_shim::exec::Outcome;
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::object::MapType;

use super::asm::{add, call, exit, imm64, insn, jeq, load, map_and_key, mov, mov_reg, run, store};
use super::support::{CPUS, with_map};

const LOOKUP: i32 = 1;
const UPDATE: i32 = 2;
const DELETE: i32 = 3;
const PUSH: i32 = 87;
const POP: i32 = 88;
const FOR_EACH: i32 = 164;
const LOOKUP_PERCPU: i32 = 195;

/// `r3 = fp - 8, holding value; r4 = flags; update; r6 = r0`
fn update(map: MapId, key: i32, value: i32, flags: u64) -> Vec<Insn> {
    let rest =
        [store(10, -8, value), mov_reg(3, 10), add(3, -8), mov(4, flags as i32), call(UPDATE), mov_reg(6, 0)];
    [&map_and_key(map, key)[..], &rest].concat()
}

fn program(parts: &[&[Insn]]) -> Vec<Insn> {
    [&parts.concat()[..], &[exit()]].concat()
}

#[track_caller]
fn fault(machine: &mut Machine, insns: &[Insn]) -> (&'static str, String) {
    match run(machine, insns) {
        Outcome::Fault(f) => (f.kind.id(), f.kind.to_string()),
        other => panic!("no fault: {other:?}"),
    }
}

#[test]
fn what_is_put_in_is_found() {
    for map_type in
        [MapType::Hash, MapType::Array, MapType::PercpuHash, MapType::PercpuArray, MapType::LruHash]
    {
        let (mut machine, id) = with_map(map_type, (4, 4), 8, 0);
        let find = [&map_and_key(id, 3)[..], &[call(LOOKUP), jeq(0, 0, 1), load(0, 0, 0)]].concat();
        let prog = program(&[&update(id, 3, 77, 0), &find]);
        assert_eq!(run(&mut machine, &prog), Outcome::Returned(77), "{map_type}");
    }
}

#[test]
fn a_deleted_element_is_gone() {
    let (mut machine, id) = with_map(MapType::Hash, (4, 4), 8, 0);
    let look = [&map_and_key(id, 3)[..], &[call(LOOKUP), mov_reg(7, 0)]].concat();
    let delete = [&map_and_key(id, 3)[..], &[call(DELETE), load(0, 7, 0)]].concat();
    let (kind, text) = fault(&mut machine, &program(&[&update(id, 3, 77, 0), &look, &delete]));
    assert_eq!(kind, "use-after-free");
    assert!(text.contains("map 'm'"), "{text}");
}

#[test]
fn a_replaced_value_is_gone_too() {
    let (mut machine, id) = with_map(MapType::Hash, (4, 4), 8, 0);
    let look = [&map_and_key(id, 3)[..], &[call(LOOKUP), mov_reg(7, 0)]].concat();
    let prog = program(&[&update(id, 3, 77, 0), &look, &update(id, 3, 78, 0), &[load(0, 7, 0)]]);
    assert_eq!(fault(&mut machine, &prog).0, "use-after-free");
}

#[test]
fn values_end_where_they_end() {
    let (mut machine, id) = with_map(MapType::Array, (4, 4), 8, 0);
    let prog = program(&[&map_and_key(id, 3), &[call(LOOKUP), load(0, 0, 4)]]);
    let (kind, text) = fault(&mut machine, &prog);
    assert_eq!(kind, "out-of-bounds");
    assert!(text.contains("element 3"), "{text}");
}

#[test]
fn errors_reach_the_program() {
    let (mut machine, id) = with_map(MapType::Hash, (4, 4), 1, 0);
    let table = [
        (update(id, 1, 0, flag::EXIST), Errno::ENOENT.ret()),
        (update(id, 1, 0, 0), 0),
        (update(id, 1, 0, flag::NOEXIST), Errno::EEXIST.ret()),
        (update(id, 2, 0, 0), Errno::E2BIG.ret()),
        (update(id, 1, 0, 3), Errno::EINVAL.ret()),
        (update(id, 1, 0, flag::LOCK), Errno::EINVAL.ret()),
    ];
    for (part, expected) in table {
        let prog = program(&[&part, &[mov_reg(0, 6)]]);
        assert_eq!(run(&mut machine, &prog), Outcome::Returned(expected));
    }
}

#[test]
fn read_only_maps_are_read_only() {
    let (mut machine, id) = with_map(MapType::Array, (4, 4), 1, flag::RDONLY_PROG);
    machine.map_update(id, &[0; 4], &5u32.to_le_bytes(), 0).expect("the host may write");
    let read = program(&[&map_and_key(id, 0), &[call(LOOKUP), load(0, 0, 0)]]);
    assert_eq!(run(&mut machine, &read), Outcome::Returned(5));
    let write = program(&[&map_and_key(id, 0), &[call(LOOKUP), store(0, 0, 1)]]);
    assert_eq!(fault(&mut machine, &write).0, "read-only-write");
    assert_eq!(fault(&mut machine, &program(&[&update(id, 0, 1, 0)])).0, "not-allowed");
}

#[test]
fn helpers_take_their_map_types_only() {
    let (mut machine, id) = with_map(MapType::Queue, (0, 4), 4, 0);
    let (kind, text) = fault(&mut machine, &program(&[&map_and_key(id, 0), &[call(LOOKUP)]]));
    assert_eq!(kind, "not-allowed");
    assert!(text.contains("queue") && text.contains("bpf_map_lookup_elem"), "{text}");
    let (mut machine, id) = with_map(MapType::Devmap, (4, 4), 4, 0);
    let outcome = run(&mut machine, &program(&[&map_and_key(id, 0), &[call(LOOKUP)]]));
    assert!(matches!(&outcome, Outcome::Unsupported(u) if u.name == "devmap"), "{outcome:?}");
}

#[test]
fn queues_give_zeroes_when_empty() {
    let (mut machine, id) = with_map(MapType::Queue, (0, 4), 4, 0);
    let push =
        [&imm64(1, id.addr())[..], &[store(10, -4, 9), mov_reg(2, 10), add(2, -4), mov(3, 0), call(PUSH)]];
    let pop = [
        &imm64(1, id.addr())[..],
        &[store(10, -8, 1), mov_reg(2, 10), add(2, -8), call(POP), load(0, 10, -8)],
    ];
    assert_eq!(run(&mut machine, &program(&[&push.concat(), &pop.concat()])), Outcome::Returned(9));
    assert_eq!(run(&mut machine, &program(&[&pop.concat()])), Outcome::Returned(0));
}

#[test]
fn other_cpus_values_can_be_found() {
    let (mut machine, id) = with_map(MapType::PercpuArray, (4, 4), 2, 0);
    let all: Vec<u8> = (0..u64::from(CPUS)).flat_map(|cpu| (cpu + 10).to_le_bytes()).collect();
    machine.map_update(id, &[0; 4], &all, 0).expect("an update");
    for (cpu, expected) in [(0, 10), (3, 13), (4, 0), (-1, 0)] {
        let find = [mov(3, cpu), call(LOOKUP_PERCPU), jeq(0, 0, 1), load(0, 0, 0)];
        let prog = program(&[&map_and_key(id, 0), &find]);
        assert_eq!(run(&mut machine, &prog), Outcome::Returned(expected), "CPU {cpu}");
    }
}

/// A walk whose callback is the given code; the helper's result is the program's.
fn walk(map: MapId, flags: i32, callback: &[Insn]) -> Vec<Insn> {
    let start = [
        &imm64(1, map.addr())[..],
        &[insn(0x18, 2, 4, 0, 5), insn(0, 0, 0, 0, 0), mov_reg(3, 10), mov(4, flags), call(FOR_EACH), exit()],
    ];
    [&start.concat()[..], callback].concat()
}

#[test]
fn a_walk_visits_every_element_and_may_delete_it() {
    for map_type in [MapType::Hash, MapType::LruHash, MapType::PercpuHash] {
        let (mut machine, id) = with_map(map_type, (4, 4), 8, 0);
        for key in 0u32..5 {
            machine.map_update(id, &key.to_le_bytes(), &[0; 4], 0).expect("an update");
        }
        // Deletes what it is shown; r1 is the map, r2 the key.
        let delete = [call(DELETE), exit()];
        assert_eq!(run(&mut machine, &walk(id, 0, &delete)), Outcome::Returned(5), "{map_type}");
        assert_eq!(machine.map_entries(id).expect("the entries"), [], "{map_type}");
    }
}

#[test]
fn a_walk_ends_when_the_callback_says_so() {
    let (mut machine, id) = with_map(MapType::Array, (4, 4), 8, 0);
    // `return *key == 2`
    let stop = [load(1, 2, 0), mov(0, 0), insn(0x55, 1, 0, 1, 2), mov(0, 1), exit()];
    assert_eq!(run(&mut machine, &walk(id, 0, &stop)), Outcome::Returned(3));
    assert_eq!(run(&mut machine, &walk(id, 1, &stop)), Outcome::Returned(Errno::EINVAL.ret()));
    let write = [store(2, 0, 1), mov(0, 0), exit()];
    assert_eq!(fault(&mut machine, &walk(id, 0, &write)).0, "read-only-write", "keys are read-only");
}

#[test]
fn inner_maps_are_found_and_used() {
    let (mut machine, inner) = with_map(MapType::Array, (4, 4), 1, 0);
    machine.map_update(inner, &[0; 4], &42u32.to_le_bytes(), 0).expect("an update");
    for outer_type in [MapType::ArrayOfMaps, MapType::HashOfMaps] {
        let outer = machine.create_map(super::support::def(outer_type, (4, 4), 2, 0)).expect("the outer map");
        machine.map_update(outer, &[0; 4], &inner.0.to_le_bytes(), 0).expect("an update");
        let find = [
            call(LOOKUP),
            jeq(0, 0, 5),
            mov_reg(1, 0),
            mov_reg(2, 10),
            add(2, -4),
            call(LOOKUP),
            load(0, 0, 0),
        ];
        for (key, expected) in [(0, 42), (1, 0)] {
            let prog = program(&[&map_and_key(outer, key), &find]);
            assert_eq!(run(&mut machine, &prog), Outcome::Returned(expected), "{outer_type} {key}");
        }
    }
}
