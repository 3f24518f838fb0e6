use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use bpf_helpers_mock::Errno;
use bpf_helpers_mock::maps::MapOpError;
use bpf_vm_shim::object::MapType;
use libbpf_rs::{MapCore, MapHandle, ObjectBuilder};

use super::super::maps::KernelMap;
use super::walk;
use crate::kernel::testing;

/// A hash map's walk over keys of one byte, during which something happens before each step.
fn walked(keys: &[u8], meanwhile: impl Fn(usize, &mut Vec<u8>)) -> Result<Vec<u8>, Errno> {
    let keys = RefCell::new(keys.to_vec());
    let step = Cell::new(0);
    let next = |key: Option<&[u8]>| {
        step.set(step.get() + 1);
        meanwhile(step.get(), &mut keys.borrow_mut());
        let keys = keys.borrow();
        let at = key.and_then(|key| keys.iter().position(|k| [*k] == *key)).map_or(0, |at| at + 1);
        Ok(keys.get(at).map(|k| vec![*k]))
    };
    let found = walk(8, next, |key| keys.borrow().iter().any(|k| [*k] == *key))?;
    Ok(found.into_iter().flatten().collect())
}

#[test]
fn a_key_that_goes_away_underneath_costs_no_other() {
    assert_eq!(walked(&[5, 3, 9], |_, _| ()).unwrap(), [3, 5, 9]);
    assert!(walked(&[], |_, _| ()).unwrap().is_empty());
    // The key that the walk stands on goes; then also the one before it, and the first.
    let gone = |which: &'static [u8]| {
        walked(&[1, 2, 3, 4, 5], move |step, keys| {
            if step == 4 {
                keys.retain(|k| !which.contains(k));
            }
        })
    };
    for which in [&[3][..], &[2, 3], &[1, 3], &[1, 2, 3]] {
        assert_eq!(gone(which).unwrap(), [1, 2, 3, 4, 5], "{which:?}");
    }
    // New ones at the front do not matter, nor does one that comes back there.
    let moved = walked(&[1, 2, 3, 4, 5], |step, keys| {
        if step == 4 {
            *keys = vec![3, 8, 1, 4, 5];
        }
    });
    assert_eq!(moved.unwrap().iter().filter(|k| **k < 6).count(), 5);
}

#[test]
fn a_walk_without_end_is_given_up() {
    let mut n = 0u32;
    let next = |_: Option<&[u8]>| {
        n += 1;
        Ok(Some(n.to_le_bytes().to_vec()))
    };
    assert_eq!(walk(8, next, |_| true).unwrap_err(), Errno::EBUSY);
    assert_eq!(walk(8, |_| Err(Errno::ENOTSUPP), |_| true).unwrap_err(), Errno::ENOTSUPP);
}

fn map(map_type: MapType, max_entries: u32) -> KernelMap {
    let opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..libbpf_sys::bpf_map_create_opts::default()
    };
    let kind = libbpf_rs::MapType::from(map_type.number());
    let handle = MapHandle::create(kind, Some("walked"), 4, 8, max_entries, &opts).unwrap();
    KernelMap { name: "walked".to_owned(), map_type, key_size: 4, value_size: 8, max_entries, handle }
}

const HASHES: [MapType; 4] = [MapType::Hash, MapType::LruHash, MapType::PercpuHash, MapType::LruPercpuHash];

/// Adds and removes keys from 1000 on, until it is told to end; gives how many were added and kept.
fn disturb(map: &KernelMap, end: &AtomicBool, remove: bool) -> u32 {
    let mut n = 0u32;
    let value = 1u64.to_ne_bytes();
    while !end.load(Ordering::Relaxed) {
        if map.update(&(1000 + n).to_ne_bytes(), &value, 0).is_ok() {
            n += 1;
        }
        if remove && n.is_multiple_of(16) {
            (n - 16..n).for_each(|old| map.handle.delete(&(1000 + old).to_ne_bytes()).unwrap());
        }
    }
    n
}

