//! bcc text for the tests of the reference guide's rows, compiled for the bundled kernel.

use bpf_harness::compile::Clang;
use bpf_harness::{Bpf, BpfBuilder};

/// A builder for a text, for a machine of two CPUs; `None`, with a remark, where there is no clang.
pub(crate) fn text(text: &str) -> Option<BpfBuilder> {
    if let Err(why) = Clang::find() {
        eprintln!("skipped: {why}");
        return None;
    }
    Some(Bpf::builder().text(text).cpus(2))
}

/// The handlers of `data/guide.c`, loaded; `None`, with a remark, where there is no clang.
pub(crate) fn guide() -> Option<Bpf> {
    let mut bpf = text(include_str!("data/guide.c"))?.load().expect("a valid text");
    bpf.add_task(bpf_helpers_mock::state::Task::new(42, "cat"));
    Some(bpf)
}
