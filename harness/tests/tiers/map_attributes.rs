//! What `BPF_MAP_CREATE` refuses, type by type: the same table for the simulator and for kernels.

use bpf_harness::Tier;
use bpf_helpers_mock::Machine;
use bpf_helpers_mock::maps::MapError;
use bpf_vm_shim::object::{KernelProfile, MapDef, MapType};

/// What a map is created with.
#[derive(Clone, Copy, Debug)]
struct Attributes {
    map_type: MapType,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    map_extra: u64,
}

const NO_PREALLOC: u32 = 1;
const NO_COMMON_LRU: u32 = 1 << 1;
const NUMA_NODE: u32 = 1 << 2;
const RDONLY: u32 = 1 << 3;
const WRONLY: u32 = 1 << 4;
const STACK_BUILD_ID: u32 = 1 << 5;
const ZERO_SEED: u32 = 1 << 6;
const RDONLY_PROG: u32 = 1 << 7;
const WRONLY_PROG: u32 = 1 << 8;
const MMAPABLE: u32 = 1 << 10;
const PRESERVE_ELEMS: u32 = 1 << 11;
const UNKNOWN: u32 = 1 << 31;

const EINVAL: i32 = 22;
const E2BIG: i32 = 7;
const ENOTSUPP: i32 = 524;

/// Creates a map; 0 or the error.
fn simulated(a: Attributes) -> i32 {
    let mut def = MapDef::of_type("m", a.map_type, (a.key_size, a.value_size), a.max_entries);
    (def.map_flags, def.map_extra) = (a.map_flags, a.map_extra);
    match Machine::new(KernelProfile::default()).create_map(def) {
        Ok(_) => 0,
        Err(MapError::Refused { errno, .. }) => errno.number(),
        Err(other) => panic!("{a:?}: {other}"),
    }
}

#[cfg(feature = "kernel")]
fn on_kernel(a: Attributes) -> i32 {
    use libbpf_rs::MapHandle;
    use std::os::fd::{AsFd, AsRawFd};

    let none = || libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..libbpf_sys::bpf_map_create_opts::default()
    };
    let inner = MapHandle::create(libbpf_rs::MapType::Array, Some("inner"), 4, 4, 1, &none()).unwrap();
    let mut opts = none();
    (opts.map_flags, opts.map_extra) = (a.map_flags, a.map_extra);
    if a.map_type.is_map_in_map() {
        opts.inner_map_fd = inner.as_fd().as_raw_fd() as u32;
    }
    let map_type = libbpf_rs::MapType::from(a.map_type.number());
    match MapHandle::create(map_type, Some("m"), a.key_size, a.value_size, a.max_entries, &opts) {
        Ok(_) => 0,
        // libbpf leaves the kernel's error there.
        Err(_) => std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
    }
}

#[cfg(not(feature = "kernel"))]
fn on_kernel(_: Attributes) -> i32 {
    panic!("there is no kernel tier without the feature")
}

