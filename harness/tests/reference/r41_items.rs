//! `items()`: keys and values.

use bpf_harness::value::Value;

use crate::load;

#[test]
fn keys_and_values_sorted_by_key() {
    let mut bpf = load();
    let mut counts = bpf.get_table("counts").unwrap();
    assert!(counts.items().unwrap().is_empty());
    for (key, value) in [(256u64, 1u64), (2, 5), (7, 3)] {
        counts.set(key, value).unwrap();
    }
    let items: Vec<_> = counts
        .items()
        .unwrap()
        .iter()
        .map(|e| (e.key.as_u64().unwrap(), e.value.as_u64().unwrap()))
        .collect();
    assert_eq!(items, [(2, 5), (7, 3), (256, 1)]);
}

#[test]
fn an_array_has_all_its_elements() {
    let items = load().get_table("dist").unwrap().items().unwrap();
    assert_eq!(items.len(), 65);
    assert!(items.iter().all(|e| e.value == 0u64));
}

#[test]
fn taking_all_empties_the_map() {
    let mut bpf = load();
    let mut disks = bpf.get_table("disks").unwrap();
    disks.set(Value::from([("disk", Value::from("sda")), ("slot", 1u64.into())]), 4u64).unwrap();
    let taken = disks.items_lookup_and_delete_batch().unwrap();
    assert_eq!((taken.len(), &taken[0].key["disk"]), (1, &Value::from("sda")));
    assert!(disks.is_empty().unwrap());
    // The elements of an array cannot go, and nothing is taken from it.
    assert!(bpf.get_table("dist").unwrap().items_lookup_and_delete_batch().is_err());
}

#[test]
fn the_guides_example_sorts_by_count() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kprobe("vfs_read", "count_calls").unwrap();
    bpf.add_task(bpf_helpers_mock::state::Task::new(4001, "sh"));
    for (pid, times) in [(4242, 2), (1000, 5), (4001, 1)] {
        for _ in 0..times {
            bpf.kprobe("vfs_read").task(pid).fire().unwrap();
        }
    }
    let mut items = bpf.get_table("calls").unwrap().typed::<u32, u64>().items().unwrap();
    items.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    assert_eq!(items, [(1000, 5), (4242, 2), (4001, 1)]);
}
