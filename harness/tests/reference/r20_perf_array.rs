//! Row 20: `BPF_PERF_ARRAY(name, n)`: hardware counters, one for each CPU.

use crate::support::{load, on_kernel};
use bpf_harness::{Bpf, perf};
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
    // A clock, which virtual machines have too.
    let mut cycles = bpf.get_table("cycles").unwrap();
    cycles.open_perf_event(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK).unwrap();
    if !on_kernel() {
        bpf.set_perf_counter("cycles", 0, 1_000, 0).unwrap();
        bpf.set_perf_counter("cycles", 1, 2_000, 0).unwrap();
    }
    bpf.kprobe("vfs_read").cpu(0).fire().unwrap();
    bpf.kprobe("vfs_read").cpu(1).fire().unwrap();
    let read = bpf.table("read_on").unwrap();
    let values = [0, 1].map(|cpu| read.get(cpu).unwrap().as_u64().unwrap());
    if on_kernel() {
        assert!(values.iter().all(|v| (1..1 << 50).contains(v)), "{values:?}");
    } else {
        assert_eq!(values, [1_000, 2_000]);
    }
}