#[test]
fn what_stays_is_found_while_other_keys_come_and_go() {
    if !testing::kernel() {
        return;
    }
    for map_type in [MapType::Hash, MapType::PercpuHash] {
        let map = map(map_type, 256);
        for key in 0..64u32 {
            map.update(&key.to_ne_bytes(), &[0; 8], 0).unwrap();
        }
        let end = AtomicBool::new(false);
        std::thread::scope(|s| {
            let other = s.spawn(|| disturb(&map, &end, true));
            for _ in 0..200 {
                let entries = map.entries().unwrap();
                let keys: BTreeSet<_> = entries.iter().map(|e| e.key.clone()).collect();
                assert_eq!(keys.len(), entries.len(), "{map_type}: none twice");
                let kept = |k: &Vec<u8>| u32::from_ne_bytes(k[..].try_into().unwrap()) < 1000;
                assert_eq!(keys.into_iter().filter(kept).count(), 64, "{map_type}");
            }
            end.store(true, Ordering::Relaxed);
            other.join().unwrap();
        });
    }
}

#[test]
fn what_is_taken_is_taken_once_and_nothing_is_lost() {
    if !testing::kernel() {
        return;
    }
    for map_type in HASHES {
        // No type gives up an old element: there is room for all, and some buckets have many.
        let map = map(map_type, 1 << 16);
        let end = AtomicBool::new(false);
        let (added, mut taken) = std::thread::scope(|s| {
            let other = s.spawn(|| disturb(&map, &end, false));
            let mut taken = Vec::new();
            while taken.len() < 2000 {
                taken.extend(map.take_all().unwrap());
            }
            end.store(true, Ordering::Relaxed);
            (other.join().unwrap(), taken)
        });
        taken.extend(map.take_all().unwrap());
        let keys: BTreeSet<_> = taken.iter().map(|e| e.key.clone()).collect();
        assert_eq!((taken.len(), keys.len()), (added as usize, added as usize), "{map_type}");
        assert_eq!(taken[0].values[0], 1u64.to_ne_bytes(), "{map_type}");
        assert_eq!(map.entries().unwrap(), []);
    }
}

#[test]
fn a_map_of_few_elements_is_taken_whole_whatever_the_batch() {
    if !testing::kernel() {
        return;
    }
    let map = map(MapType::Hash, 3);
    for key in 0..3u32 {
        map.update(&key.to_ne_bytes(), &u64::from(key).to_ne_bytes(), 0).unwrap();
    }
    let taken = map.take_all().unwrap();
    assert_eq!(taken.iter().map(|e| e.values[0][0]).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_type_that_cannot_be_listed_says_so() {
    if !testing::kernel() {
        return;
    }
    let mut open = ObjectBuilder::default().open_memory(bpf_fixtures::object("sockets").unwrap()).unwrap();
    open.progs_mut().for_each(|mut p| p.set_autoload(false));
    for mut map in open.maps_mut() {
        let storage = map.map_type() == libbpf_rs::MapType::SkStorage;
        map.set_autocreate(storage).unwrap();
    }
    let object = open.load().unwrap();
    let storage = object.maps().find(|m| m.map_type() == libbpf_rs::MapType::SkStorage).unwrap();
    let storage = KernelMap {
        name: "of_sockets".to_owned(),
        map_type: MapType::SkStorage,
        key_size: storage.key_size() as usize,
        value_size: storage.value_size() as usize,
        max_entries: storage.max_entries(),
        handle: MapHandle::try_from(&storage).unwrap(),
    };
    let refused = storage.entries().unwrap_err();
    assert!(matches!(refused, MapOpError::Errno { errno: Errno::ENOTSUPP, .. }), "{refused}");
    assert!(refused.to_string().contains("look up single keys"), "{refused}");
}
