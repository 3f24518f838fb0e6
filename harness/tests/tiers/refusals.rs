//! What the verifier refuses is shown at the line where the simulator faults.

use bpf_harness::report::Diagnostic;
use bpf_harness::{Bpf, Error, Input};

/// What is wrong with the only program of a fixture.
fn diagnostic(name: &str, program: &str) -> Diagnostic {
    let loaded = Bpf::builder().object(bpf_fixtures::object(name).expect("a fixture")).load();
    match loaded {
        Err(Error::Refused(diagnostic)) => *diagnostic,
        Err(e) => panic!("{e}"),
        Ok(mut bpf) => *bpf.run(program, Input::default_for_type()).unwrap().diagnostic.expect("a fault"),
    }
}

/// The verifier comes to the end of the program by a jump, and its log has no C line there.
#[test]
fn the_end_of_a_program_that_is_jumped_to_has_its_own_line() {
    let text = include_str!("../../../fixtures/fail/unreleased_reference.bpf.c");
    let line = text.lines().position(|l| l.contains("ERROR[")).expect("a mark") as u32 + 1;
    let diagnostic = diagnostic("unreleased_reference", "forgets_record");
    assert_eq!((diagnostic.id, diagnostic.source.expect("a line").line), ("unreleased-reference", line));
}
