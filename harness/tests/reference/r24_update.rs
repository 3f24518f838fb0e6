//! Row 24: `update(&k, &v)`: put in or replaced; `insert` only where there is none. Results are of type `int`: see row 23.

use crate::support::bcc;

#[test]
fn update_replaces_and_insert_does_not() {
    let Some(mut bpf) = bcc(r#"
        struct leaf_t { u32 a; u32 b; };
        BPF_HASH(leaves, u32, struct leaf_t);
        BPF_ARRAY(rc, int, 2);
        int kprobe__vfs_read(struct pt_regs *ctx, u32 key, u32 a) {
            struct leaf_t l = {.a = a, .b = 2};
            int zero = 0, one = 1;
            int r = leaves.insert(&key, &l);
            rc.update(&zero, &r);
            l.b = 3;
            r = leaves.update(&key, &l);
            rc.update(&one, &r);
            return 0;
        }
    "#) else {
        return;
    };
    for (a, inserted) in [(1, 0), (7, -17)] {
        bpf.kprobe("vfs_read").args([5, a]).fire().unwrap();
        let rc = bpf.table("rc").unwrap();
        assert_eq!((rc.get(0).unwrap(), rc.get(1).unwrap()), (&inserted.into(), &0.into()));
        let leaves = bpf.table("leaves").unwrap();
        assert_eq!(leaves.get(5).unwrap()["a"], a);
        assert_eq!(leaves.get(5).unwrap()["b"], 3);
    }
}

#[test]
fn an_array_refuses_an_index_beyond_its_end() {
    let Some(mut bpf) = bcc(r#"
        BPF_ARRAY(slots, u64, 2);
        BPF_ARRAY(rc, int, 1);
        int kprobe__vfs_read(struct pt_regs *ctx, int index) {
            int zero = 0;
            u64 v = 1;
            int r = slots.update(&index, &v);
            rc.update(&zero, &r);
            return 0;
        }
    "#) else {
        return;
    };
    for (index, rc) in [(0u64, 0), (1, 0), (2, -7), (u64::MAX, -7)] {
        bpf.kprobe("vfs_read").args([index]).fire().unwrap();
        assert_eq!(bpf.table("rc").unwrap().get(0).unwrap(), &rc, "index {index}");
    }
}
