//! Row 25: `increment(k [, n])`: an atomic addition that creates the key on a hash.

use crate::support::bcc;

#[test]
fn keys_come_into_being_and_add_up() {
    let Some(mut bpf) = bcc(r#"
        struct key_t { u32 a; u32 b; };
        BPF_HASH(counts, u32);
        BPF_HASH(structs, struct key_t);
        BPF_ARRAY(slots, u64, 4);
        int kprobe__vfs_read(struct pt_regs *ctx, u32 key) {
            struct key_t k = {.a = key, .b = 1};
            counts.increment(key);
            counts.increment(key, 10);
            counts.atomic_increment(key, 100);
            structs.increment(k);
            slots.increment(key);
            return 0;
        }
    "#) else {
        return;
    };
    for key in [0, 1, 1, 9] {
        bpf.kprobe("vfs_read").args([key]).fire().unwrap();
    }
    let counts = bpf.table("counts").unwrap();
    assert_eq!((counts.get(0).unwrap(), counts.get(1).unwrap()), (&111u64.into(), &222u64.into()));
    assert_eq!(bpf.table("structs").unwrap().len(), 3);
    let slots = bpf.table("slots").unwrap();
    assert_eq!((slots.get(0).unwrap(), slots.get(1).unwrap()), (&1u64.into(), &2u64.into()));
    assert_eq!(slots.nonzero().len(), 2, "9 is beyond the array");
}

/// bcc inserts a missing key only for a plain hash.
#[test]
fn per_cpu_and_lru_hashes_do_not_create_keys() {
    let Some(mut bpf) = bcc(r#"
        BPF_TABLE("lru_hash", u32, u64, lru, 8);
        BPF_TABLE("percpu_hash", u32, u64, percpu, 8);
        int kprobe__vfs_read(struct pt_regs *ctx, u32 key) {
            lru.increment(key);
            percpu.increment(key);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.kprobe("vfs_read").args([1]).fire().unwrap();
    assert!(bpf.table("lru").unwrap().is_empty());
    assert!(bpf.table("percpu").unwrap().is_empty());
}
