//! Row 13: `bpf_trace_printk`: the kernel's format rules and limits, with and without the size.

use crate::support::bcc;
use bpf_helpers_mock::state::Task;

#[test]
fn both_forms_print_the_same_line() {
    let Some(mut bpf) = bcc(r#"
        int kprobe__vfs_read(struct pt_regs *ctx, int a, long b) {
            char fmt[] = "a=%d b=%lx\n";
            bpf_trace_printk("a=%d b=%lx\n", a, b);
            bpf_trace_printk(fmt, sizeof(fmt), a, b);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.add_task(Task::new(4242, "cat"));
    bpf.kprobe("vfs_read").task(4242).args([-5i64 as u64, 0xff]).fire().unwrap();
    let lines = bpf.trace();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        // Kernels since 5.9 end each line themselves, so a newline in the format makes an empty one.
        assert!(line.ends_with("bpf_trace_printk: a=-5 b=ff\n"), "{line}");
        assert!(line.trim_start().starts_with("cat-4242 "), "{line}");
    }
}

#[test]
fn text_behind_a_pointer_is_printed() {
    let Some(mut bpf) = bcc(r#"
        int kprobe__vfs_read(struct pt_regs *ctx, const char *name) {
            char comm[16];
            bpf_get_current_comm(&comm, sizeof(comm));
            bpf_trace_printk("hello, %s", comm);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.add_task(Task::new(4242, "cat"));
    bpf.kprobe("vfs_read").task(4242).args([0]).fire().unwrap();
    assert!(bpf.trace()[0].ends_with("hello, cat"), "{:?}", bpf.trace());
}

/// A format that the kernel refuses prints nothing and says so (`bpf_bprintf_prepare`).
#[test]
fn a_bad_format_is_refused() {
    let Some(mut bpf) = bcc(r#"
        BPF_ARRAY(rc, s64, 2);
        int kprobe__vfs_read(void *ctx) {
            int zero = 0, one = 1;
            s64 bad = bpf_trace_printk("%q\n", 1);
            s64 good = bpf_trace_printk("%d\n", 1);
            rc.update(&zero, &bad);
            rc.update(&one, &good);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.kprobe("vfs_read").fire().unwrap();
    let rc = bpf.table("rc").unwrap();
    assert_eq!(rc.get(0).unwrap(), &(-22));
    assert!(rc.get(1).unwrap().as_i64().unwrap() > 0, "the length of what was printed");
    assert_eq!(bpf.trace().len(), 1);
}
