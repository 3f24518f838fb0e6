//! What the user-space half of the kernel's selftests does before a program runs, as far as results depend on it.

use bpf_helpers_mock::Machine;
use bpf_vm_shim::btf::Kind;
use bpf_vm_shim::object::{MapType, Object};

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

/// The oldest kernel that annotated programs can be meant for, where that is not the default's age: all tags are
/// numbered (`__test_tag` in `bpf_misc.h`) in the selftests of Linux 7 and not in those of 6.12.
#[must_use]
pub fn kernel_version(object: &Object) -> Option<(u8, u8)> {
    let btf = object.btf.as_ref()?;
    let numbered = |tag: &str| {
        let rest = tag.strip_prefix("comment:").and_then(|t| t.split_once(':'));
        rest.is_some_and(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let functions = object.programs.iter().filter_map(|p| btf.find(Kind::Func, &p.name));
    let any = functions.flat_map(|id| btf.decl_tags(id)).any(|t| numbered(t.tag));
    any.then_some((7, 0))
}
