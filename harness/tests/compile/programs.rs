//! What kind of program a function is.

use crate::support::{builder, clang, kernel};
use bpf_harness::compile::bcc::Text;
use bpf_vm_shim::object::{AttachKind, ProgType};

#[test]
fn names_and_contexts_say_what_a_program_is() {
    if !clang() {
        return;
    }
    let text = "
        int kprobe__f(struct pt_regs *ctx) { return 0; }
        int kretprobe__f(struct pt_regs *ctx) { return 0; }
        int syscall__openat(struct pt_regs *ctx, int dfd) { return dfd; }
        int do_entry(struct pt_regs *ctx) { return 0; }
        TRACEPOINT_PROBE(test, tick) { return args->n; }
        RAW_TRACEPOINT_PROBE(sched_switch) { return ctx->args[1]; }
        KFUNC_PROBE(vfs_read, struct mount *m, int n) { return n; }
        KRETFUNC_PROBE(vfs_read, struct mount *m, int n, int ret) { return ret; }
        LSM_PROBE(bpf, int cmd) { return 0; }
        int hand_made(struct tracepoint__test__tick *args) { return 0; }
        int unknown(void *ctx) { return 0; }
        static int helper(struct pt_regs *ctx) { return 0; }
    ";
    let object = Text::new(text).compile(&kernel()).unwrap().parse().unwrap();
    let table = [
        ("kprobe__f", ProgType::Kprobe, AttachKind::Kprobe, Some("f")),
        ("kretprobe__f", ProgType::Kprobe, AttachKind::Kretprobe, Some("f")),
        ("syscall__openat", ProgType::Kprobe, AttachKind::Unknown, None),
        ("do_entry", ProgType::Kprobe, AttachKind::Unknown, None),
        ("tracepoint__test__tick", ProgType::Tracepoint, AttachKind::Tracepoint, Some("tick")),
        (
            "raw_tracepoint__sched_switch",
            ProgType::RawTracepoint,
            AttachKind::RawTracepoint,
            Some("sched_switch"),
        ),
        ("kfunc__vmlinux__vfs_read", ProgType::Tracing, AttachKind::Fentry, Some("vfs_read")),
        ("kretfunc__vmlinux__vfs_read", ProgType::Tracing, AttachKind::Fexit, Some("vfs_read")),
        ("lsm__bpf", ProgType::Lsm, AttachKind::Lsm, Some("bpf")),
        ("hand_made", ProgType::Tracepoint, AttachKind::Unknown, None),
        ("unknown", ProgType::Unspec, AttachKind::Unknown, None),
    ];
    for (name, prog_type, kind, place) in table {
        let program = object.program(name).unwrap();
        let found = (program.prog_type, program.attach.kind, program.attach.name());
        assert_eq!(found, (prog_type, kind, place), "{name}");
    }
    assert_eq!(object.programs.len(), table.len(), "helpers are no programs");
}

#[test]
fn a_program_without_a_type_gets_its_arguments_when_it_is_attached() {
    if !clang() {
        return;
    }
    let text = "
        BPF_ARRAY(out, u64, 1);
        int later(void *ctx, int n)
        {
            int zero = 0;
            u64 v = n;
            out.update(&zero, &v);
            return 0;
        }
    ";
    let mut bpf = builder(text).load().unwrap();
    bpf.attach_kprobe("f", "later").unwrap();
    bpf.kprobe("f").args([42]).fire().unwrap();
    assert_eq!(bpf.table("out").unwrap().get(0).unwrap(), &42u64);
}

#[test]
fn fields_of_a_tracepoint_are_where_its_format_says() {
    if !clang() {
        return;
    }
    let text = "
        BPF_HASH(ticks, u32);
        TRACEPOINT_PROBE(test, tick)
        {
            ticks.increment(args->n);
            bpf_trace_printk(\"%s\", args->comm);
            return 0;
        }
    ";
    let mut bpf = builder(text).load().unwrap();
    let record = [&[0; 8], &7u32.to_le_bytes()[..], b"bash\0\0\0\0\0\0\0\0\0\0\0\0"].concat();
    let input = bpf_harness::Input::ctx(record);
    bpf.run("tracepoint__test__tick", input).unwrap().ret().unwrap();
    assert_eq!(bpf.table("ticks").unwrap().get(7u32).unwrap(), &1u64);
}
