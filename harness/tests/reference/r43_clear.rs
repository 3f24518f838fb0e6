//! `clear()`, `zero()`.

use bpf_harness::value::Value;

use crate::load;

#[test]
fn a_hash_is_empty_and_an_array_zero() {
    let mut bpf = load();
    bpf.get_table("counts").unwrap().set(1u64, 1u64).unwrap();
    bpf.get_table("dist").unwrap().set(3, 1u64).unwrap();
    for name in ["counts", "dist", "percpu"] {
        bpf.get_table(name).unwrap().clear().unwrap();
    }
    assert!(bpf.get_table("counts").unwrap().is_empty().unwrap());
    let mut dist = bpf.get_table("dist").unwrap();
    assert_eq!((dist.len().unwrap(), dist.get(3).unwrap()), (65, Some(Value::Uint(0))));
}

#[test]
fn zeroed_keys_stay() {
    let mut bpf = load();
    bpf.get_table("counts").unwrap().set(1u64, 9u64).unwrap();
    bpf.get_table("percpu").unwrap().set(1u32, Value::PerCpu(vec![1u64.into(), 2u64.into()])).unwrap();
    for name in ["counts", "percpu"] {
        let mut table = bpf.get_table(name).unwrap();
        table.zero().unwrap();
        assert_eq!((table.len().unwrap(), table.values().unwrap()[0].sum()), (1, Some(0)), "{name}");
    }
}

#[test]
fn the_guides_example_starts_again() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kretprobe("vfs_read", "kbytes").unwrap();
    for round in 0..2 {
        bpf.kretprobe("vfs_read").ret(4096).fire().unwrap();
        assert_eq!(bpf.get_table("dist").unwrap().get(3).unwrap(), Some(Value::Uint(1)), "round {round}");
        bpf.get_table("dist").unwrap().clear().unwrap();
    }
}
