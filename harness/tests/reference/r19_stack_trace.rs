//! Row 19: `BPF_STACK_TRACE(name, n)`, with and without the final semicolon.

use crate::support::bcc;
use bpf_vm_shim::object::MapType;

#[test]
fn it_is_a_stack_trace_map_of_that_size() {
    let Some(mut bpf) = bcc(r#"
        BPF_STACK_TRACE(stacks, 1024)
        BPF_STACK_TRACE(more, 16);
        int kprobe__vfs_read(void *ctx) { return 0; }
    "#) else {
        return;
    };
    for (name, entries) in [("stacks", 1024), ("more", 16)] {
        let machine = bpf.machine();
        let map = machine.map_by_name(name).and_then(|id| machine.kernel.maps.get(id)).unwrap();
        assert_eq!((map.def.map_type, map.def.max_entries), (MapType::StackTrace, entries));
        // 127 addresses, PERF_MAX_STACK_DEPTH.
        assert_eq!((map.def.key_size, map.def.value_size), (4, 127 * 8));
    }
}
