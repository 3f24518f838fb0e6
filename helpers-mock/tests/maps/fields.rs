//! Spin locks, timers and kptrs in values.

use bpf_helpers_mock::Errno;
use bpf_helpers_mock::maps::{FieldKind, Fields, flag};
use bpf_vm_shim::btf::{Btf, BtfBuilder, IntEncoding, Member, TypeId};
use bpf_vm_shim::object::MapType;

use super::support::{def, errno, machine};

/// `struct { int a; struct bpf_spin_lock lock; struct bpf_timer t; struct task_struct __kptr *task; int b[2]; }`
fn value_type() -> (Btf, TypeId) {
    let mut b = BtfBuilder::new();
    let int = b.add_int("int", 4, IntEncoding::SIGNED);
    let long = b.add_int("unsigned long", 8, IntEncoding::UNSIGNED);
    let lock = b.add_struct("bpf_spin_lock", 4, &[Member::new("val", int, 0)]);
    let pair = b.add_array(long, int, 2);
    let timer = b.add_struct("bpf_timer", 16, &[Member::new("__opaque", pair, 0)]);
    let task = b.add_fwd("task_struct", false);
    let tag = b.add_type_tag("kptr", task);
    let kptr = b.add_ptr(tag);
    let ints = b.add_array(int, int, 2);
    let value = b.add_struct(
        "value",
        40,
        &[
            Member::new("a", int, 0),
            Member::new("lock", lock, 32),
            Member::new("t", timer, 64),
            Member::new("task", kptr, 192),
            Member::new("b", ints, 256),
        ],
    );
    (Btf::parse(b.build()).expect("valid BTF"), value)
}

#[test]
fn fields_are_found() {
    let (btf, value) = value_type();
    let fields = Fields::of(&btf, value);
    let found: Vec<_> = fields.iter().map(|f| (f.kind, f.offset, f.size)).collect();
    assert_eq!(found, [(FieldKind::SpinLock, 4, 4), (FieldKind::Timer, 8, 16), (FieldKind::Kptr, 24, 8)]);
    assert!(fields.has_lock());
}

#[test]
fn updates_leave_fields_alone() {
    let (btf, value) = value_type();
    for map_type in [MapType::Array, MapType::Hash] {
        let mut machine = machine();
        let mut def = def(map_type, (4, 40), 4, 0);
        def.value_type = Some(value);
        let id = machine.create_map_typed(def, Some(btf.clone())).expect("the map is valid");
        let key = [0; 4];
        machine.map_update(id, &key, &[0xff; 40], 0).expect("an update");
        let read = machine.map_read(id, &key).expect("a read").expect("it is there");
        let expected: Vec<u8> = (0..40).map(|i| if (4..32).contains(&i) { 0 } else { 0xff }).collect();
        assert_eq!(read, [expected], "{map_type}");
        // Under the lock it is written in place.
        let before = machine.kernel.maps.get(id).map(|m| m.fields.has_lock());
        assert_eq!(before, Some(true));
        assert_eq!(errno(machine.map_update(id, &key, &[1; 40], flag::LOCK)), Ok(()), "{map_type}");
    }
}

#[test]
fn a_lock_flag_needs_a_lock() {
    let mut machine = machine();
    let id = machine.create_map(def(MapType::Hash, (4, 4), 4, 0)).expect("the map is valid");
    assert_eq!(errno(machine.map_update(id, &[0; 4], &[0; 4], flag::LOCK)), Err(Errno::EINVAL));
}

#[test]
fn types_that_may_not_have_a_field_are_taken_without() {
    let (btf, value) = value_type();
    let mut def = def(MapType::PercpuHash, (4, 40), 4, 0);
    def.value_type = Some(value);
    assert!(Fields::of_map(&btf, &def).is_empty());
    def.map_type = MapType::Hash;
    assert!(!Fields::of_map(&btf, &def).is_empty());
    def.map_flags = flag::RDONLY_PROG;
    assert!(Fields::of_map(&btf, &def).is_empty());
    def.map_flags = 0;
    def.value_size = 48;
    assert!(Fields::of_map(&btf, &def).is_empty(), "the type is of another size");
}
