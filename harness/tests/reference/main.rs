//! One file for each row of the reference guide, named after its number and what it is about.

mod bcc;
#[path = "../support/dynamic.rs"]
mod dynamic;
mod r01_kprobe;
mod r02_kretprobe;
mod r03_tracepoint_probe;
mod r04_uprobe;
mod r05_uretprobe;
mod r06_usdt;
mod r07_probe_read;
mod r08_ktime_get_ns;
mod r09_get_current_pid_tgid;
mod r10_get_current_uid_gid;
mod r11_get_current_comm;
mod r12_log2;
mod r13_trace_printk;
mod r14_perf_output;
mod r15_perf_submit;
mod r16_table;
mod r17_hash;
mod r18_histogram;
mod r19_stack_trace;
mod r20_perf_array;
mod r21_lookup;
mod r22_lookup_or_init;
mod r23_delete;
mod r24_update;
mod r25_increment;
mod r26_get_stackid;
mod r27_perf_read;
mod r28_bpf;
mod r29_usdt;
mod r30_attach_kprobe;
mod r31_attach_kretprobe;
mod r32_attach_tracepoint;
mod r33_attach_uprobe;
mod r34_attach_uretprobe;
mod r35_enable_probe;
mod r36_trace_print;
mod r37_trace_fields;
mod r38_perf_buffer_poll;
mod r39_get_table;
mod r40_open_perf_buffer;
mod r41_items;
mod r42_values;
mod r43_clear;
mod r44_print_log2_hist;
mod r45_print_linear_hist;
mod r46_ksym;
mod r47_ksymname;
mod r48_sym;
mod r49_num_open_kprobes;
mod r50_invalid_access;
mod r51_automatic_probe_read;
mod server;
mod support;
mod table;

use bpf_harness::{Bpf, BpfBuilder};
use bpf_helpers_mock::state::Task;

/// The object with one program for each thing that a host does, for a machine of two CPUs.
fn builder() -> BpfBuilder {
    live_builder().made_up_events()
}

/// The same object, on a kernel for what really happens.
fn live_builder() -> BpfBuilder {
    let object = bpf_fixtures::object("hostapi").expect("a fixture of this name");
    let builder = Bpf::builder().object(object).cpus(2);
    if !support::lacks("the program 'by_ip' (bpf_get_func_ip)", 5, 15) {
        return builder;
    }
    let object = bpf_vm_shim::object::Object::parse(object).expect("a valid object");
    let names = object.programs.iter().map(|p| p.name.clone()).filter(|n| n != "by_ip");
    names.fold(builder, BpfBuilder::only)
}

fn load() -> Bpf {
    let mut bpf = builder().load().expect("a valid object");
    bpf.add_task(Task::new(4242, "cat"));
    bpf
}

fn live() -> Bpf {
    live_builder().load().expect("a valid object")
}

/// The value of a key of a map, as a number; `None` if it is not there.
fn number(bpf: &mut Bpf, map: &str, key: u64) -> Option<u64> {
    bpf.get_table(map).unwrap().get(key).unwrap().map(|v| v.sum().unwrap())
}

/// What an error says.
#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T, bpf_harness::Error>, part: &str) {
    let text = result.unwrap_err().to_string();
    assert!(text.contains(part), "'{text}' does not say '{part}'");
}
