//! A device has one XDP program.

use bpf_harness::Bpf;

fn load() -> Bpf {
    let builder = Bpf::builder().object(bpf_fixtures::object("packets").expect("a fixture"));
    let builder = builder.object(bpf_fixtures::object("passages").expect("a fixture"));
    builder.only("count").only("passage_xdp").load().unwrap()
}

#[test]
fn the_second_program_is_refused_with_the_first_ones_name() {
    let mut bpf = load();
    bpf.attach("count").unwrap();
    for again in ["passage_xdp", "count"] {
        let said = bpf.attach(again).unwrap_err().to_string();
        assert!(said.contains("EBUSY") && said.contains("'count'") && said.contains(again), "{said}");
    }
    bpf.detach("count").unwrap();
    bpf.attach("passage_xdp").unwrap();
}

#[test]
fn all_of_an_object_cannot_be_attached_if_two_want_the_device() {
    let said = load().attach_all().unwrap_err().to_string();
    assert!(said.contains("attach(\"passage_xdp\")") && said.contains("'count'"), "{said}");
}
