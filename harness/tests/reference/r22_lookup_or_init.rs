//! Row 22: `lookup_or_init(&k, &zero)`, today spelled `lookup_or_try_init`.

use crate::support::bcc;

#[test]
fn a_missing_key_is_put_in_and_a_present_one_kept() {
    for method in ["lookup_or_init", "lookup_or_try_init"] {
        let text = r#"
            BPF_HASH(counts, u32);
            int kprobe__vfs_read(struct pt_regs *ctx, u32 key) {
                u64 init = 100, *v = counts.METHOD(&key, &init);
                if (v)
                    (*v)++;
                return 0;
            }
        "#;
        let Some(mut bpf) = bcc(&text.replace("METHOD", method)) else { return };
        for key in [1, 1, 2] {
            bpf.kprobe("vfs_read").args([key]).fire().unwrap();
        }
        let counts = bpf.table("counts").unwrap();
        assert_eq!(counts.get(1).unwrap(), &102u64, "{method}");
        assert_eq!(counts.get(2).unwrap(), &101u64, "{method}");
    }
}

/// `lookup_or_init` leaves the program where the map is full; the other spelling gives NULL.
#[test]
fn a_full_map_ends_one_and_gives_null_to_the_other() {
    let text = r#"
        BPF_HASH(small, u32, u64, 1);
        BPF_ARRAY(after, u64, 1);
        int kprobe__vfs_read(struct pt_regs *ctx, u32 key) {
            u64 init = 1, *v = small.METHOD(&key, &init);
            after.increment(0);
            return 0;
        }
    "#;
    for (method, went_on) in [("lookup_or_init", 1u64), ("lookup_or_try_init", 2)] {
        let Some(mut bpf) = bcc(&text.replace("METHOD", method)) else { return };
        bpf.kprobe("vfs_read").args([1]).fire().unwrap();
        bpf.kprobe("vfs_read").args([2]).fire().unwrap();
        assert_eq!(bpf.table("after").unwrap().get(0).unwrap(), &went_on, "{method}");
    }
}
