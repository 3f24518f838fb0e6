//! Random operations on each type and on a model of it give the same results.

use std::collections::{BTreeMap, VecDeque};

use bpf_helpers_mock::Errno;
use bpf_helpers_mock::maps::{Entry, flag};
use bpf_vm_shim::object::MapType;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::Config;
use proptest::{collection, prop_assert_eq, proptest};

use super::support::{CPUS, errno, with_map};

#[derive(Clone, Debug)]
enum Op {
    Update(u16, u32, u64),
    Delete(u16),
    Lookup(u16),
    Fork,
}

fn ops(keys: u16, len: usize) -> impl Strategy<Value = Vec<Op>> {
    let flags = prop_oneof![4 => Just(0), 1 => Just(flag::NOEXIST), 1 => Just(flag::EXIST), 1 => Just(3u64)];
    let op = prop_oneof![
        4 => (0..keys, any::<u32>(), flags).prop_map(|(k, v, f)| Op::Update(k, v, f)),
        2 => (0..keys).prop_map(Op::Delete),
        2 => (0..keys).prop_map(Op::Lookup),
        1 => Just(Op::Fork),
    ];
    collection::vec(op, 0..len)
}

fn entry(key: u16, values: Vec<u32>) -> Entry {
    Entry {
        key: key.to_le_bytes().to_vec(),
        values: values.into_iter().map(|v| v.to_le_bytes().to_vec()).collect(),
    }
}

/// A hash map as the kernel has it; with `lru` the least recently used entry makes room.
struct Model {
    entries: BTreeMap<u16, u32>,
    /// Oldest use first.
    order: Vec<u16>,
    max: usize,
    lru: bool,
}

impl Model {
    fn touch(&mut self, key: u16) {
        self.order.retain(|k| *k != key);
        self.order.push(key);
    }

    fn update(&mut self, key: u16, value: u32, flags: u64) -> Result<(), Errno> {
        let exists = self.entries.contains_key(&key);
        match flags {
            flag::NOEXIST if exists => return Err(Errno::EEXIST),
            flag::EXIST if !exists => return Err(Errno::ENOENT),
            3.. => return Err(Errno::EINVAL),
            _ => {}
        }
        if !exists && self.entries.len() >= self.max {
            if !self.lru {
                return Err(Errno::E2BIG);
            }
            let oldest = self.order.remove(0);
            self.entries.remove(&oldest);
        }
        self.entries.insert(key, value);
        self.touch(key);
        Ok(())
    }

    fn delete(&mut self, key: u16) -> Result<(), Errno> {
        self.order.retain(|k| *k != key);
        self.entries.remove(&key).map(|_| ()).ok_or(Errno::ENOENT)
    }
}

fn run_hash(map_type: MapType, max: u32, ops: &[Op]) {
    let lru = matches!(map_type, MapType::LruHash | MapType::LruPercpuHash);
    let percpu = matches!(map_type, MapType::PercpuHash | MapType::LruPercpuHash);
    let (mut machine, id) = with_map(map_type, (2, 4), max, 0);
    let mut model = Model { entries: BTreeMap::new(), order: Vec::new(), max: max as usize, lru };
    let shown = |v: u32| {
        if percpu { (0..CPUS).map(|cpu| v.wrapping_add(cpu)).collect() } else { vec![v] }
    };
    for op in ops {
        match *op {
            Op::Update(k, v, f) => {
                let parts = shown(v).into_iter().map(|v| u64::from(v).to_le_bytes());
                let value: Vec<u8> =
                    if percpu { parts.flatten().collect() } else { v.to_le_bytes().to_vec() };
                let ours = errno(machine.map_update(id, &k.to_le_bytes(), &value, f));
                assert_eq!(ours, model.update(k, v, f), "update {k} {f}");
            }
            Op::Delete(k) => {
                let ours = errno(machine.map_delete(id, &k.to_le_bytes()));
                assert_eq!(ours, model.delete(k), "delete {k}");
            }
            Op::Lookup(k) => {
                let ours = machine.map_read(id, &k.to_le_bytes()).expect("a read");
                let expected = model.entries.get(&k).map(|v| entry(k, shown(*v)).values);
                assert_eq!(ours, expected, "lookup {k}");
                // As a program's lookup does.
                if lru && expected.is_some() {
                    machine.kernel.maps.get_mut(id).expect("the map").ops.touch(&k.to_le_bytes());
                    model.touch(k);
                }
            }
            Op::Fork => {
                let mut other = machine.fork();
                other.map_update(id, &0u16.to_le_bytes(), &[9; 4], 0).ok();
                other.map_delete(id, &1u16.to_le_bytes()).ok();
                machine = if model.order.len().is_multiple_of(2) { machine } else { machine.fork() };
            }
        }
        assert_eq!(machine.kernel.maps.get(id).and_then(|m| m.ops.count()), Some(model.entries.len() as u64));
    }
    let mut expected: Vec<_> = model.entries.iter().map(|(k, v)| entry(*k, shown(*v))).collect();
    expected.sort();
    assert_eq!(machine.map_entries(id).expect("the entries"), expected);
}

