//! Row 20: `BPF_PERF_ARRAY(name, n)`: hardware counters, one for each CPU.

use crate::support::load;
use bpf_harness::Bpf;
use bpf_vm_shim::object::MapType;

#[test]
fn each_cpu_has_its_counter() {
    let text = r#"
        BPF_PERF_ARRAY(cycles, 4);
        BPF_HASH(read_on, u32, u64);
        int kprobe__vfs_read(void *ctx) {
            u32 cpu = bpf_get_smp_processor_id();
            u64 v = cycles.perf_read(CUR_CPU_IDENTIFIER);
            read_on.update(&cpu, &v);
            return 0;
        }
    "#;
    let Some(mut bpf) = load(Bpf::builder().text(text).cpus(2)) else { return };
    let machine = bpf.machine();
    let map = machine.map_by_name("cycles").and_then(|id| machine.kernel.maps.get(id)).unwrap();
    assert_eq!(map.def.map_type, MapType::PerfEventArray);
    bpf.set_perf_counter("cycles", 0, 1_000, 0).unwrap();
    bpf.set_perf_counter("cycles", 1, 2_000, 0).unwrap();
    bpf.kprobe("vfs_read").cpu(0).fire().unwrap();
    bpf.kprobe("vfs_read").cpu(1).fire().unwrap();
    let read = bpf.table("read_on").unwrap();
    assert_eq!((read.get(0).unwrap(), read.get(1).unwrap()), (&1_000u64.into(), &2_000u64.into()));
}
