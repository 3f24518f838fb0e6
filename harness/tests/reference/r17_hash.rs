//! Row 17: `BPF_HASH(name [, key [, leaf [, size]]])`: u64, u64, 10240 where nothing is said.

use crate::support::bcc;

#[test]
fn defaults_are_the_guides() {
    let Some(mut bpf) = bcc(r#"
        struct key_t { u32 a; char c[4]; };
        BPF_HASH(plain);
        BPF_HASH(keyed, u32);
        BPF_HASH(leafed, struct key_t, u32);
        BPF_HASH(sized, u32, u32, 2);
        BPF_HASH(by_pointer, struct request *);
        int kprobe__vfs_read(struct pt_regs *ctx, struct request *req) {
            u64 now = 5;
            by_pointer.update(&req, &now);
            return 0;
        }
    "#) else {
        return;
    };
    for (name, key, value, entries) in [
        ("plain", 8, 8, 10240),
        ("keyed", 4, 8, 10240),
        ("leafed", 8, 4, 10240),
        ("sized", 4, 4, 2),
        ("by_pointer", 8, 8, 10240),
    ] {
        let machine = bpf.machine();
        let map = machine.map_by_name(name).and_then(|id| machine.kernel.maps.get(id)).unwrap();
        assert_eq!(
            (map.def.key_size, map.def.value_size, map.def.max_entries),
            (key, value, entries),
            "{name}"
        );
    }
    bpf.kprobe("vfs_read").args([0xffff_8880_0000_1000]).fire().unwrap();
    assert_eq!(bpf.table("by_pointer").unwrap().get(0xffff_8880_0000_1000u64).unwrap(), &5u64);
}

#[test]
fn a_full_map_takes_no_more() {
    let Some(mut bpf) = bcc(r#"
        BPF_HASH(small, u32, u64, 2);
        BPF_ARRAY(rc, int, 1);
        int kprobe__vfs_read(struct pt_regs *ctx, u32 key) {
            int zero = 0;
            u64 one = 1;
            int r = small.update(&key, &one);
            rc.update(&zero, &r);
            return 0;
        }
    "#) else {
        return;
    };
    for (key, rc) in [(1, 0), (2, 0), (3, -7), (1, 0)] {
        bpf.kprobe("vfs_read").args([key]).fire().unwrap();
        assert_eq!(bpf.table("rc").unwrap().get(0).unwrap(), &rc, "key {key}");
    }
    assert_eq!(bpf.table("small").unwrap().len(), 2);
}
