//! Every type that the kernel can test run, with a program of two instructions.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use bpf_helpers_mock::state::Tasks;
use libbpf_sys as sys;

use super::super::watch::owned;
use super::super::{ActorError, Actors, Role};
use super::{TestRun, types};
use crate::kernel::testing;

/// A program that returns a number.
fn returns(prog_type: u32, number: i32, mut options: sys::bpf_prog_load_opts) -> std::io::Result<OwnedFd> {
    let insns = [
        sys::bpf_insn { code: 0xb7, imm: number, ..Default::default() },
        sys::bpf_insn { code: 0x95, ..Default::default() },
    ];
    let license: &CStr = c"GPL";
    // SAFETY: the instructions and the options are valid while the call lasts.
    owned(unsafe {
        sys::bpf_prog_load(prog_type, std::ptr::null(), license.as_ptr(), insns.as_ptr(), 2, &raw mut options)
    })
}

fn options() -> sys::bpf_prog_load_opts {
    sys::bpf_prog_load_opts { sz: size_of::<sys::bpf_prog_load_opts>() as u64, ..Default::default() }
}

#[test]
fn each_type_is_test_run_where_the_kernel_can() {
    if !testing::kernel() {
        return;
    }
    let mut actors = Actors::new().unwrap();
    let role = Role::of(&Tasks::default(), 1000, 0).unwrap();
    let packet = TestRun { data: vec![0; 64], ..TestRun::default() };
    let words = TestRun { ctx: vec![0; 16], ..TestRun::default() };
    // `struct bpf_sk_lookup`: the family is AF_INET, the protocol TCP.
    let mut lookup = vec![0; 64];
    lookup[8] = 2;
    lookup[12] = 6;
    let lookup = TestRun { ctx: lookup, ..TestRun::default() };
    for (prog_type, attach, number, input) in [
        (sys::BPF_PROG_TYPE_SOCKET_FILTER, 0, 5, &packet),
        (sys::BPF_PROG_TYPE_SCHED_CLS, 0, 5, &packet),
        (sys::BPF_PROG_TYPE_SCHED_ACT, 0, 5, &packet),
        (sys::BPF_PROG_TYPE_XDP, 0, 2, &packet),
        (sys::BPF_PROG_TYPE_CGROUP_SKB, sys::BPF_CGROUP_INET_INGRESS, 1, &packet),
        (sys::BPF_PROG_TYPE_LWT_XMIT, 0, 0, &packet),
        (sys::BPF_PROG_TYPE_FLOW_DISSECTOR, sys::BPF_FLOW_DISSECTOR, 0, &packet),
        (sys::BPF_PROG_TYPE_NETFILTER, sys::BPF_NETFILTER, 1, &packet),
        (sys::BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 5, &words),
        (sys::BPF_PROG_TYPE_SYSCALL, 0, 5, &words),
        (sys::BPF_PROG_TYPE_SK_LOOKUP, sys::BPF_SK_LOOKUP, 1, &lookup),
        // No kernel has a test run for these.
        (sys::BPF_PROG_TYPE_TRACEPOINT, 0, 0, &words),
        (sys::BPF_PROG_TYPE_PERF_EVENT, 0, 0, &words),
        (sys::BPF_PROG_TYPE_CGROUP_SOCK, sys::BPF_CGROUP_INET_SOCK_CREATE, 1, &words),
    ] {
        let row = types::row(prog_type);
        let sleepable = if prog_type == sys::BPF_PROG_TYPE_SYSCALL { sys::BPF_F_SLEEPABLE } else { 0 };
        let options =
            sys::bpf_prog_load_opts { expected_attach_type: attach, prog_flags: sleepable, ..options() };
        let prog = match returns(prog_type, number, options) {
            Ok(prog) => prog,
            Err(e) => {
                // A type is test run from its own version on, or later.
                let old = row.since.is_some_and(testing::older_than);
                println!("{}: cannot be loaded: {e}", row.name());
                assert!(old, "{}: {e}", row.name());
                continue;
            }
        };
        let ran = actors.test_run(&prog, input, &role);
        match (row.since, ran) {
            // Stable kernels get some of it earlier.
            (Some(_), Ok(out)) => {
                let number = if prog_type == sys::BPF_PROG_TYPE_FLOW_DISSECTOR && testing::older_than((6, 1))
                {
                    1
                } else {
                    number
                };
                assert_eq!(out.retval.map(u32::cast_signed), Some(number), "{}", row.name());
                println!("{}: {:?}", row.name(), out.duration);
            }
            (Some(since), Err(e)) if testing::older_than(since) => {
                assert!(
                    e.to_string().contains(&format!("Linux {}.{} and later can", since.0, since.1)),
                    "{e}"
                );
            }
            (None, Err(e)) => assert!(e.to_string().contains("no kernel can"), "{e}"),
            (_, ran) => panic!("{}: {ran:?}", row.name()),
        }
    }
}

#[test]
fn tracing_programs_are_test_run_on_the_kernels_functions_for_it() {
    if !testing::kernel() {
        return;
    }
    // SAFETY: looks a name up in the kernel's types.
    let id = unsafe { sys::libbpf_find_vmlinux_btf_id(c"bpf_fentry_test1".as_ptr(), sys::BPF_TRACE_FENTRY) };
    let Ok(attach_btf_id) = u32::try_from(id) else {
        println!("skipped: the kernel has no types, or no bpf_fentry_test1");
        return;
    };
    let options =
        sys::bpf_prog_load_opts { expected_attach_type: sys::BPF_TRACE_FENTRY, attach_btf_id, ..options() };
    let prog = match returns(sys::BPF_PROG_TYPE_TRACING, 0, options) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            println!("skipped: this kernel refuses programs on functions even to root");
            return;
        }
        prog => prog.unwrap(),
    };
    let mut actors = Actors::new().unwrap();
    let role = Role::of(&Tasks::default(), 1000, 0).unwrap();
    let error = actors.test_run(&prog, &TestRun::default(), &role).unwrap_err();
    assert!(matches!(error, ActorError::NotCalled), "{error}");
    // SAFETY: it is given a program, and no name, as it is for programs on functions.
    let _link =
        owned(unsafe { sys::bpf_raw_tracepoint_open(std::ptr::null(), prog.as_raw_fd()) }).expect("attached");
    let out = actors.test_run(&prog, &TestRun::default(), &role).unwrap();
    assert_eq!((out.retval, out.data), (None, Vec::new()));
}
