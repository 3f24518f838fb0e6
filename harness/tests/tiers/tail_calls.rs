//! Arrays of programs that the object fills, where not all of its programs are loaded.

use bpf_harness::{Bpf, Input};

fn returned(only: &[&str]) -> i32 {
    let mut builder = Bpf::builder().object(bpf_fixtures::object("tail_calls").unwrap()).made_up_events();
    for name in only {
        builder = builder.only(*name);
    }
    let mut bpf = builder.load().unwrap();
    let report = bpf.run("jump", Input::default_for_type().with_packet(vec![0; 64])).unwrap();
    report.ret32().unwrap()
}

#[test]
fn a_slot_whose_program_is_left_out_is_empty() {
    assert_eq!(returned(&[]), 0);
    assert_eq!(returned(&["jump", "leaf"]), 0);
    // The call does not happen, and what is behind it does.
    assert!(returned(&["jump"]) > 0);
    assert!(returned(&["jump", "again"]) > 0);
}

#[cfg(feature = "kernel")]
#[test]
fn the_verifiers_word_on_one_program_does_not_depend_on_the_slots() {
    use bpf_harness::Tier;
    use bpf_harness::verdicts::{Verdict, verdicts};

    if Tier::from_env().unwrap() == Tier::Simulator {
        return;
    }
    let object = bpf_fixtures::object("tail_calls").unwrap();
    for name in ["jump", "leaf", "again", "empty_slot"] {
        let found = verdicts(object, Some(name)).unwrap();
        assert!(matches!(found[..], [_]), "{name}");
        assert!(matches!(found[0].verdict, Verdict::Accepted { .. }), "{name}: {:?}", found[0]);
    }
}
