//! bcc text for the tests of the reference guide's rows.

use bpf_harness::compile::Clang;
use bpf_harness::{Bpf, BpfBuilder};

use crate::support::on_kernel;

/// A builder for a text whose events the test makes up, for a machine of two CPUs; `None`, with a remark, where there is
/// no clang. A guest's host has one.
pub(crate) fn text(text: &str) -> Option<BpfBuilder> {
    if let Err(why) = Clang::find()
        && !on_kernel()
    {
        eprintln!("skipped: {why}");
        return None;
    }
    Some(Bpf::builder().text(text).cpus(2).made_up_events())
}

/// The handlers of `data/guide.c`, loaded; `None`, with a remark, where there is no clang.
pub(crate) fn guide() -> Option<Bpf> {
    let mut bpf = text(include_str!("data/guide.c"))?.load().expect("a valid text");
    bpf.add_task(bpf_helpers_mock::state::Task::new(4242, "cat"));
    Some(bpf)
}
