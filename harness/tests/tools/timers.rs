//! Time that passes fires timers.

use bpf_harness::{Bpf, Input};

use crate::object;

#[test]
fn a_timer_fires_as_often_as_it_starts_itself_again() {
    let mut bpf = Bpf::load(object("timers")).unwrap();
    assert_eq!(bpf.run("start", Input::default_for_type()).unwrap().ret32().unwrap(), 0);
    let fired = |bpf: &mut Bpf| {
        let element = bpf.map("table").unwrap().get(0u32).unwrap().unwrap();
        element.get("fired").and_then(bpf_harness::value::Value::as_u64).unwrap()
    };
    assert_eq!(fired(&mut bpf), 0);
    bpf.advance(1_000_000).unwrap();
    assert_eq!(fired(&mut bpf), 1);
    bpf.advance(10_000_000).unwrap();
    assert_eq!(fired(&mut bpf), 3);
}
