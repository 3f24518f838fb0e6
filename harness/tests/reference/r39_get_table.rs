//! `b["name"]`, `get_table(name)`.

use bpf_harness::value::Value;
use bpf_vm_shim::object::ProgType;
use serde::{Deserialize, Serialize};

use crate::support::{on_kernel, simulator_only};
use crate::{load, number, says};

#[test]
fn a_table_is_the_map_itself() {
    let mut bpf = load();
    bpf.get_table("counts").unwrap().set(4242u64, 6u64).unwrap();
    bpf.attach_kprobe("vfs_read", "count").unwrap();
    bpf.kprobe("vfs_read").task(4242).fire().unwrap();
    assert_eq!(number(&mut bpf, "counts", 4242), Some(7));
}

#[test]
fn missing_maps_and_keys() {
    let mut bpf = load();
    says(bpf.get_table("cuonts").map(|_| ()), "no map 'cuonts'");
    let mut counts = bpf.get_table("counts").unwrap();
    assert_eq!(counts.get(1u64).unwrap(), None);
    says(counts.delete(1u64), "ENOENT");
    says(counts.set("x", 1u64), "does not fit");
    says(counts.get(1.5), "does not fit");
}

#[test]
fn a_full_map_is_full() {
    let mut bpf = load();
    let mut counts = bpf.get_table("counts").unwrap();
    for key in 0..4u64 {
        counts.set(key, key).unwrap();
    }
    says(counts.set(4u64, 0u64), "E2BIG");
    counts.set(0u64, 9u64).unwrap();
    assert_eq!((counts.len().unwrap(), counts.get(0u64).unwrap()), (4, Some(Value::Uint(9))));
}

#[test]
fn index_0_and_the_last_one() {
    let mut bpf = load();
    let mut dist = bpf.get_table("dist").unwrap();
    assert_eq!(dist.len().unwrap(), 65);
    dist.set(0, 1u64).unwrap();
    dist.set(64, 2u64).unwrap();
    assert_eq!((dist.get(0).unwrap(), dist.get(64).unwrap()), (Some(Value::Uint(1)), Some(Value::Uint(2))));
    assert_eq!(dist.get(65).unwrap(), None);
    says(dist.set(65, 1u64), "E2BIG");
    says(dist.delete(0), "EINVAL");
}

