//! `attach_kretprobe(event, fn_name)`.

use bpf_harness::stimulus::Stimulus;

use crate::support::me;
use crate::{live, load, number, says};

#[test]
fn returns_are_no_entries() {
    let mut bpf = load();
    bpf.attach_kretprobe("vfs_read", "count").unwrap();
    assert!(bpf.kprobe("vfs_read").fire().is_err());
    bpf.kretprobe("vfs_read").task(4242).ret(-9).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(1));
    says(bpf.detach_kprobe("vfs_read"), "nothing is attached to kprobe/vfs_read");
    bpf.detach_kretprobe("vfs_read").unwrap();
    assert!(bpf.kretprobe("vfs_read").fire().is_err());
}

#[test]
fn a_program_may_be_at_both_ends() {
    let mut bpf = load();
    bpf.attach_kprobe("vfs_read", "count").unwrap();
    bpf.attach_kretprobe("vfs_read", "count").unwrap();
    bpf.kprobe("vfs_read").task(4242).fire().unwrap();
    bpf.kretprobe("vfs_read").task(4242).fire().unwrap();
    assert_eq!((number(&mut bpf, "counts", 4242), bpf.num_open_kprobes()), (Some(2), 2));
    bpf.detach_kretprobe_fn("vfs_read", "count").unwrap();
    assert_eq!(bpf.num_open_kprobes(), 1);
}

#[test]
fn real_returns_are_counted() {
    let mut bpf = live();
    bpf.attach_kretprobe("vfs_read", "count").unwrap();
    bpf.stimulate(&Stimulus::read_file("/proc/self/stat")).unwrap();
    assert_eq!(number(&mut bpf, "counts", me().into()), Some(1));
}

#[test]
fn only_whole_functions_return() {
    says(load().attach_kretprobe("vfs_read+8", "count"), "only a function as a whole returns");
}

#[test]
fn the_guides_example_makes_a_histogram_of_results() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kretprobe("vfs_read", "kbytes").unwrap();
    for (times, bytes) in [(5, 4096), (2, 100), (1, 70_000)] {
        for _ in 0..times {
            bpf.kretprobe("vfs_read").ret(bytes).fire().unwrap();
        }
    }
    insta::assert_snapshot!(bpf.table("dist").unwrap().log2_hist_with("kbytes").unwrap());
}
