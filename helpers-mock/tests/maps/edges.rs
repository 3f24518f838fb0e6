//! Limits and errors, edge by edge.

use bpf_helpers_mock::Errno;
use bpf_helpers_mock::maps::{MapError, MapOpError, StackTraces, flag};
use bpf_vm_shim::object::{MapDef, MapType};

use super::support::{CPUS, def, errno, machine, with_map};

/// Type, sizes of key and value, `max_entries`, `map_flags`, `map_extra`, and what the kernel says.
type Definition = (MapType, (u32, u32), u32, u32, u64, Result<(), Errno>);

/// What the kernel says to a definition (checked against Linux 6.18).
#[test]
fn definitions_are_refused_as_by_the_kernel() {
    use MapType as T;
    let table: &[Definition] = &[
        (T::Hash, (4, 4), 1, 0, 0, Ok(())),
        (T::Hash, (0, 4), 1, 0, 0, Err(Errno::EINVAL)),
        (T::Hash, (4, 0), 1, 0, 0, Err(Errno::EINVAL)),
        (T::Hash, (4, 4), 0, 0, 0, Err(Errno::EINVAL)),
        (T::Hash, (4, 4), 1, flag::MMAPABLE, 0, Err(Errno::EINVAL)),
        (T::Hash, (4, 4), 1, flag::NO_COMMON_LRU, 0, Err(Errno::EINVAL)),
        (T::Hash, (4, 4 << 20), 1, 0, 0, Err(Errno::E2BIG)),
        (T::Hash, (4, 4), 1, flag::RDONLY | flag::WRONLY, 0, Err(Errno::EINVAL)),
        (T::Hash, (4, 4), 1, flag::RDONLY_PROG | flag::WRONLY_PROG, 0, Err(Errno::EINVAL)),
        (T::Hash, (4, 4), 1, 0, 1, Err(Errno::EINVAL)),
        (T::LruHash, (4, 4), 1, flag::NO_PREALLOC, 0, Err(Errno::ENOTSUPP)),
        (T::PercpuHash, (4, 32 << 10), 1, 0, 0, Ok(())),
        (T::PercpuHash, (4, (32 << 10) + 1), 1, 0, 0, Err(Errno::E2BIG)),
        (T::Array, (8, 4), 1, 0, 0, Err(Errno::EINVAL)),
        (T::Array, (4, 4), 1, flag::MMAPABLE | flag::INNER_MAP, 0, Ok(())),
        (T::Array, (4, 4), 1, flag::NO_PREALLOC, 0, Err(Errno::EINVAL)),
        (T::PercpuArray, (4, 4), 1, flag::MMAPABLE, 0, Err(Errno::EINVAL)),
        (T::ProgArray, (4, 8), 1, 0, 0, Err(Errno::EINVAL)),
        (T::ProgArray, (4, 4), 1, flag::RDONLY_PROG, 0, Err(Errno::EINVAL)),
        (T::PerfEventArray, (4, 4), 1, flag::PRESERVE_ELEMS, 0, Ok(())),
        (T::LpmTrie, (8, 4), 1, 0, 0, Err(Errno::EINVAL)),
        (T::LpmTrie, (4, 4), 1, flag::NO_PREALLOC, 0, Err(Errno::EINVAL)),
        (T::LpmTrie, (260, 4), 1, flag::NO_PREALLOC, 0, Ok(())),
        (T::Queue, (4, 4), 1, 0, 0, Err(Errno::EINVAL)),
        (T::Stack, (0, 4), 1, 0, 0, Ok(())),
        (T::BloomFilter, (0, 4), 1, 0, 15, Ok(())),
        (T::BloomFilter, (0, 4), 1, 0, 16, Err(Errno::EINVAL)),
        (T::StackTrace, (4, 127 * 8), 1, 0, 0, Ok(())),
        (T::StackTrace, (4, 128 * 8), 1, 0, 0, Err(Errno::EINVAL)),
        (T::StackTrace, (4, 12), 1, 0, 0, Err(Errno::EINVAL)),
        (T::Ringbuf, (0, 0), 4096, 0, 0, Ok(())),
        (T::Ringbuf, (0, 0), 4097, 0, 0, Err(Errno::EINVAL)),
        (T::CgroupStorage, (8, 65_407), 0, 0, 0, Ok(())),
        (T::CgroupStorage, (8, 65_408), 0, 0, 0, Err(Errno::E2BIG)),
        (T::Unknown(99), (4, 4), 1, 0, 0, Err(Errno::EINVAL)),
    ];
    for (map_type, sizes, entries, flags, extra, expected) in table {
        let mut def = def(*map_type, *sizes, *entries, *flags);
        def.map_extra = *extra;
        let result = machine().create_map(def).map(|_| ()).map_err(|e| match e {
            MapError::Refused { errno, .. } => errno,
            other => panic!("{other}"),
        });
        assert_eq!(result, *expected, "{map_type} {sizes:?} {entries} {flags:#x} {extra}");
    }
}

