//! Row 18: `BPF_HISTOGRAM(name [, key [, size]])`: int and 64 where nothing is said.

use crate::support::bcc;
use bpf_vm_shim::object::MapType;

#[test]
fn an_int_key_gives_an_array_and_any_other_a_hash() {
    let Some(mut bpf) = bcc(r#"
        struct key_t { u32 dev; u64 slot; };
        BPF_HISTOGRAM(dist);
        BPF_HISTOGRAM(by_dev, struct key_t, 16);
        BPF_HISTOGRAM(wide, int, 100);
        int kprobe__vfs_read(struct pt_regs *ctx, u64 bytes) {
            dist.increment(bpf_log2l(bytes));
            struct key_t key = {.dev = 3, .slot = bpf_log2l(bytes)};
            by_dev.increment(key);
            return 0;
        }
    "#) else {
        return;
    };
    for (name, kind, entries) in
        [("dist", MapType::Array, 64), ("by_dev", MapType::Hash, 16), ("wide", MapType::Array, 100)]
    {
        let machine = bpf.machine();
        let map = machine.map_by_name(name).and_then(|id| machine.kernel.maps.get(id)).unwrap();
        assert_eq!((map.def.map_type, map.def.max_entries), (kind, entries), "{name}");
    }
    for bytes in [1, 5, 5, 4096] {
        bpf.kprobe("vfs_read").args([bytes]).fire().unwrap();
    }
    insta::assert_snapshot!(bpf.table("dist").unwrap().log2_hist("bytes", ""));
    insta::assert_snapshot!(bpf.table("by_dev").unwrap().log2_hist("bytes", "dev"));
}
