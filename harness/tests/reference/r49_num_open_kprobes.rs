//! `num_open_kprobes()`: events of kernel functions, each once.

use bpf_harness::{Bpf, PerfEventSpec, perf};

use bpf_vm_shim::object::KernelProfile;

use crate::r33_attach_uprobe::with_libc;
use crate::support::{on_kernel, simulator_only};
use crate::{live, load, says};

#[test]
fn distinct_events_are_counted() {
    let mut bpf = with_libc();
    assert_eq!(bpf.num_open_kprobes(), 0);
    bpf.attach_kprobe("vfs_read", "count").unwrap();
    bpf.attach_kprobe("vfs_read", "count_more").unwrap();
    assert_eq!(bpf.num_open_kprobes(), 1, "two programs, one event");
    bpf.attach_kretprobe("vfs_read", "count").unwrap();
    bpf.attach_kprobe("vfs_write", "count").unwrap();
    assert_eq!(bpf.num_open_kprobes(), 3);
    // None of these is a kprobe.
    bpf.open_perf_buffer("events", |_, _| ()).unwrap();
    bpf.attach_uprobe("c", "strlen", "count").unwrap();
    bpf.attach_tracepoint("sched:sched_switch", "traced").unwrap();
    assert_eq!((bpf.num_open_kprobes(), bpf.num_open_uprobes(), bpf.num_open_tracepoints()), (3, 1, 1));
    bpf.detach_kprobe("vfs_read").unwrap();
    assert_eq!(bpf.num_open_kprobes(), 2);
    assert!(bpf.attach_kprobe("vfs_read", "nobody").is_err());
    assert_eq!(bpf.num_open_kprobes(), 2, "what failed is not open");
}

#[test]
fn programs_that_are_attached_by_their_sections_count_too() {
    let mut bpf = Bpf::load(bpf_fixtures::object("vfsreadlat").unwrap()).unwrap();
    bpf.attach_all().unwrap();
    assert_eq!(bpf.num_open_kprobes(), 2);
    bpf.detach_kprobe("vfs_read").unwrap();
    assert_eq!(bpf.num_open_kprobes(), 1);
}

#[test]
fn samples_of_a_clock_are_counted() {
    let mut bpf = live();
    let clock = PerfEventSpec::new(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK);
    bpf.attach_perf_event(&clock.sample_freq(1000), "sampled").unwrap();
    assert_eq!(bpf.num_open_kprobes(), 0);
    if on_kernel() {
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 50 {
            std::hint::spin_loop();
        }
    } else {
        bpf.perf_event().sampling(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK).fire().unwrap();
    }
    assert!(bpf.get_table("percpu").unwrap().sum(1u32).unwrap() >= Some(1));
}

#[test]
fn sampling_is_no_kprobe() {
    if simulator_only("a kernel's samples are its own") {
        return;
    }
    let mut bpf = load();
    let clock = PerfEventSpec::new(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK);
    says(bpf.attach_perf_event(&clock, "sampled"), "sample_period()");
    says(bpf.attach_perf_event(&clock.clone().sample_freq(99), "traced"), "it is of type tracepoint");
    says(bpf.attach_perf_event(&clock.clone().sample_freq(99).cpu(2), "sampled"), "only 2 CPUs");
    let none = PerfEventSpec::new(perf::TYPE_SOFTWARE, 99).sample_period(1);
    says(bpf.attach_perf_event(&none, "sampled"), "no such software event");
    bpf.attach_perf_event(&clock.sample_freq(99).cpu(1), "sampled").unwrap();
    assert_eq!(bpf.num_open_kprobes(), 0);
    assert!(bpf.perf_event().cpu(0).fire().unwrap().reports.is_empty());
    assert!(bpf.perf_event().cpu(1).sampling(perf::TYPE_HARDWARE, 0).fire().unwrap().reports.is_empty());
    bpf.perf_event().cpu(1).sampling(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK).fire().unwrap();
    assert_eq!(bpf.get_table("percpu").unwrap().sum(1u32).unwrap(), Some(1));
    bpf.detach_perf_event(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK).unwrap();
    assert!(bpf.perf_event().fire().is_err());
}

#[test]
fn the_guides_example_sees_whether_a_pattern_has_matched() {
    let text = "
        int kprobe__vfs_read(struct pt_regs *ctx) { return 0; }
        int kretprobe__vfs_read(struct pt_regs *ctx) { return 0; }
        int count(struct pt_regs *ctx) { return 0; }
    ";
    let Some(builder) = crate::bcc::text(text) else { return };
    let symbols = ["vfs_read", "vfs_write", "vfs_open"].map(str::to_owned).into_iter().collect();
    let kernel = KernelProfile { symbols, ..KernelProfile::default() };
    let mut bpf = builder.kernel(kernel).load().unwrap();
    assert_eq!(bpf.num_open_kprobes(), 2);
    assert_eq!(bpf.attach_kprobe_re("vfs_nothing.*", "count").unwrap(), 0);
    assert_eq!(bpf.num_open_kprobes(), 2);
    assert_eq!(bpf.attach_kprobe_re("vfs_(read|write|open)", "count").unwrap(), 3);
    assert_eq!(bpf.num_open_kprobes(), 4);
}