#[test]
fn huge_arrays_are_lazy_and_too_huge_ones_refused() {
    let (mut machine, id) = with_map(MapType::Array, (4, 8), 50_000_000, 0);
    let key = 49_999_999u32.to_le_bytes();
    machine.map_update(id, &key, &7u64.to_le_bytes(), 0).expect("an update");
    assert_eq!(machine.map_read(id, &key).expect("a read"), Some(vec![7u64.to_le_bytes().to_vec()]));
    let refused = super::support::machine().create_map(def(MapType::Array, (4, 8), u32::MAX, 0));
    assert!(matches!(refused, Err(MapError::Memory { .. })), "{refused:?}");
}

#[test]
fn unsimulated_types_load_and_say_so_when_used() {
    let (mut machine, id) = with_map(MapType::Devmap, (4, 4), 8, 0);
    let gap = machine.map_update(id, &[0; 4], &[0; 4], 0).expect_err("a gap");
    assert!(matches!(gap, MapOpError::Unsupported { .. }), "{gap}");
    assert_eq!(gap.to_string(), "map 'm': map type 'devmap' is not supported");
}

#[test]
fn the_host_must_give_whole_keys_and_values() {
    let (mut machine, id) = with_map(MapType::PercpuHash, (4, 6), 8, 0);
    assert_eq!(errno(machine.map_update(id, &[0; 3], &[0; 6], 0)), Err(Errno::EINVAL));
    assert_eq!(errno(machine.map_update(id, &[0; 4], &[0; 8], 0)), Err(Errno::EINVAL));
    assert_eq!(errno(machine.map_update(id, &[0; 4], &[0; 6], 0)), Ok(()));
    assert_eq!(errno(machine.map_update(id, &[0; 4], &[1; 8 * CPUS as usize], 0)), Ok(()));
    assert_eq!(machine.map_read(id, &[0; 4]).expect("a read"), Some(vec![vec![1; 6]; CPUS as usize]));
}

#[test]
fn frozen_and_read_only_maps_refuse_the_host() {
    let (mut machine, id) = with_map(MapType::Hash, (4, 4), 8, flag::RDONLY);
    assert_eq!(errno(machine.map_update(id, &[0; 4], &[0; 4], 0)), Err(Errno::EPERM));
    let (mut machine, id) = with_map(MapType::Array, (4, 4), 8, 0);
    machine.map_freeze(id).expect("the map");
    assert_eq!(errno(machine.map_update(id, &[0; 4], &[0; 4], 0)), Err(Errno::EPERM));
}

#[test]
fn per_cpu_lru_lists_make_room_on_their_own() {
    // Four lists of two entries each; the host works on CPU 0.
    let (mut machine, id) = with_map(MapType::LruHash, (4, 4), 8, flag::NO_COMMON_LRU);
    for key in 0u32..5 {
        machine.map_update(id, &key.to_le_bytes(), &[0; 4], 0).expect("an update");
    }
    let keys: Vec<_> = machine.map_entries(id).expect("the entries").into_iter().map(|e| e.key[0]).collect();
    assert_eq!(keys, [3, 4]);
}

