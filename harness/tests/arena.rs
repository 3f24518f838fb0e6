//! Variables in an arena, by name.

use bpf_harness::{Bpf, Input};

#[test]
fn arena_variables_are_read_and_written_like_others() {
    let fixture = bpf_fixtures::get("arena").expect("the fixture");
    let mut bpf = Bpf::load(fixture.object).expect("it loads");
    assert_eq!(bpf.global("answer").expect("a variable").as_u64(), Some(42));
    bpf.set_global("answer", 41u64).expect("settable");
    let report = bpf.run("atomics", Input::default_for_type()).expect("a program");
    // 41 is not what it looks for.
    assert_ne!(report.ret().ok(), Some(0));
    assert_eq!(bpf.global("answer").expect("a variable").as_u64(), Some(49));
}
