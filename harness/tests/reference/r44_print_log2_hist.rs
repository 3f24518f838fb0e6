//! `print_log2_hist(val_type, section_header, section_print_fn)`.

use bpf_harness::hist::Hist;
use bpf_harness::value::Value;

use crate::{load, says};

#[test]
fn the_layout_is_bccs() {
    let mut bpf = load();
    let mut dist = bpf.get_table("dist").unwrap();
    for (slot, count) in [(1, 3u64), (3, 211), (7, 1), (8, 800)] {
        dist.set(slot, count).unwrap();
    }
    insta::assert_snapshot!(bpf.table("dist").unwrap().log2_hist_with("usecs").unwrap());
}

#[test]
fn beyond_32_bits_it_is_wide() {
    let mut bpf = load();
    let mut dist = bpf.get_table("dist").unwrap();
    for (slot, count) in [(0, 9u64), (2, 1), (33, 7)] {
        dist.set(slot, count).unwrap();
    }
    let text =
        bpf.table("dist").unwrap().log2_hist_with(Hist::new("nsecs").strip_leading_zero(true)).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "               nsecs                         : count     distribution");
    assert_eq!(lines[1], "                   2 -> 3                    : 1        |**                  |");
    assert_eq!(lines[32], "          4294967296 -> 8589934591           : 7        |***************     |");
}

#[test]
fn structures_give_sections() {
    let mut bpf = load();
    let mut disks = bpf.get_table("disks").unwrap();
    for (disk, slot, count) in [("sdb", 2u64, 1u64), ("sda", 1, 4), ("sda", 3, 2)] {
        disks.set(Value::from([("disk", Value::from(disk)), ("slot", slot.into())]), count).unwrap();
    }
    let hist =
        Hist::from(("msecs", "disk")).section_print_fn(|d| format!("/dev/{}", d.as_str().unwrap_or("?")));
    insta::assert_snapshot!(bpf.table("disks").unwrap().log2_hist_with(hist).unwrap());
}

#[test]
fn nothing_counted_prints_nothing() {
    let mut bpf = load();
    for (map, expected) in [("dist", ""), ("disks", ""), ("ints", "")] {
        assert_eq!(bpf.table(map).unwrap().log2_hist_with("x").unwrap(), expected);
    }
    // Slot 0 alone has no row.
    bpf.get_table("dist").unwrap().set(0, 5u64).unwrap();
    assert_eq!(bpf.table("dist").unwrap().log2_hist_with("x").unwrap(), "");
    bpf.get_table("dist").unwrap().print_log2_hist("x").unwrap();
}

#[test]
fn keys_that_are_no_slots_are_an_error() {
    let mut bpf = load();
    bpf.get_table("ints").unwrap().set(66, 1u64).unwrap();
    says(bpf.get_table("ints").unwrap().print_log2_hist("x"), "66 is no slot of a histogram");
}

#[test]
fn the_guides_example_has_a_histogram_for_each_disk() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kprobe("vfs_fsync", "io_done").unwrap();
    bpf.run_task(4242).unwrap();
    for (disk, sizes) in [("sda", &[1, 8, 8, 9][..]), ("nvme0n1", &[300])] {
        let name = bpf.user_memory(&[disk.as_bytes(), &[0; 8]].concat()).unwrap();
        for size in sizes {
            bpf.kprobe("vfs_fsync").args([name, *size]).fire().unwrap();
        }
    }
    insta::assert_snapshot!(bpf.table("disks").unwrap().log2_hist_with(("kbytes", "disk")).unwrap());
}
