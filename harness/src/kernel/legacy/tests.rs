//! Rewritten objects are read again, by our own loader: libbpf is asked in `tests/tiers`.

use std::borrow::Cow;

use bpf_vm_shim::object::{MapDef, MapOrigin, Object, Pinning};

use super::modern;

/// What has to be the same.
fn essence(map: &MapDef) -> (String, u32, [u32; 4], Option<u32>, Option<Box<str>>) {
    let inner = map.inner.as_ref().map(|i| format!("{} {} {}", i.map_type, i.key_size, i.value_size).into());
    let sizes = [map.key_size, map.value_size, map.max_entries, map.map_flags];
    (map.name.clone(), map.map_type.number(), sizes, map.numa_node, inner)
}

#[test]
fn all_maps_are_the_same_and_described_by_types() {
    for name in ["legacy_maps", "legacy_layouts"] {
        let bytes = bpf_fixtures::object(name).unwrap();
        let before = Object::parse(bytes).unwrap();
        let new = modern(bytes, &before).unwrap();
        let after = Object::parse(&new).unwrap();
        let sorted = |object: &Object| {
            let mut all: Vec<_> = object.maps.iter().map(essence).collect();
            all.sort();
            all
        };
        assert_eq!(sorted(&after), sorted(&before), "{name}");
        assert!(after.maps.iter().all(|m| m.origin != MapOrigin::Legacy));
        assert!(after.maps.iter().all(|m| m.pinning == Pinning::None || m.name == "modern"));
        assert_eq!(after.programs.len(), before.programs.len());
        assert_eq!(after.notes, before.notes);
        // Nothing is left to do.
        assert!(matches!(modern(&new, &after).unwrap(), Cow::Borrowed(_)));
    }
}

#[test]
fn an_object_without_types_gets_some() {
    let mut bytes = bpf_fixtures::object("legacy_maps").unwrap().to_vec();
    // `.BTF` and `.BTF.ext` under names that mean nothing.
    let places: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, w)| *w == b".BTF").map(|(at, _)| at).collect();
    for at in places {
        bytes[at + 1..at + 4].copy_from_slice(b"ftb");
    }
    let before = Object::parse(&bytes).unwrap();
    assert!(before.btf.is_none());
    let new = modern(&bytes, &before).unwrap();
    let after = Object::parse(&new).unwrap();
    assert_eq!(
        after.maps.iter().map(essence).collect::<Vec<_>>(),
        before.maps.iter().map(essence).collect::<Vec<_>>()
    );
}

#[test]
fn objects_with_modern_maps_stay_as_they_are() {
    let bytes = bpf_fixtures::object("kinds").unwrap();
    assert!(matches!(modern(bytes, &Object::parse(bytes).unwrap()).unwrap(), Cow::Borrowed(_)));
}

#[test]
fn damaged_objects_are_no_matter() {
    let bytes = bpf_fixtures::object("legacy_layouts").unwrap();
    let mut changed = 0;
    for seed in 0..4_000u64 {
        let mut bytes = bytes.to_vec();
        let mut next = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for _ in 0..1 + seed % 3 {
            next = next.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            let at = (next >> 24) as usize % bytes.len();
            bytes[at] = (next >> 8) as u8;
        }
        let Ok(object) = Object::parse(&bytes) else { continue };
        changed += u32::from(modern(&bytes, &object).is_ok_and(|new| new.len() > bytes.len()));
    }
    assert!(changed > 1_000, "{changed}");
}
