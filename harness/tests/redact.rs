//! Redactions: what they replace, and the laws that they keep.

use bpf_harness::redact::{Redact, Redaction};
use bpf_harness::value::Value;
use proptest::prelude::*;

fn event(pid: u32, comm: &str, ts: u64, ret: i64) -> Value {
    Value::Struct(vec![
        ("pid".into(), pid.into()),
        ("comm".into(), comm.into()),
        ("ts".into(), ts.into()),
        ("ret".into(), ret.into()),
        ("args".into(), Value::List(vec![0xffff_8880_1234_0000u64.into(), 7u64.into()])),
    ])
}

#[test]
fn members_go_by_their_names_and_numbers_by_appearance() {
    let events =
        vec![event(77, "cat", 5, -2), event(78, "cat", 6, 3), event(77, "dd", 9, 0), event(0, "x", 1, 1)];
    insta::assert_yaml_snapshot!(events.redact(&mut Redaction::all().path(".args[1]", "[flags]")));
}

#[test]
fn what_is_not_asked_for_stays() {
    let events = vec![event(77, "cat", 5, -2)];
    assert_eq!(events.redact(&mut Redaction::new()), events);
    assert_eq!(events.redact(&mut Redaction::new().cpus().ports().inodes().fds()), events);
}

#[test]
fn one_redaction_calls_a_process_the_same_everywhere() {
    let mut redaction = Redaction::new().pids().comms().times().cpus();
    let line = "             cat-4711    [002] d..2.  12.345678: bpf_trace_printk: read 12";
    let line = line.redact(&mut redaction);
    assert_eq!(line, "[comm 1]-[pid 1] [cpu] [time]: bpf_trace_printk: read 12");
    let later = event(4711, "cat", 5, 0).redact(&mut redaction);
    assert_eq!((&later["pid"], &later["comm"]), (&"[pid 1]".into(), &"[comm 1]".into()));
    assert_eq!(redaction.replace_pid("PID 4711, not 47110", 4711), "PID [pid 1], not 47110");
    redaction.start_over();
    assert_eq!(event(4712, "cat", 5, 0).redact(&mut redaction)["pid"], "[pid 1]");
}

#[test]
fn columns_that_are_not_asked_for_stay_in_lines() {
    let line =
        " my-task-1-99      [000] ....1  1.000001: bpf_trace_printk: at ffff888012340000, not 12 nor 0xbeef";
    for (redaction, expected) in [
        (Redaction::new(), line.to_owned()),
        (Redaction::new().times(), line.replace("  1.000001", " [time]")),
        (Redaction::new().addresses(), line.replace("ffff888012340000", "[address 1]")),
        (Redaction::new().pids(), line.replace("99      ", "[pid 1] ")),
    ] {
        assert_eq!(line.redact(&mut redaction.clone()), expected);
    }
    let other = "no trace line at all: 7";
    assert_eq!(other.redact(&mut Redaction::all()), other);
}

#[test]
fn texts_end_where_c_ends_them() {
    let value: Value = "/etc/passwd\\0\\0\\xa5rest".into();
    assert_eq!(value.redact(&mut Redaction::new().c_texts()), "/etc/passwd");
    assert_eq!(value.redact(&mut Redaction::new()), value);
}

#[test]
fn values_for_each_cpu_become_their_sum() {
    let value = Value::PerCpu(vec![1u64.into(), 0u64.into(), 2u64.into()]);
    assert_eq!(value.redact(&mut Redaction::new().cpus()), 3u64);
    assert_eq!(value.redact(&mut Redaction::new()), value);
}

/// Values as tools have them.
fn values() -> impl Strategy<Value = Value> {
    let number = prop_oneof![0u64..5, 1000u64..1005, Just(0xffff_8880_0000_1000), any::<u64>()];
    let leaf = prop_oneof![
        number.clone().prop_map(Value::Uint),
        number.prop_map(Value::Pointer),
        (-5i64..5).prop_map(Value::Int),
        "[a-c]{1,2}".prop_map(Value::Text),
    ];
    let name = prop_oneof![
        Just("pid"),
        Just("comm"),
        Just("ts"),
        Just("cpu"),
        Just("dport"),
        Just("other"),
        Just("fd")
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec((name.clone().prop_map(str::to_owned), inner), 0..4)
                .prop_map(Value::Struct),
        ]
    })
}

proptest! {
    #[test]
    fn twice_is_once(value in values()) {
        let once = value.redact(&mut Redaction::all());
        prop_assert_eq!(once.redact(&mut Redaction::all()), once);
    }

    #[test]
    fn lines_twice_are_once(comm in "[a-z][a-z0-9-]{0,9}", pid in 0u32..9999, cpu in 0u32..8, rest in "[ -~]{0,20}") {
        let line = format!("  {comm}-{pid}   [{cpu:03}] ....1   3.000004: bpf_trace_printk: {rest}");
        let once = line.redact(&mut Redaction::all());
        prop_assert_eq!(once.redact(&mut Redaction::all()), once);
    }

    /// Processes are renamed, and nothing else is lost: two are the same afterwards if they were before.
    #[test]
    fn relations_are_kept(pids in prop::collection::vec(1u32..6, 0..12)) {
        let events: Vec<Value> = pids.iter().map(|p| event(*p, "c", 1, 1)).collect();
        let redacted = events.redact(&mut Redaction::new().pids());
        for (i, a) in pids.iter().enumerate() {
            for (j, b) in pids.iter().enumerate() {
                prop_assert_eq!(a == b, redacted[i]["pid"] == redacted[j]["pid"]);
            }
        }
    }

    /// Another run has other ids in the same places.
    #[test]
    fn runs_that_differ_by_their_ids_become_one(pids in prop::collection::vec(1u32..6, 0..12), base in 1u32..9000) {
        let run = |base: u32| -> Vec<Value> {
            let events: Vec<Value> = pids.iter().map(|p| event(p * 7 + base, "c", base.into(), 1)).collect();
            events.redact(&mut Redaction::new().pids().times())
        };
        prop_assert_eq!(run(1), run(base));
    }
}