/// Whether the running kernel has such maps.
fn is_known(map_type: MapType) -> bool {
    let since = match map_type {
        MapType::BloomFilter => (5, 16),
        MapType::UserRingbuf => (6, 1),
        MapType::Arena => (6, 9),
        _ => (0, 0),
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= since
}

/// Type; key size, value size, capacity, flags, extra; result.
type Row = (MapType, [u32; 3], u32, u64, i32);

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    use MapType as T;
    vec![
        (T::Unspec, [4, 4, 1], 0, 0, EINVAL),
        (T::Unknown(9999), [4, 4, 1], 0, 0, EINVAL),

        (T::Array, [4, 8, 1], 0, 0, 0),
        (T::Array, [8, 8, 1], 0, 0, EINVAL),
        (T::Array, [0, 8, 1], 0, 0, EINVAL),
        (T::Array, [4, 0, 1], 0, 0, EINVAL),
        (T::Array, [4, 8, 0], 0, 0, EINVAL),
        (T::Array, [4, 1 << 31, 1], 0, 0, E2BIG),
        (T::Array, [4, 8, 1], MMAPABLE | NUMA_NODE, 0, 0),
        (T::Array, [4, 8, 1], NO_PREALLOC, 0, EINVAL),
        (T::Array, [4, 8, 1], UNKNOWN, 0, EINVAL),
        (T::Array, [4, 8, 1], RDONLY, 0, 0),
        (T::Array, [4, 8, 1], RDONLY | WRONLY, 0, EINVAL),
        (T::Array, [4, 8, 1], WRONLY_PROG, 0, 0),
        (T::Array, [4, 8, 1], RDONLY_PROG | WRONLY_PROG, 0, EINVAL),
        (T::Array, [4, 8, 1], 0, 1, EINVAL),

        (T::PercpuArray, [4, 32 << 10, 1], 0, 0, 0),
        (T::PercpuArray, [4, (32 << 10) + 1, 1], 0, 0, E2BIG),
        (T::PercpuArray, [4, 8, 1], MMAPABLE, 0, EINVAL),
        (T::PercpuArray, [4, 8, 1], NUMA_NODE, 0, EINVAL),
        (T::PercpuArray, [4, 1 << 31, 1], NUMA_NODE, 0, EINVAL),

        (T::ProgArray, [4, 4, 1], 0, 0, 0),
        (T::ProgArray, [4, 8, 1], 0, 0, EINVAL),
        (T::ProgArray, [2, 4, 1], 0, 0, EINVAL),
        (T::ProgArray, [4, 4, 0], 0, 0, EINVAL),
        (T::ProgArray, [4, 4, 1], RDONLY_PROG, 0, EINVAL),
        (T::PerfEventArray, [4, 4, 1], PRESERVE_ELEMS, 0, 0),
        (T::PerfEventArray, [4, 8, 1], 0, 0, EINVAL),
        (T::CgroupArray, [4, 4, 1], PRESERVE_ELEMS, 0, EINVAL),
        (T::ArrayOfMaps, [4, 4, 1], 0, 0, 0),
        (T::ArrayOfMaps, [4, 8, 1], 0, 0, EINVAL),
        (T::ArrayOfMaps, [4, 4, 0], 0, 0, EINVAL),
        (T::HashOfMaps, [16, 4, 1], NO_PREALLOC, 0, 0),
        (T::HashOfMaps, [16, 8, 1], 0, 0, EINVAL),

        (T::Hash, [4, 8, 1], 0, 0, 0),
        (T::Hash, [4, 8, 1], NO_PREALLOC | ZERO_SEED | NUMA_NODE, 0, 0),
        (T::Hash, [4, 8, 0], 0, 0, EINVAL),
        (T::Hash, [0, 8, 1], 0, 0, EINVAL),
        (T::Hash, [4, 0, 1], 0, 0, EINVAL),
        (T::Hash, [4, 4 << 20, 1], 0, 0, E2BIG),
        (T::Hash, [4, 8, (1 << 27) + 1], NO_PREALLOC, 0, E2BIG),
        (T::Hash, [4, 8, u32::MAX], NO_PREALLOC, 0, E2BIG),
        (T::Hash, [4, 8, 1], NO_COMMON_LRU, 0, EINVAL),
        (T::Hash, [4, 8, 1], MMAPABLE, 0, EINVAL),
        (T::Hash, [4, 8, 1], UNKNOWN, 0, EINVAL),
        (T::PercpuHash, [4, 32 << 10, 1], 0, 0, 0),
        (T::PercpuHash, [4, (32 << 10) + 1, 1], 0, 0, E2BIG),
        (T::PercpuHash, [4, 8, 1], NUMA_NODE, 0, EINVAL),
        (T::LruHash, [4, 8, 64], NO_COMMON_LRU, 0, 0),
        (T::LruHash, [4, 8, 64], NO_COMMON_LRU | NUMA_NODE, 0, EINVAL),
        (T::LruHash, [4, 8, 64], NO_PREALLOC, 0, ENOTSUPP),
        (T::LruHash, [4, 8, 0], 0, 0, EINVAL),
        (T::LruPercpuHash, [4, (32 << 10) + 1, 64], 0, 0, E2BIG),

        (T::LpmTrie, [8, 8, 1], NO_PREALLOC, 0, 0),
        (T::LpmTrie, [8, 8, 1], 0, 0, EINVAL),
        (T::LpmTrie, [8, 8, 0], NO_PREALLOC, 0, EINVAL),
        (T::LpmTrie, [4, 8, 1], NO_PREALLOC, 0, EINVAL),
        (T::LpmTrie, [5, 8, 1], NO_PREALLOC, 0, 0),
        (T::LpmTrie, [260, 8, 1], NO_PREALLOC, 0, 0),
        (T::LpmTrie, [261, 8, 1], NO_PREALLOC, 0, EINVAL),
        (T::LpmTrie, [8, 0, 1], NO_PREALLOC, 0, EINVAL),
        (T::LpmTrie, [8, 8, 1], NO_PREALLOC | ZERO_SEED, 0, EINVAL),

        (T::Queue, [0, 8, 1], 0, 0, 0),
        (T::Queue, [4, 8, 1], 0, 0, EINVAL),
        (T::Queue, [0, 0, 1], 0, 0, EINVAL),
        (T::Queue, [0, 8, 0], 0, 0, EINVAL),
        (T::Queue, [0, 8, 1], NO_PREALLOC, 0, EINVAL),
        (T::Stack, [0, (4 << 20) + 1, 1], 0, 0, E2BIG),
        (T::Stack, [4, 8, 1], 0, 0, EINVAL),

        (T::BloomFilter, [0, 8, 1], 0, 3, 0),
        (T::BloomFilter, [0, 8, 1], 0, 16, EINVAL),
        (T::BloomFilter, [4, 8, 1], 0, 0, EINVAL),
        (T::BloomFilter, [0, 0, 1], 0, 0, EINVAL),
        (T::BloomFilter, [0, 8, 0], 0, 0, EINVAL),
        (T::BloomFilter, [0, 8, 1], NO_PREALLOC, 0, EINVAL),

        (T::StackTrace, [4, 8 * 127, 1], 0, 0, 0),
        (T::StackTrace, [4, 8 * 128, 1], 0, 0, EINVAL),
        (T::StackTrace, [4, 12, 1], 0, 0, EINVAL),
        (T::StackTrace, [4, 4, 1], 0, 0, EINVAL),
        (T::StackTrace, [8, 8, 1], 0, 0, EINVAL),
        (T::StackTrace, [4, 8, 0], 0, 0, EINVAL),
        (T::StackTrace, [4, 32, 1], STACK_BUILD_ID, 0, 0),
        (T::StackTrace, [4, 40, 1], STACK_BUILD_ID, 0, EINVAL),
        (T::StackTrace, [4, 8, 1], RDONLY_PROG, 0, EINVAL),

        (T::Ringbuf, [0, 0, 4096], 0, 0, 0),
        (T::Ringbuf, [0, 0, 12288], 0, 0, EINVAL),
        (T::Ringbuf, [0, 0, 2048], 0, 0, EINVAL),
        (T::Ringbuf, [0, 0, 0], 0, 0, EINVAL),
        (T::Ringbuf, [4, 0, 4096], 0, 0, EINVAL),
        (T::Ringbuf, [0, 8, 4096], 0, 0, EINVAL),
        (T::Ringbuf, [0, 0, 4096], RDONLY, 0, EINVAL),
        (T::UserRingbuf, [0, 8, 4096], 0, 0, EINVAL),

        // Without the types of key and value; what else is wrong does not show.
        (T::SkStorage, [4, 8, 0], NO_PREALLOC, 0, EINVAL),
        (T::TaskStorage, [4, 8, 1], NO_PREALLOC, 0, EINVAL),
        (T::CgroupStorage, [8, 8, 0], 0, 0, 0),
        (T::CgroupStorage, [16, 8, 0], 0, 0, 0),
        (T::CgroupStorage, [12, 8, 0], 0, 0, EINVAL),
        (T::CgroupStorage, [8, 0, 0], 0, 0, EINVAL),
        (T::CgroupStorage, [8, 8, 1], 0, 0, EINVAL),
        (T::CgroupStorage, [8, 8, 0], NO_PREALLOC, 0, EINVAL),

        (T::Sockmap, [4, 8, 1], 0, 0, 0),
        (T::Sockmap, [8, 8, 1], 0, 0, EINVAL),
        (T::Sockmap, [4, 16, 1], 0, 0, EINVAL),
        (T::Sockmap, [4, 4, 1], RDONLY_PROG, 0, EINVAL),
        (T::Sockhash, [512, 4, 1], 0, 0, 0),
        (T::Sockhash, [513, 4, 1], 0, 0, E2BIG),
        (T::Sockhash, [0, 4, 1], 0, 0, EINVAL),
        (T::Sockhash, [4, 4, 0], 0, 0, EINVAL),
        (T::ReuseportSockarray, [4, 8, 1], RDONLY_PROG, 0, 0),
        (T::ReuseportSockarray, [4, 12, 1], 0, 0, EINVAL),

        (T::Devmap, [4, 8, 1], 0, 0, 0),
        (T::Devmap, [8, 8, 1], 0, 0, EINVAL),
        (T::Devmap, [4, 16, 1], 0, 0, EINVAL),
        (T::Devmap, [4, 4, 0], 0, 0, EINVAL),
        (T::DevmapHash, [4, 4, 1], NO_PREALLOC, 0, EINVAL),
        (T::Cpumap, [4, 8, 1], 0, 0, 0),
        (T::Cpumap, [4, 4, 1], RDONLY, 0, EINVAL),
        (T::Cpumap, [4, 4, 1 << 20], 0, 0, E2BIG),

        (T::Arena, [0, 0, 4], MMAPABLE, 0, 0),
        (T::Arena, [0, 0, 4], 0, 0, EINVAL),
        (T::Arena, [4, 0, 4], MMAPABLE, 0, EINVAL),
        (T::Arena, [0, 0, 0], MMAPABLE, 0, EINVAL),
        (T::Arena, [0, 0, 4], MMAPABLE, 1, EINVAL),
    ]
}

#[test]
fn each_type_refuses_what_it_cannot_be_created_with() {
    let kernel = Tier::from_env().unwrap() == Tier::Kernel;
    let mut wrong = Vec::new();
    for (map_type, [key_size, value_size, max_entries], map_flags, map_extra, expected) in rows() {
        let attributes = Attributes { map_type, key_size, value_size, max_entries, map_flags, map_extra };
        if kernel && !is_known(map_type) {
            continue;
        }
        let got = if kernel { on_kernel(attributes) } else { simulated(attributes) };
        if got != expected {
            wrong.push(format!("{attributes:?}: {got}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
