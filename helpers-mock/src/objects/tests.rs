//! Objects by a small BTF that has of `struct task_struct` what is needed.

use bpf_vm_shim::btf::{Btf, BtfBuilder, Enumerator, IntEncoding, Member, TypeId};
use bpf_vm_shim::object::KernelProfile;

use super::{ObjectError, Value};
use crate::machine::Machine;
use crate::state::Task;

/// ```c
/// enum kind { NONE, SOME = 7 };
/// struct mm_struct { unsigned long arg_start; struct task_struct *owner; };
/// struct task_struct {
///     int pid, tgid; char comm[16]; unsigned int flag:3, rest:5; enum kind kind;
///     union { unsigned long word; int halves[2]; };
///     struct task_struct *real_parent; struct mm_struct *mm; struct { int id; } links[3];
/// };
/// struct cgroup { int level; };
/// ```
fn machine() -> Machine {
    let mut b = BtfBuilder::new();
    let int = b.add_int("int", 4, IntEncoding::SIGNED);
    let uint = b.add_int("unsigned int", 4, IntEncoding::UNSIGNED);
    let char_ = b.add_int("char", 1, IntEncoding::CHAR);
    let long = b.add_int("unsigned long", 8, IntEncoding::UNSIGNED);
    let kind = b.add_enum(
        "kind",
        4,
        false,
        &[Enumerator { name: "NONE", value: 0 }, Enumerator { name: "SOME", value: 7 }],
    );
    // The pointers come before what they point to: ids are given in order.
    let task_ptr = b.add_ptr(TypeId(14));
    let mm = b.add_struct(
        "mm_struct",
        16,
        &[Member::new("arg_start", long, 0), Member::new("owner", task_ptr, 64)],
    );
    let mm_ptr = b.add_ptr(mm);
    let comm = b.add_array(char_, uint, 16);
    let halves = b.add_array(int, uint, 2);
    let word = b.add_union("", 8, &[Member::new("word", long, 0), Member::new("halves", halves, 0)]);
    let link = b.add_struct("", 4, &[Member::new("id", int, 0)]);
    let links = b.add_array(link, uint, 3);
    let task = b.add_struct(
        "task_struct",
        72,
        &[
            Member::new("pid", int, 0),
            Member::new("tgid", int, 32),
            Member::new("comm", comm, 64),
            Member::new("flag", uint, 192).bits(3),
            Member::new("rest", uint, 195).bits(5),
            Member::new("kind", kind, 224),
            Member::new("", word, 256),
            Member::new("real_parent", task_ptr, 320),
            Member::new("mm", mm_ptr, 384),
            Member::new("links", links, 448),
        ],
    );
    assert_eq!(task, TypeId(14));
    b.add_struct("cgroup", 4, &[Member::new("level", int, 0)]);
    let mut machine = Machine::new(KernelProfile::default());
    machine.kernel.profile.btf = Some(Btf::parse(b.build()).unwrap());
    machine
}

#[test]
fn paths_reach_every_kind_of_member() {
    let mut m = machine();
    let parent = m.object("task_struct").set("pid", 1).build().unwrap();
    let table: &[(&str, Value, i128)] = &[
        ("pid", (-5).into(), -5),
        ("comm[1]", 65.into(), 65),
        ("flag", 5.into(), 5),
        ("rest", 17.into(), 17),
        ("kind", "SOME".into(), 7),
        ("word", 0x1_0000_0002_u64.into(), 0x1_0000_0002),
        ("halves[1]", 3.into(), 3),
        ("real_parent", parent.into(), parent.addr.into()),
        ("real_parent->tgid", 9.into(), 9),
        ("mm.arg_start", 0x7000_u64.into(), 0x7000),
        ("mm.owner.mm.owner.pid", 4.into(), 4),
        ("links[2].id", 8.into(), 8),
    ];
    let mut builder = m.object("struct task_struct");
    for (path, value, _) in table {
        builder = builder.set(path, value.clone());
    }
    let object = builder.build().unwrap();
    for (path, _, wanted) in table.iter().filter(|(p, ..)| *p != "word") {
        assert_eq!(m.read_object(object, path).unwrap(), *wanted, "{path}");
    }
    assert_eq!(m.read_object(parent, "tgid").unwrap(), 9, "through the pointer");
    assert_eq!(m.read_object(object, "word").unwrap(), 0x3_0000_0002, "a union's members share their bytes");
    let mut probed = [0; 4];
    m.mem.probe_read(object.addr, &mut probed).unwrap();
    assert_eq!(i32::from_le_bytes(probed), -5);
    assert!(m.mem.load(object.addr, 4).is_err(), "programs do not read it directly");
}

