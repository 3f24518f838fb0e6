//! Row 3: `TRACEPOINT_PROBE(category, event)`, `args->field` by the tracepoint's own format.

use crate::support::{bcc, live, refused, simulator_only};
use bpf_harness::Bpf;
use bpf_harness::stimulus::Stimulus;

const MADE_UP: &str = "a kernel's tracepoints have records of their own";

#[test]
fn fields_arrive_by_name() {
    if simulator_only(MADE_UP) {
        return;
    }
    let Some(mut bpf) = bcc(r#"
        struct seen_t { u32 pid; u64 reads; char comm[TASK_COMM_LEN]; };
        BPF_HASH(seen, u32, struct seen_t);
        TRACEPOINT_PROBE(sched, sched_process_fork) {
            struct seen_t s = {};
            u32 child = args->child_pid;
            s.pid = args->parent_pid;
            seen.update(&child, &s);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.tracepoint("sched", "sched_process_fork").set("parent_pid", 10).set("child_pid", 11).fire().unwrap();
    assert_eq!(bpf.table("seen").unwrap().get(11).unwrap()["pid"], 10);
}

/// `random:urandom_read` is in the guide and no longer in kernels: the database has its format.
#[test]
fn the_guides_own_example_runs() {
    if simulator_only("kernels have no random:urandom_read since 5.18") {
        return;
    }
    let Some(mut bpf) = bcc(r#"
        BPF_HASH(bits, u32, u64);
        TRACEPOINT_PROBE(random, urandom_read) {
            u32 key = 1;
            u64 got = args->got_bits;
            bits.update(&key, &got);
            return 0;
        }
    "#) else {
        return;
    };
    bpf.tracepoint("random", "urandom_read").set("got_bits", 128).fire().unwrap();
    assert_eq!(bpf.table("bits").unwrap().get(1).unwrap(), &128u64);
}

#[test]
fn a_system_calls_arguments_have_their_names() {
    let Some(mut bpf) = live(
        r#"
        struct opened_t { int dfd; int flags; char path[32]; };
        BPF_ARRAY(opened, struct opened_t, 1);
        TRACEPOINT_PROBE(syscalls, sys_enter_openat) {
            struct opened_t o = {};
            int zero = 0;
            if (bpf_get_current_pid_tgid() >> 32 != ME)
                return 0;
            o.dfd = args->dfd;
            o.flags = args->flags;
            bpf_probe_read_user_str(&o.path, sizeof(o.path), args->filename);
            opened.update(&zero, &o);
            return 0;
        }
    "#,
    ) else {
        return;
    };
    let (path, at_fdcwd, o_rdonly_cloexec) = ("/no/such/file", -100i64, 0o2_000_000);
    assert_eq!(bpf.stimulate(&Stimulus::open_missing(path)).unwrap().ret, -2, "ENOENT");
    let opened = bpf.table("opened").unwrap();
    let opened = opened.get(0).unwrap();
    assert_eq!((&opened["dfd"], &opened["path"]), (&at_fdcwd.into(), &path.into()));
    assert_eq!(opened["flags"].as_u64().unwrap() & o_rdonly_cloexec, o_rdonly_cloexec);
}

#[test]
fn an_unknown_tracepoint_is_an_error_that_names_it() {
    let text = "TRACEPOINT_PROBE(sched, sched_no_such_event) { return 0; }";
    let Some(error) = refused(Bpf::builder().text(text)) else { return };
    assert!(error.to_string().contains("sched_no_such_event"), "{error}");
}

#[test]
fn an_unknown_field_is_the_compilers_error_with_the_users_line() {
    let text = "\nTRACEPOINT_PROBE(sched, sched_process_fork) {\n    return args->no_such_field;\n}\n";
    let Some(error) = refused(Bpf::builder().text(text)) else { return };
    let error = error.to_string();
    assert!(error.contains("no_such_field") && error.contains(":3:"), "{error}");
}