#[test]
fn maps_of_maps_check_what_goes_in() {
    use MapType as T;
    let template = |flags| def(T::Array, (4, 8), 2, flags);
    let table: &[(u32, MapDef, Result<(), Errno>)] = &[
        (0, def(T::Array, (4, 8), 2, 0), Ok(())),
        (0, def(T::Array, (4, 8), 3, 0), Err(Errno::EINVAL)),
        (flag::INNER_MAP, def(T::Array, (4, 8), 3, flag::INNER_MAP), Ok(())),
        (0, def(T::Array, (4, 4), 2, 0), Err(Errno::EINVAL)),
        (0, def(T::Hash, (4, 8), 2, 0), Err(Errno::EINVAL)),
    ];
    for outer in [T::ArrayOfMaps, T::HashOfMaps] {
        for (flags, inner, expected) in table {
            let mut machine = machine();
            let mut def = def(outer, (4, 4), 2, 0);
            def.inner = Some(Box::new(template(*flags)));
            let outer_id = machine.create_map(def).expect("the outer map");
            let inner_id = machine.create_map(inner.clone()).expect("the inner map");
            let value = inner_id.0.to_le_bytes();
            assert_eq!(
                errno(machine.map_update(outer_id, &[0; 4], &value, 0)),
                *expected,
                "{outer} {inner:?}"
            );
            let shown = expected.is_ok().then(|| vec![value.to_vec()]);
            assert_eq!(machine.map_read(outer_id, &[0; 4]).expect("a read"), shown);
            assert_eq!(errno(machine.map_update(outer_id, &[1; 4], &[99; 4], 0)), Err(Errno::EBADF));
        }
    }
    let mut def = def(T::ArrayOfMaps, (4, 4), 2, 0);
    def.inner = Some(Box::new(super::support::def(T::ProgArray, (4, 4), 2, 0)));
    let refused = machine().create_map(def).expect_err("prog arrays may not be inside");
    assert!(refused.to_string().contains("ENOTSUPP"), "{refused}");
}

#[test]
fn arrays_of_objects_answer_as_fd_arrays() {
    let (mut machine, id) = with_map(MapType::PerfEventArray, (4, 4), 4, 0);
    let key = |n: u32| n.to_le_bytes();
    assert_eq!(errno(machine.map_update(id, &key(4), &key(0), 0)), Err(Errno::E2BIG));
    assert_eq!(errno(machine.map_update(id, &key(1), &key(7), flag::NOEXIST)), Err(Errno::EINVAL));
    assert_eq!(errno(machine.map_update(id, &key(1), &key(7), 0)), Ok(()));
    assert_eq!(errno(machine.map_read(id, &key(1))), Err(Errno::ENOTSUPP));
    assert_eq!(machine.map_entries(id).expect("the entries"), []);
    assert_eq!(errno(machine.map_delete(id, &key(1))), Ok(()));
    assert_eq!(errno(machine.map_delete(id, &key(1))), Err(Errno::ENOENT));
    let (mut machine, id) = with_map(MapType::ProgArray, (4, 4), 4, 0);
    assert_eq!(errno(machine.map_update(id, &key(1), &key(7), 0)), Err(Errno::EBADF), "no such program");
}

#[test]
fn stacks_are_stored_by_hash() {
    let (mut machine, id) = with_map(MapType::StackTrace, (4, 24), 2, 0);
    let map = machine.kernel.maps.get_mut(id).expect("the map");
    let stacks = map.ops.as_any_mut().downcast_mut::<StackTraces>().expect("stored stacks");
    let first = stacks.insert(&[1, 2, 3, 4], 0).expect("an id");
    assert_eq!(stacks.insert(&[1, 2, 3], 0), Ok(first), "cut at the depth of a value");
    // Two buckets: sooner or later another stack meets the first one's, and one takes the other bucket.
    let ids: Vec<_> = (0..64).map(|n| stacks.insert(&[n], 0)).collect();
    let met = ids.iter().position(|id| *id == Err(Errno::EEXIST)).expect("a collision");
    assert!(ids.contains(&Ok(first ^ 1)), "{ids:?}");
    assert_eq!(
        stacks.insert(&[met as u64], 1 << 10),
        Err(Errno::ENOMEM),
        "memory for the new one comes first"
    );
    let key = first.to_le_bytes();
    let value = [1u64, 2, 3].map(u64::to_le_bytes).concat();
    assert_eq!(machine.map_read(id, &key).expect("a read"), Some(vec![value]));
    assert_eq!(errno(machine.map_delete(id, &key)), Ok(()));
    assert_eq!(errno(machine.map_delete(id, &key)), Err(Errno::ENOENT));
    assert_eq!(errno(machine.map_delete(id, &9u32.to_le_bytes())), Err(Errno::E2BIG));
    assert_eq!(machine.map_entries(id).expect("the entries").len(), 1);
}