#[test]
fn what_does_not_fit_says_so() {
    let table: &[(&str, Value, &str)] = &[
        ("nope", 1.into(), "'nope': struct task_struct has no member 'nope'"),
        ("pid.x", 1.into(), "'pid.x': int has no members"),
        ("flag", 8.into(), "'flag': 8 does not fit 3 bits"),
        ("kind", "OTHER".into(), "'kind': enum kind has no 'OTHER'"),
        ("links[3].id", 1.into(), "'links[3].id': 'links' has 3 elements"),
        (
            "comm",
            "a name longer than that".into(),
            "'comm': 'a name longer than that' is longer than its 16 bytes",
        ),
        ("pid", "text".into(), "'pid': int takes no text"),
        ("flag.x", 1.into(), "'flag.x': 'flag' is a bit-field"),
    ];
    for (path, value, message) in table {
        let mut m = machine();
        let error = m.object("task_struct").set(path, value.clone()).set("pid", 1).build().unwrap_err();
        assert_eq!(error.to_string(), *message);
    }
    let mut m = machine();
    let no_type = ObjectError::NoType { name: "inode".to_owned() };
    assert_eq!(m.object("inode").build().unwrap_err(), no_type);
    let object = m.object("task_struct").build().unwrap();
    let null = m.read_object(object, "mm.arg_start").unwrap_err();
    assert_eq!(null.to_string(), "'mm.arg_start': the pointer 'mm' is 0x0, where no kernel object is");
    let mut untyped = Machine::new(KernelProfile::default());
    assert!(matches!(untyped.object("x").build(), Err(ObjectError::NoTypes { .. })));
}

#[test]
fn a_task_has_an_object_that_follows_it() {
    let mut m = machine();
    m.kernel.state.tasks.insert(Task { tgid: 1000, parent: 1, ..Task::new(1001, "thread") });
    let addr = m.kernel.task_object(&mut m.mem, 1001).unwrap();
    let object = m.object_at(addr, "task_struct").unwrap();
    let leader = m.kernel.task_object(&mut m.mem, 1000).unwrap();
    let leader = m.object_at(leader, "task_struct").unwrap();
    let read = |m: &mut Machine, o, path: &str| m.read_object(o, path).unwrap();
    assert_eq!((read(&mut m, object, "pid"), read(&mut m, object, "tgid")), (1001, 1000));
    assert_eq!(read(&mut m, object, "comm[0]"), i128::from(b't'));
    assert_eq!(read(&mut m, object, "real_parent.pid"), 1);
    assert_eq!(read(&mut m, object, "mm"), read(&mut m, leader, "mm"), "threads share their memory");
    assert_eq!(m.kernel.state.tasks.by_object(addr).map(|t| t.pid), Some(1001));
    m.kernel.state.tasks.get_mut(1001).unwrap().comm = "renamed".to_owned();
    assert_eq!(m.kernel.task_object(&mut m.mem, 1001).unwrap(), addr);
    assert_eq!(read(&mut m, object, "comm[0]"), i128::from(b'r'));
}

#[test]
fn a_long_line_of_ancestors_is_followed_only_so_far() {
    let mut m = machine();
    for pid in 2..5000 {
        m.kernel.state.tasks.insert(Task { parent: pid + 1, ..Task::new(pid, "t") });
    }
    assert_ne!(m.kernel.task_object(&mut m.mem, 2).unwrap(), 0);
    assert!(m.kernel.state.objects.known.len() < 200);
}
