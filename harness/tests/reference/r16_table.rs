//! Row 16: `BPF_TABLE(type, key, leaf, name, max_entries)`: every type string that bcc takes.

use crate::support::bcc;
use bpf_vm_shim::object::MapType;

#[test]
fn every_type_string_gives_its_map_type() {
    let Some(mut bpf) = bcc(r#"
        BPF_TABLE("hash", u32, u64, t_hash, 8);
        BPF_TABLE("array", int, u64, t_array, 8);
        BPF_TABLE("percpu_hash", u32, u64, t_percpu_hash, 8);
        BPF_TABLE("percpu_array", int, u64, t_percpu_array, 8);
        BPF_TABLE("lru_hash", u32, u64, t_lru_hash, 8);
        BPF_TABLE("lru_percpu_hash", u32, u64, t_lru_percpu_hash, 8);
        struct lpm_t { u32 prefixlen; u32 addr; };
        BPF_F_TABLE("lpm_trie", struct lpm_t, u64, t_lpm_trie, 8, BPF_F_NO_PREALLOC);
        BPF_TABLE("histogram", int, u64, t_histogram, 8);
        BPF_TABLE("prog", int, u32, t_prog, 8);
        BPF_TABLE("perf_array", int, u32, t_perf_array, 8);
        BPF_TABLE("perf_output", int, u32, t_perf_output, 8);
        BPF_TABLE("cgroup_array", int, u32, t_cgroup_array, 8);
        BPF_TABLE("stacktrace", int, struct bpf_stacktrace, t_stacktrace, 8);
        int kprobe__vfs_read(void *ctx) {
            u32 key = 3;
            u64 one = 1;
            t_hash.update(&key, &one);
            t_lru_hash.update(&key, &one);
            return 0;
        }
    "#) else {
        return;
    };
    let cases = [
        ("t_hash", MapType::Hash),
        ("t_array", MapType::Array),
        ("t_percpu_hash", MapType::PercpuHash),
        ("t_percpu_array", MapType::PercpuArray),
        ("t_lru_hash", MapType::LruHash),
        ("t_lru_percpu_hash", MapType::LruPercpuHash),
        ("t_lpm_trie", MapType::LpmTrie),
        ("t_histogram", MapType::Array),
        ("t_prog", MapType::ProgArray),
        ("t_perf_array", MapType::PerfEventArray),
        ("t_perf_output", MapType::PerfEventArray),
        ("t_cgroup_array", MapType::CgroupArray),
        ("t_stacktrace", MapType::StackTrace),
    ];
    for (name, expected) in cases {
        let machine = bpf.machine();
        let map = machine.map_by_name(name).and_then(|id| machine.kernel.maps.get(id));
        assert_eq!(map.map(|m| m.def.map_type), Some(expected), "{name}");
    }
    bpf.kprobe("vfs_read").fire().unwrap();
    assert_eq!(bpf.table("t_hash").unwrap().get(3).unwrap(), &1u64);
    assert_eq!(bpf.table("t_lru_hash").unwrap().get(3).unwrap(), &1u64);
}
