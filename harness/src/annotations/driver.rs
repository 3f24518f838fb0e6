//! What the user-space half of the kernel's selftests does before a program runs, as far as results depend on it.

use bpf_helpers_mock::Machine;
use bpf_vm_shim::object::MapType;

/// Arrays of `struct test_val` that the driver fills: name and first value's words with their places.
///
/// Source: `init_test_val_map` in `tools/testing/selftests/bpf/prog_tests/verifier.c`: an index of 28 bytes, and a
/// marker in the seventh number after it.
const FILLED: &[&str] = &["map_array_48b", "map_array_ro"];
const VALUE_SIZE: usize = 48;
const WORDS: [(usize, u32); 2] = [(0, 28), (28, 0xabcd_ef12)];

/// Fills the maps that the selftests' driver fills. Other objects have no maps of such names and shapes.
pub fn fill_maps(machine: &mut Machine) {
    let mut value = [0; VALUE_SIZE];
    for (at, word) in WORDS {
        value[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    for name in FILLED {
        let Some(id) = machine.map_by_name(name) else { continue };
        let def = machine.kernel.maps.get(id).map(|m| (m.def.map_type, m.def.key_size, m.def.value_size));
        if def == Some((MapType::Array, 4, VALUE_SIZE as u32)) {
            // An array takes any value of its size.
            let _ = machine.map_update(id, &[0; 4], &value, 0);
        }
    }
}
