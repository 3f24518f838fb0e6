//! Records of a perf event array, whose lengths a kernel rounds up.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bpf_harness::{Bpf, PerfBufferOptions, Tier};

fn load() -> Bpf {
    let object = bpf_fixtures::object("perf_sizes").unwrap();
    let mut bpf = Bpf::builder().object(object).made_up_events().load().unwrap();
    bpf.attach_all().unwrap();
    bpf
}

/// Sizes and values, in order of the values, of what all three programs send.
fn sent(options: PerfBufferOptions) -> Vec<(usize, Result<usize, String>)> {
    let mut bpf = load();
    let got = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&got);
    bpf.open_perf_buffer_with("events", options, move |_, record| {
        let members = ["a", "b", "c", "d"];
        let value = record.value().map_err(|e| e.to_string());
        let count = value.map(|v| members.iter().filter(|m| v.get(m).is_some()).count());
        into.lock().unwrap().push((record.size(), count));
    })
    .unwrap();
    bpf.kprobe("do_nanosleep").fire().unwrap();
    while bpf.perf_buffer_poll(Duration::from_millis(50)).unwrap() > 0 {}
    let mut got = got.lock().unwrap().clone();
    got.sort();
    got
}

#[test]
fn a_record_is_never_taken_for_another_structure() {
    let got = sent(PerfBufferOptions::new());
    if Tier::from_env().unwrap() == Tier::Simulator {
        assert_eq!(got, [(8, Ok(2)), (12, Ok(3)), (16, Ok(4))]);
        return;
    }
    assert_eq!((got[2].0, &got[2].1), (16, &Ok(4)), "nothing else has this length");
    for (size, value) in &got[..2] {
        assert_eq!(*size, 12);
        assert!(value.as_ref().is_err_and(|e| e.contains("struct small, struct large")), "{value:?}");
    }
}

#[test]
fn a_type_that_is_named_says_where_a_record_ends() {
    let got = sent(PerfBufferOptions::new().record_type("small"));
    assert_eq!(got[0], (8, Ok(2)));
}
