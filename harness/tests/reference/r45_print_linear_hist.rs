//! `print_linear_hist(val_type, section_header, section_print_fn)`.

use bpf_harness::value::Value;

use crate::{load, says};

#[test]
fn the_layout_is_bccs() {
    let mut bpf = load();
    let mut dist = bpf.get_table("dist").unwrap();
    for (slot, count) in [(0, 3u64), (4, 19), (8, 4), (16, 2)] {
        dist.set(slot, count).unwrap();
    }
    insta::assert_snapshot!(bpf.table("dist").unwrap().linear_hist_with("kbytes").unwrap());
}

#[test]
fn slot_0_alone_has_a_row() {
    let mut bpf = load();
    bpf.get_table("dist").unwrap().set(0, 5u64).unwrap();
    let text = bpf.table("dist").unwrap().linear_hist_with("x").unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(text.ends_with(&format!("        0          : 5        |{}|\n", "*".repeat(40))));
}

#[test]
fn sections_and_nothing() {
    let mut bpf = load();
    assert_eq!(bpf.table("disks").unwrap().linear_hist_with("x").unwrap(), "");
    let key = Value::from([("disk", Value::from("sda")), ("slot", Value::from(1u64))]);
    bpf.get_table("disks").unwrap().set(key, 1u64).unwrap();
    let text = bpf.table("disks").unwrap().linear_hist_with(("x", "disk")).unwrap();
    assert!(text.starts_with("\ndisk = sda\n     x             : count     distribution\n"), "{text}");
    bpf.get_table("disks").unwrap().print_linear_hist(("x", "disk")).unwrap();
}

#[test]
fn keys_that_are_no_slots_are_an_error() {
    let mut bpf = load();
    bpf.get_table("ints").unwrap().set(1025, 1u64).unwrap();
    says(bpf.get_table("ints").unwrap().print_linear_hist("x"), "1025 is no slot of a histogram");
}

#[test]
fn the_guides_example_counts_in_equal_steps() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kprobe("vfs_read", "linear").unwrap();
    for n in [3, 5, 21, 29, 25, 44] {
        bpf.kprobe("vfs_read").arg(n).fire().unwrap();
    }
    insta::assert_snapshot!(bpf.table("dist").unwrap().linear_hist_with("tens").unwrap());
}
