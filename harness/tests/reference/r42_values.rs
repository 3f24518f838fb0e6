//! `values()`.

use bpf_harness::value::Value;

use crate::load;

#[test]
fn values_in_order_of_their_keys() {
    let mut bpf = load();
    let mut counts = bpf.get_table("counts").unwrap();
    for (key, value) in [(9u64, 1u64), (3, 2)] {
        counts.set(key, value).unwrap();
    }
    assert_eq!(counts.values().unwrap(), [Value::Uint(2), Value::Uint(1)]);
    assert_eq!(counts.keys().unwrap(), [Value::Uint(3), Value::Uint(9)]);
}

#[test]
fn values_of_all_cpus() {
    let mut bpf = load();
    let both = Value::PerCpu(vec![1u64.into(), 2u64.into()]);
    let mut percpu = bpf.get_table("percpu").unwrap();
    percpu.set(1u32, both.clone()).unwrap();
    assert_eq!(percpu.values().unwrap(), [both]);
    assert!(bpf.get_table("counts").unwrap().values().unwrap().is_empty());
}

#[test]
fn the_guides_example_adds_up() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kprobe("vfs_read", "count_calls").unwrap();
    for pid in [4242, 1000, 4242] {
        bpf.kprobe("vfs_read").task(pid).fire().unwrap();
    }
    let values = bpf.get_table("calls").unwrap().values().unwrap();
    assert_eq!(values.iter().filter_map(Value::as_u64).sum::<u64>(), 3);
}
