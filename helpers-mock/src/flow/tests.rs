//! What the base of a program's last load may be, for small programs.

use bpf_vm_shim::isa::{Insn, TABLE, pseudo};
use bpf_vm_shim::object::ProgType;
use proptest::prelude::*;

use super::{Liveness, Subject, Tables, analyze};
use crate::passes::{Options, rewrite};

fn ins(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { opcode, dst, src, off, imm }
}

fn wide(dst: u8, src: u8, imm: i32) -> [Insn; 2] {
    [ins(0x18, dst, src, 0, imm), ins(0, 0, 0, 0, 0)]
}

fn call(id: i32) -> Insn {
    ins(0x85, 0, 0, 0, id)
}

/// The kinds of the base of the last load that is reached; the program ends behind it.
fn last(prog_type: ProgType, insns: &[Insn]) -> String {
    let mut all = insns.to_vec();
    all.push(ins(0x95, 0, 0, 0, 0));
    let tables = Tables::default();
    let facts = analyze(&Subject { prog_type, insns: &all, functions: &[0], poisoned: None, tables });
    assert!(!facts.gave_up);
    facts.loads.values().last().map_or_else(String::new, |f| format!("{:?}", f.base))
}

#[test]
fn kinds_follow_what_instructions_do() {
    let key = [ins(0x7a, 10, 0, -8, 0), ins(0xbf, 2, 10, 0, 0), ins(0x07, 2, 0, 0, -8)];
    let lookup = [&key[..], &wide(1, pseudo::MAP_FD, 3), &[call(1)]].concat();
    let read = |reg| ins(0x79, 0, reg, 0, 0);
    let table: &[(&str, Vec<Insn>, &str)] = &[
        ("the context", vec![read(1)], "ctx"),
        ("a field of it", vec![ins(0x79, 2, 1, 112, 0), read(2)], "scalar"),
        ("the stack", vec![ins(0xbf, 2, 10, 0, 0), ins(0x07, 2, 0, 0, -8), read(2)], "fp"),
        ("what a lookup gives", [&lookup[..], &[read(0)]].concat(), "map_value|map_ptr|zero"),
        ("tested for null", [&lookup[..], &[ins(0x15, 0, 0, 1, 0), read(0)]].concat(), "map_value|map_ptr"),
        ("found null", [&lookup[..], &[ins(0x55, 0, 0, 1, 0), read(0)]].concat(), "zero"),
        ("narrowed", vec![ins(0xbc, 2, 10, 0, 0), read(2)], "scalar"),
        ("masked", vec![ins(0x57, 1, 0, 0, -8), read(1)], "scalar"),
        ("the difference of two", vec![ins(0xbf, 2, 10, 0, 0), ins(0x1f, 2, 10, 0, 0), read(2)], "scalar"),
        ("spilled and filled", vec![ins(0x7b, 10, 1, -8, 0), ins(0x79, 3, 10, -8, 0), read(3)], "ctx"),
        (
            "spilled and damaged",
            vec![ins(0x7b, 10, 1, -8, 0), ins(0x72, 10, 0, -4, 0), ins(0x79, 3, 10, -8, 0), read(3)],
            "scalar",
        ),
        ("the current task", vec![call(35), read(0)], "scalar"),
        ("the current task, typed", vec![call(158), read(0)], "ptr_"),
        ("a field of it", vec![call(158), ins(0x79, 2, 0, 0, 0), read(2)], "ptr_|zero"),
        ("a record", vec![call(131), read(0)], "mem|zero"),
        ("global data", [&wide(2, pseudo::MAP_VALUE, 3)[..], &[read(2)]].concat(), "map_value"),
        ("a helper that is not known", vec![call(4000), read(0)], "unknown"),
        (
            "either of two",
            vec![ins(0x79, 2, 1, 0, 0), ins(0x15, 2, 0, 1, 0), ins(0xbf, 2, 10, 0, 0), read(2)],
            "fp|zero",
        ),
        (
            "a branch that is never taken",
            vec![ins(0xb7, 3, 0, 0, 1), ins(0x55, 3, 0, 1, 0), ins(0xb7, 1, 0, 0, 9), read(1)],
            "ctx",
        ),
        (
            "a loop",
            vec![
                ins(0xbf, 2, 10, 0, 0),
                ins(0x07, 2, 0, 0, -8),
                ins(0xb7, 3, 0, 0, 0),
                read(2),
                ins(0x07, 3, 0, 0, 1),
                ins(0xa5, 3, 0, -3, 4),
            ],
            "fp",
        ),
    ];
    for (what, insns, expected) in table {
        assert_eq!(last(ProgType::Kprobe, insns), *expected, "{what}");
    }
}

