//! Values of every shape, decoded through BTF.

use bpf_harness::{Bpf, Input};

use crate::object;

#[test]
fn every_shape_of_value_is_decoded() {
    let mut bpf = Bpf::builder().object(object("values")).cpus(2).load().unwrap();
    assert_eq!(bpf.run("fill", Input::default_for_type()).unwrap().ret32().unwrap(), 0);
    insta::assert_yaml_snapshot!("values", bpf.table("values").unwrap());
    insta::assert_yaml_snapshot!("by_color", bpf.table("by_color").unwrap());
    insta::assert_yaml_snapshot!("global", bpf.global("global").unwrap());
}