#[test]
fn negative_keys() {
    let mut bpf = load();
    let mut ints = bpf.get_table("ints").unwrap();
    for key in [5, -3, 0] {
        ints.set(key, 1u64).unwrap();
    }
    assert_eq!(ints.keys().unwrap(), [Value::from(-3), Value::from(0), Value::from(5)]);
    assert_eq!(ints.get(-3).unwrap(), Some(Value::Uint(1)));
    let typed = bpf.get_table("ints").unwrap().typed::<i32, u64>().items().unwrap();
    assert_eq!(typed, [(-3, 1), (0, 1), (5, 1)]);
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Disk {
    disk: String,
    slot: u64,
}

#[test]
fn tables_of_rust_types() {
    let mut bpf = load();
    let key = || Disk { disk: "sda".to_owned(), slot: 3 };
    let mut disks = bpf.get_table("disks").unwrap().typed::<Disk, u64>();
    assert_eq!(disks.get(&key()).unwrap(), None);
    disks.update(&key(), &17).unwrap();
    assert_eq!((disks.get(&key()).unwrap(), disks.items().unwrap()), (Some(17), vec![(key(), 17)]));
    disks.delete(&key()).unwrap();
    assert!(disks.delete(&key()).is_err() && disks.items().unwrap().is_empty());
    says(bpf.get_table("disks").unwrap().typed::<u32, u64>().get(&1), "expected a structure");
    says(
        bpf.get_table("disks")
            .unwrap()
            .typed::<Disk, u64>()
            .update(&Disk { disk: "a name that is too long".to_owned(), slot: 0 }, &1),
        "room for 8 bytes",
    );
}

#[test]
fn values_of_all_cpus_are_added_up() {
    let mut bpf = load();
    let values = Value::PerCpu(vec![3u64.into(), 5u64.into()]);
    let mut percpu = bpf.get_table("percpu").unwrap();
    percpu.set(1u32, values).unwrap();
    assert_eq!(
        (percpu.sum(1u32).unwrap(), percpu.max(1u32).unwrap(), percpu.sum(2u32).unwrap()),
        (Some(8), Some(5), None)
    );
    assert_eq!(percpu.typed::<u32, Vec<u64>>().items().unwrap(), [(1, vec![3, 5])]);
}

#[test]
fn stacks_are_walked() {
    if simulator_only("tasks of a kernel have stacks of their own; row 26 walks them") {
        return;
    }
    let mut bpf = load();
    let (outer, inner) = (bpf.symbol("do_syscall_64"), bpf.symbol("vfs_read"));
    let mut task = bpf_helpers_mock::state::Task::new(4242, "cat");
    task.kernel_stack = vec![inner, outer];
    bpf.add_task(task);
    bpf.attach_kprobe("vfs_read", "stack").unwrap();
    let id = bpf.kprobe("vfs_read").task(4242).fire().unwrap().ret().unwrap();
    let frames = bpf.get_table("stacks").unwrap().walk(id as i64).unwrap();
    let names: Vec<_> = frames.iter().map(|ip| bpf.ksym(*ip)).collect();
    assert_eq!(names, ["vfs_read", "do_syscall_64"]);
    says(bpf.get_table("stacks").unwrap().walk(-14), "no stack of id -14 (an error of bpf_get_stackid)");
    says(bpf.get_table("stacks").unwrap().walk(id as i64 ^ 1), "no stack");
    says(bpf.get_table("counts").unwrap().walk(1), "no stack trace");
}

#[test]
fn counters_are_opened_on_every_cpu() {
    if simulator_only("a kernel does not tell what a kprobe's program returns") {
        return;
    }
    let mut bpf = load();
    bpf.attach_kprobe("vfs_read", "read_cycles").unwrap();
    bpf.get_table("cycles").unwrap().open_perf_event(0, 0).unwrap();
    bpf.set_perf_counter("cycles", 1, 1000, 10).unwrap();
    let mut read = |cpu| bpf.kprobe("vfs_read").cpu(cpu).fire().unwrap().ret().unwrap();
    assert_eq!((read(0), read(1), read(1)), (0, 1000, 1010));
    bpf.get_table("cycles").unwrap().close_perf_event(1).unwrap();
    assert_eq!(bpf.kprobe("vfs_read").cpu(1).fire().unwrap().ret().unwrap() as i64, -2);
    says(bpf.get_table("counts").unwrap().open_perf_event(0, 0), "no perf event array");
}

#[test]
fn programs_are_put_into_arrays() {
    let mut bpf = load();
    bpf.attach_kprobe("vfs_read", "jump").unwrap();
    // A kernel does not tell what a kprobe's program returns.
    let returns = |bpf: &mut bpf_harness::Bpf, value: u64| {
        let ret = bpf.kprobe("vfs_read").fire().unwrap().ret();
        assert!(ret == Some(value) || on_kernel(), "{ret:?}");
    };
    returns(&mut bpf, 1);
    let tail = bpf.load_func("jumped", ProgType::Kprobe).unwrap();
    bpf.get_table("jumps").unwrap().set(3u32, tail).unwrap();
    returns(&mut bpf, 77);
    bpf.get_table("jumps").unwrap().delete(3u32).unwrap();
    returns(&mut bpf, 1);
    says(bpf.load_func("jumped", ProgType::Xdp), "it is of type kprobe, xdp is needed");
}

#[test]
fn counters_and_program_arrays_of_a_text() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kprobe("vfs_read", "read_counter").unwrap();
    // The clock of a CPU, which virtual machines have too.
    bpf.get_table("cycles").unwrap().open_perf_event(1, 0).unwrap();
    if !on_kernel() {
        bpf.set_perf_counter("cycles", 1, 500, 1).unwrap();
    }
    bpf.kprobe("vfs_read").cpu(1).fire().unwrap();
    let readings = bpf.get_table("readings").unwrap().typed::<u32, u64>().items().unwrap();
    let [(0, 0), (1, reading)] = readings.as_slice() else { panic!("{readings:?}") };
    assert!(if on_kernel() { (1..1 << 50).contains(reading) } else { *reading == 500 }, "{reading}");
    bpf.attach_kprobe("vfs_write", "jump").unwrap();
    let tail = bpf.load_func("jumped", ProgType::Kprobe).unwrap();
    bpf.get_table("jumps").unwrap().set(2, tail).unwrap();
    let ret = bpf.kprobe("vfs_write").fire().unwrap().ret();
    assert!(ret == Some(77) || on_kernel(), "{ret:?}");
}
