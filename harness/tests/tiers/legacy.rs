//! Maps that are plain structures of numbers, which libbpf itself no longer reads.

use bpf_fixtures::object;
use bpf_harness::Bpf;
use bpf_helpers_mock::state::Task;

fn load(name: &str) -> Bpf {
    let object = object(name).expect("a fixture of this name");
    let mut bpf = Bpf::builder().object(object).made_up_events().load().unwrap();
    bpf.attach_all().unwrap();
    bpf.add_task(Task::new(2005, "rm"));
    bpf
}

fn value(bpf: &mut Bpf, map: &str, key: u32) -> Option<u64> {
    bpf.map(map).unwrap().get(key).unwrap().and_then(|v| v.as_u64())
}

#[test]
fn a_section_of_plain_definitions_works_as_any_other() {
    let mut bpf = load("legacy_maps");
    for _ in 0..3 {
        bpf.kprobe("vfs_unlink").task(2005).fire().unwrap();
    }
    assert_eq!((value(&mut bpf, "counts", 2005), value(&mut bpf, "totals", 0)), (Some(3), Some(3)));
}

#[test]
fn the_layouts_of_all_loaders_are_understood_and_may_stand_next_to_modern_maps() {
    let mut bpf = load("legacy_layouts");
    bpf.kprobe("vfs_unlink").task(2005).fire().unwrap();
    let table = [("inside", 0, 1), ("unseen", 0, 2), ("spaced", 0, 3), ("modern", 0, 4), ("member", 0, 5)];
    for (map, key, expected) in table {
        assert_eq!(value(&mut bpf, map, key), Some(expected), "{map}");
    }
}

#[test]
fn maps_that_ask_for_pinning_are_the_objects_own_all_the_same() {
    let (mut first, mut second) = (load("legacy_layouts"), load("legacy_layouts"));
    for bpf in [&mut first, &mut second] {
        bpf.kprobe("vfs_unlink").task(2005).fire().unwrap();
    }
    for bpf in [&mut first, &mut second] {
        assert_eq!((value(bpf, "modern", 0), value(bpf, "spaced", 0)), (Some(4), Some(3)));
    }
}
