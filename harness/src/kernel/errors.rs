//! What the kernel's refusals mean to the person who meets them.

use libbpf_rs::ErrorKind;

use bpf_vm_shim::btf::LineInfo;
use bpf_vm_shim::object::LinkedProgram;

use crate::error::Error;
use crate::verifier_log::{Refusal, VerifierLog};

/// A refusal that is about privilege, or `None`.
pub(super) fn privilege(e: &libbpf_rs::Error) -> Option<&'static str> {
    (e.kind() == ErrorKind::PermissionDenied && !is_root()).then_some(
        "the kernel tier needs root (CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN): run the test as root, or in a virtual machine \
         with `bpf-vm run`",
    )
}

fn is_root() -> bool {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The verifier has refused a program. The description of the program, if it is the same, says which C line that is
/// where the log does not; a log that has the line's text only (before 6.9) is looked up among the object's lines.
pub(super) fn refused(
    program: &str,
    log: &[u8],
    linked: Option<&LinkedProgram>,
    lines: &[LineInfo],
) -> Error {
    let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default()).into_owned();
    let refusal = Refusal::of(program);
    let refusal = match linked {
        Some(linked) => refusal.linked(linked),
        None => refusal,
    };
    let mut diagnostic = VerifierLog::parse(&text).diagnostic(&refusal);
    if let Some(source) = diagnostic.source.as_mut().filter(|s| s.line == 0) {
        let mut same = lines.iter().filter(|l| l.text.trim() == source.text.trim());
        if let Some(first) = same.next()
            && same.all(|l| l.line == first.line && l.file == first.file)
        {
            (source.file, source.line, source.col) = (first.file.to_string(), first.line, first.col);
        }
    }
    Error::Refused(Box::new(diagnostic))
}

/// A program could not be attached.
pub(super) fn attach(program: &str, place: &str, e: &libbpf_rs::Error, messages: &str) -> Error {
    let why = privilege(e).map(str::to_owned).unwrap_or_else(|| match e.kind() {
        ErrorKind::NotFound => format!("{e:#}: this kernel has no such probe point"),
        ErrorKind::InvalidInput => format!("{e:#}: {}", not_there(place)),
        _ => format!("{e:#}"),
    });
    let said = if messages.is_empty() { String::new() } else { format!("\nlibbpf: {messages}") };
    Error::Invalid(format!("program '{program}' cannot be attached to {place}: {why}{said}"))
}

/// What `EINVAL` means for a place, by the kind that stands first in it.
fn not_there(place: &str) -> &'static str {
    match place.split('/').next().unwrap_or_default() {
        "kprobe" | "kretprobe" | "ksyscall" | "kretsyscall" => {
            "this kernel cannot attach there (a function that must not be probed, or no beginning of an instruction)"
        }
        "uprobe" | "uretprobe" | "usdt" => {
            "this kernel cannot attach there (the place is not in the file's code, is no beginning of an instruction, or is \
             one that cannot be probed)"
        }
        "tracepoint" | "rawtracepoint" | "perfevent" => "this kernel does not attach such a program there",
        _ => {
            "this kernel cannot attach there (a function that must not be probed, or a kind of attachment that is newer than this kernel)"
        }
    }
}

/// A made-up event cannot happen.
pub(super) fn actor(e: super::actors::ActorError) -> Error {
    Error::Invalid(e.to_string())
}
