//! The host's side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::super::bcc::{BccKernel, Compiled, Text};
use super::super::error::CompileError;
use super::{Reply, Request, VERSION, arch, flags};

/// Compiles the texts of a guest for the kernel that it runs.
///
/// A guest is not trusted: it cannot have the compiler write or execute anything, only read files that this user can read.
pub struct HostCompiler {
    make: Box<dyn Fn() -> Result<BccKernel, CompileError> + Send + Sync>,
    kernel: OnceLock<Result<BccKernel, CompileError>>,
}

type Formats = BTreeMap<(String, String), Option<String>>;

impl HostCompiler {
    /// A compiler for a kernel, which is made when the first text needs it. Its own tracepoints are not used: the guest
    /// gives their formats.
    pub fn new(kernel: impl Fn() -> Result<BccKernel, CompileError> + Send + Sync + 'static) -> Self {
        Self { make: Box::new(kernel), kernel: OnceLock::new() }
    }

    /// Answers a request of the guest.
    #[must_use]
    pub fn answer(&self, request: &[u8]) -> Vec<u8> {
        let (reply, object) = match serde_json::from_slice::<Request>(request) {
            Err(error) => (Reply::Error(refused(&format!("it is not understood: {error}"))), Vec::new()),
            Ok(Request { version, .. }) if version != VERSION => {
                let why = format!("it is of version {version}, the host's is {VERSION}");
                (Reply::Error(refused(&why)), Vec::new())
            }
            Ok(request) => self.compile(request),
        };
        // A reply has no map with keys that are no text, so this does not fail.
        let mut out = serde_json::to_vec(&reply).unwrap_or_default();
        out.push(b'\n');
        out.extend(object);
        out
    }

    fn compile(&self, request: Request) -> (Reply, Vec<u8>) {
        let formats: Formats = request.tracepoints.into_iter().map(|(c, e, text)| ((c, e), text)).collect();
        let missed = Arc::new(Mutex::new(BTreeSet::new()));
        let outcome = flags::check(&request.compile.cflags).and_then(|()| {
            let kernel = match request.kernel {
                Some(given) => BccKernel {
                    vmlinux_h: given.vmlinux_h.into(),
                    version: given.version,
                    arch: arch(given.arm64),
                    kconfig: given.kconfig,
                    tracepoints: Arc::new(|_, _| None),
                },
                None => self.kernel.get_or_init(&self.make).clone()?,
            };
            let missed = Arc::clone(&missed);
            let kernel = kernel.tracepoints(move |category, event| {
                let asked = (category.to_owned(), event.to_owned());
                if let Some(answer) = formats.get(&asked) {
                    return answer.clone();
                }
                missed.lock().unwrap_or_else(PoisonError::into_inner).insert(asked);
                None
            });
            Text::of_source(request.compile).compile_here(&kernel)
        });
        // What was made without them may be wrong even where it compiled.
        let missed = std::mem::take(&mut *missed.lock().unwrap_or_else(PoisonError::into_inner));
        match outcome {
            _ if !missed.is_empty() => (Reply::Need(missed.into_iter().collect()), Vec::new()),
            Ok(Compiled { object, cached }) => (Reply::Object { cached }, object),
            Err(error) => (Reply::Error(error), Vec::new()),
        }
    }
}

fn refused(why: &str) -> CompileError {
    CompileError::Host { why: format!("the request was refused: {why}") }
}

impl fmt::Debug for HostCompiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostCompiler").field("kernel", &self.kernel).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(request: &str) -> String {
        let host = HostCompiler::new(|| Err(CompileError::NoTypes));
        String::from_utf8(host.answer(request.as_bytes())).unwrap()
    }

    fn request(version: u32, flag: &str, text: &str) -> String {
        serde_json::json!({
            "version": version,
            "compile": { "name": "x.c", "text": text, "quote_dir": null, "cflags": [flag], "readers": "",
                "files": { "cwd": "/", "texts": {} } },
            "kernel": null,
            "tracepoints": [],
        })
        .to_string()
    }

    #[test]
    fn what_is_not_understood_or_not_allowed_is_refused_with_the_reason() {
        for (request, words) in [
            ("{".to_owned(), "not understood"),
            (request(99, "-DX", ""), "version 99"),
            (request(VERSION, "-fplugin=/tmp/x.so", ""), "-fplugin=/tmp/x.so"),
            (request(VERSION, "-DX", ""), "NoTypes"),
        ] {
            let reply = answer(&request);
            assert!(reply.starts_with(r#"{"error":"#) && reply.contains(words), "{reply}");
        }
    }
}
