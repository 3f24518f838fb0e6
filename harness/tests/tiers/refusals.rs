//! What the verifier refuses is shown at the line where the simulator faults.

use bpf_harness::{Bpf, Error, Input, Tier};

/// The identifier and the line of what is wrong with the only program of a fixture.
fn wrong_with(name: &str, program: &str) -> (String, u32) {
    let loaded = Bpf::builder().object(bpf_fixtures::object(name).expect("a fixture")).load();
    let diagnostic = match loaded {
        Err(Error::Refused(diagnostic)) => diagnostic,
        Err(e) => panic!("{e}"),
        Ok(mut bpf) => bpf.run(program, Input::default_for_type()).unwrap().diagnostic.expect("a fault"),
    };
    (diagnostic.id.to_owned(), diagnostic.source.expect("a line").line)
}

/// The verifier comes to the end of the program by a jump, and its log has no C line there.
#[test]
fn the_end_of_a_program_that_is_jumped_to_has_its_own_line() {
    let text = include_str!("../../../fixtures/fail/unreleased_reference.bpf.c");
    let line = text.lines().position(|l| l.contains("ERROR[")).expect("a mark") as u32 + 1;
    let wrong = wrong_with("unreleased_reference", "forgets_record");
    assert_eq!(wrong, ("unreleased-reference".to_owned(), line));
}

#[test]
fn a_loop_without_end_has_a_reason() {
    let (id, _) = wrong_with("budget", "endless");
    let known: &[&str] = match Tier::from_env().unwrap() {
        Tier::Kernel => &["budget", "infinite-loop"],
        _ => &["budget"],
    };
    assert!(known.contains(&id.as_str()), "{id}");
}