proptest! {
    #![proptest_config(Config::with_cases(48))]

    #[test]
    fn hash_is_a_map(ops in ops(12, 120)) {
        run_hash(MapType::Hash, 6, &ops);
    }

    #[test]
    fn large_hash_is_a_map(ops in ops(u16::MAX, 600)) {
        run_hash(MapType::Hash, 4000, &ops);
    }

    #[test]
    fn percpu_hash_is_a_map(ops in ops(12, 100)) {
        run_hash(MapType::PercpuHash, 6, &ops);
    }

    #[test]
    fn lru_hash_drops_the_least_recently_used(ops in ops(12, 150)) {
        run_hash(MapType::LruHash, 5, &ops);
    }

    #[test]
    fn lru_percpu_hash_drops_the_least_recently_used(ops in ops(12, 100)) {
        run_hash(MapType::LruPercpuHash, 5, &ops);
    }

    #[test]
    fn arrays_are_arrays(ops in ops(8, 80)) {
        for map_type in [MapType::Array, MapType::PercpuArray] {
            let cpus = if map_type == MapType::Array { 1 } else { CPUS };
            let (mut machine, id) = with_map(map_type, (4, 4), 6, 0);
            let mut model = [[0u32; CPUS as usize]; 6];
            for op in &ops {
                match *op {
                    Op::Update(k, v, f) => {
                        let expected = match (f, model.get_mut(usize::from(k))) {
                            (3.., _) => Err(Errno::EINVAL),
                            (_, None) => Err(Errno::E2BIG),
                            (flag::NOEXIST, _) => Err(Errno::EEXIST),
                            (_, Some(slot)) => {
                                slot[0] = v;
                                Ok(())
                            }
                        };
                        let key = u32::from(k).to_le_bytes();
                        prop_assert_eq!(errno(machine.map_update(id, &key, &v.to_le_bytes(), f)), expected);
                    }
                    Op::Delete(k) => {
                        let ours = errno(machine.map_delete(id, &u32::from(k).to_le_bytes()));
                        prop_assert_eq!(ours, Err(Errno::EINVAL));
                    }
                    _ => {}
                }
            }
            let expected: Vec<_> = model.iter().enumerate().map(|(i, slot)| Entry {
                key: (i as u32).to_le_bytes().to_vec(),
                values: slot.iter().take(cpus as usize).map(|v| v.to_le_bytes().to_vec()).collect(),
            }).collect();
            prop_assert_eq!(machine.map_entries(id).unwrap(), expected);
        }
    }

    #[test]
    fn queues_and_stacks_are_deques(ops in ops(4, 120)) {
        for stack in [false, true] {
            let map_type = if stack { MapType::Stack } else { MapType::Queue };
            let (mut machine, id) = with_map(map_type, (0, 4), 5, 0);
            let mut model: VecDeque<[u8; 4]> = VecDeque::new();
            for op in &ops {
                match *op {
                    Op::Update(_, v, f) => {
                        let full = model.len() == 5;
                        let expected = match f {
                            0 if full => Err(Errno::E2BIG),
                            0 | flag::EXIST => Ok(()),
                            _ => Err(Errno::EINVAL),
                        };
                        if expected.is_ok() {
                            if full {
                                model.pop_front();
                            }
                            model.push_back(v.to_le_bytes());
                        }
                        prop_assert_eq!(errno(machine.map_push(id, &v.to_le_bytes(), f)), expected);
                    }
                    Op::Delete(_) => {
                        let expected = if stack { model.pop_back() } else { model.pop_front() };
                        prop_assert_eq!(machine.map_pop(id).unwrap(), expected.map(|v| v.to_vec()));
                    }
                    _ => {
                        let next = if stack { model.back() } else { model.front() };
                        let expected = next.map(|v| vec![v.to_vec()]);
                        prop_assert_eq!(machine.map_read(id, &[]).unwrap(), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn bloom_filters_never_deny(values in collection::vec(any::<[u8; 6]>(), 0..60)) {
        let (mut machine, id) = with_map(MapType::BloomFilter, (0, 6), 50, 0);
        for value in &values {
            machine.map_push(id, value, 0).unwrap();
        }
        for value in &values {
            prop_assert_eq!(machine.map_peek(id, &mut value.to_vec()).unwrap(), true);
        }
    }
}
