//! Loading bcc-style texts, and what the rows share.

use bpf_harness::compile::CompileError;
use bpf_harness::{Bpf, BpfBuilder, Error, Tier};
use bpf_helpers_mock::state::DEFAULT_PID;

/// Loads a text as a test's subject, whose events the test makes up; `None` where no compiler is installed, which is said.
#[track_caller]
pub(crate) fn bcc(text: &str) -> Option<Bpf> {
    load(Bpf::builder().text(text))
}

/// Loads a text that sees what this process really does on a kernel; [`me`] is `ME` in it.
#[track_caller]
pub(crate) fn live(text: &str) -> Option<Bpf> {
    compiled(Bpf::builder().text(text).define("ME", me().to_string()))
}

/// Whether the tests run on a real kernel.
pub(crate) fn on_kernel() -> bool {
    Tier::from_env().expect("a tier") == Tier::Kernel
}

/// Whether a test is for the simulator only and this is a kernel, which is said with the reason.
pub(crate) fn simulator_only(why: &str) -> bool {
    !Tier::Simulator.only(why).expect("a tier")
}

/// Whether this is a kernel before a version that has what a test is about, which is said.
pub(crate) fn lacks(feature: &str, major: u32, minor: u32) -> bool {
    let older = on_kernel() && kernel_version().is_some_and(|v| v < (major, minor));
    if older {
        eprintln!("skipped on this kernel: {feature}: since Linux {major}.{minor}");
    }
    older
}

/// The running kernel's version.
fn kernel_version() -> Option<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The process that does what a test does: this one on a kernel, the simulator's.
pub(crate) fn me() -> u32 {
    if on_kernel() { std::process::id() } else { DEFAULT_PID }
}

/// Loads what a builder has; `None` where no compiler is installed.
#[track_caller]
pub(crate) fn load(builder: BpfBuilder) -> Option<Bpf> {
    compiled(builder.made_up_events())
}

#[track_caller]
fn compiled(builder: BpfBuilder) -> Option<Bpf> {
    match builder.load() {
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
