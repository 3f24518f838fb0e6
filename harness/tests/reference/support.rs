//! Loading bcc-style texts, and what the rows share.

use bpf_harness::compile::CompileError;
use bpf_harness::{Bpf, BpfBuilder, Error, Tier};

/// Loads a text as a test's subject, whose events the test makes up; `None` where no compiler is installed, which is said.
#[track_caller]
pub(crate) fn bcc(text: &str) -> Option<Bpf> {
    load(Bpf::builder().text(text))
}

/// Whether the tests run on a real kernel.
pub(crate) fn on_kernel() -> bool {
    Tier::from_env().expect("a tier") == Tier::Kernel
}

/// Loads what a builder has; `None` where no compiler is installed.
#[track_caller]
pub(crate) fn load(builder: BpfBuilder) -> Option<Bpf> {
    match builder.made_up_events().load() {
        Ok(bpf) => Some(bpf),
        Err(e) if no_compiler(&e) => {
            eprintln!("skipped: {e}");
            None
        }
        Err(e) => panic!("{}", e),
    }
}

/// What loading is refused with; `None` where no compiler is installed.
#[track_caller]
pub(crate) fn refused(builder: BpfBuilder) -> Option<Error> {
    match builder.load() {
        Ok(_) => panic!("it loads"),
        Err(e) if no_compiler(&e) => {
            eprintln!("skipped: {e}");
            None
        }
        Err(e) => Some(e),
    }
}

fn no_compiler(error: &Error) -> bool {
    matches!(error, Error::Compile(e) if matches!(**e, CompileError::NoClang { .. }))
}