#[test]
fn contexts_give_what_their_type_has() {
    let read = [ins(0x61, 2, 1, 76, 0), ins(0x71, 0, 2, 0, 0)];
    let word = [ins(0x79, 2, 1, 8, 0), ins(0x71, 0, 2, 0, 0)];
    let table = [
        (ProgType::SchedCls, &read, "pkt"),
        (ProgType::Kprobe, &read, "scalar"),
        (ProgType::Tracepoint, &word, "scalar"),
        (ProgType::Tracing, &word, "unknown"),
        (ProgType::Lsm, &word, "unknown"),
        (ProgType::RawTracepoint, &word, "scalar"),
    ];
    for (prog_type, insns, expected) in table {
        assert_eq!(last(prog_type, insns), expected, "{prog_type}");
    }
}

#[test]
fn callbacks_get_what_their_helper_passes_on() {
    // bpf_loop(8, callback, ctx = r6, 0): the callback reads through its second argument.
    let insns = [
        ins(0xbf, 3, 1, 0, 0),
        ins(0x18, 2, pseudo::FUNC, 0, 6),
        ins(0, 0, 0, 0, 0),
        ins(0xb7, 1, 0, 0, 8),
        ins(0xb7, 4, 0, 0, 0),
        call(181),
        ins(0xb7, 0, 0, 0, 0),
        ins(0x95, 0, 0, 0, 0),
        ins(0x79, 0, 2, 0, 0),
    ];
    assert_eq!(last(ProgType::Kprobe, &insns), "ctx");
}

#[test]
fn registers_live_until_their_last_read() {
    // r2 = 1; r3 = 2; if r2 == 0 goto +1; r0 = r3; call 14; exit
    let insns = [
        ins(0xb7, 2, 0, 0, 1),
        ins(0xb7, 3, 0, 0, 2),
        ins(0x15, 2, 0, 1, 0),
        ins(0xbf, 0, 3, 0, 0),
        call(14),
        ins(0x95, 0, 0, 0, 0),
    ];
    let live = Liveness::of(&insns, &[]);
    let after: Vec<u16> = (0..insns.len()).map(|i| live.after(i)).collect();
    assert_eq!(after, [0b100, 0b1100, 0b1000, 0, 1, 0]);
}

/// Any instruction that has a row, and some that have none.
fn any_insn() -> impl Strategy<Value = Insn> {
    let opcode = prop_oneof![
        9 => prop::sample::select(TABLE.iter().map(|r| r.opcode).collect::<Vec<_>>()),
        1 => any::<u8>(),
    ];
    let off = prop_oneof![-6i16..6, any::<i16>()];
    let imm = prop_oneof![-6i32..220, any::<i32>()];
    (opcode, 0u8..16, 0u8..16, off, imm)
        .prop_map(|(opcode, dst, src, off, imm)| ins(opcode, dst, src, off, imm))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_instructions_are_too_odd(
        insns in prop::collection::vec(any_insn(), 0..40),
        functions in prop::collection::vec(0usize..50, 0..4),
        kprobe in any::<bool>(),
    ) {
        let prog_type = if kprobe { ProgType::Kprobe } else { ProgType::Tracing };
        let subject =
            Subject { prog_type, insns: &insns, functions: &functions, poisoned: None, tables: Tables::default() };
        let facts = analyze(&subject);
        prop_assert!(facts.loads.keys().all(|slot| *slot < insns.len()));
        // An error is as good; what matters is that it ends.
        if let Ok(done) = rewrite("odd", &subject, None, &Options::default()) {
            prop_assert_eq!(done.places.len(), insns.len() + 1);
        }
    }
}
