//! The guest's side.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpf_vm_shim::object::Arch;

use super::super::bcc::{BccKernel, Compiled, Text};
use super::super::error::CompileError;
use super::{Kernel, MAX_MESSAGE, Reply, Request, VERSION};
use crate::profile::tracepoints::Tracepoints;

/// Names the socket.
const VARIABLE: &str = "BPF_VM_HOST_SOCKET";
/// Each round brings tracepoints that the last one missed.
const MAX_ROUNDS: usize = 32;

/// Where the host is, if this is a guest.
pub(in crate::compile) fn socket() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The kernel that this guest of `bpf-vm` runs, whose types its host knows; `None` if this is no guest.
#[must_use]
pub fn booted_kernel() -> Option<BccKernel> {
    socket()?;
    let tracepoints = Tracepoints::of_tracefs().unwrap_or_else(Tracepoints::none);
    Some(BccKernel {
        vmlinux_h: Arc::from(""),
        version: 0,
        arch: crate::profile::RUNNING_ARCH,
        kconfig: BTreeMap::new(),
        tracepoints: Arc::new(move |category, event| tracepoints.text(category, event)),
    })
}

/// Has the host compile a text.
pub(in crate::compile) fn compile(
    socket: &Path,
    text: &Text,
    kernel: &BccKernel,
) -> Result<Compiled, CompileError> {
    let mut known: BTreeSet<_> = text.tracepoints();
    let mut request = Request {
        version: VERSION,
        compile: text.to_source(kernel.arch)?,
        kernel: given(kernel),
        tracepoints: known.iter().map(|asked| format(kernel, asked)).collect(),
    };
    for _ in 0..MAX_ROUNDS {
        let (reply, object) = ask(socket, &request)?;
        match reply {
            Reply::Object { cached } => return Ok(Compiled { object, cached }),
            Reply::Error(error) => return Err(error),
            Reply::Need(needed) => {
                let new: Vec<_> = needed.into_iter().filter(|asked| known.insert(asked.clone())).collect();
                if new.is_empty() {
                    return Err(broken("the host asks for the same tracepoints again"));
                }
                request.tracepoints.extend(new.iter().map(|asked| format(kernel, asked)));
            }
        }
    }
    Err(broken("the host asks for ever more tracepoints"))
}

fn format(kernel: &BccKernel, (category, event): &(String, String)) -> (String, String, Option<String>) {
    (category.clone(), event.clone(), (kernel.tracepoints)(category, event))
}

fn given(kernel: &BccKernel) -> Option<Kernel> {
    (!kernel.vmlinux_h.is_empty()).then(|| Kernel {
        vmlinux_h: kernel.vmlinux_h.to_string(),
        version: kernel.version,
        arm64: matches!(kernel.arch, Arch::Arm64),
        kconfig: kernel.kconfig.clone(),
    })
}

fn ask(socket: &Path, request: &Request) -> Result<(Reply, Vec<u8>), CompileError> {
    let request = serde_json::to_vec(request).map_err(broken)?;
    let reply = exchange(socket, &request).map_err(broken)?;
    let end = reply.iter().position(|byte| *byte == b'\n');
    let (head, object) = reply.split_at(end.ok_or_else(|| broken("the host did not answer"))?);
    let head = serde_json::from_slice(head).map_err(broken)?;
    Ok((head, object.get(1..).unwrap_or_default().to_vec()))
}

fn exchange(socket: &Path, request: &[u8]) -> io::Result<Vec<u8>> {
    let too_long = || io::Error::other("the message is too long");
    let length = u32::try_from(request.len()).ok().filter(|_| request.len() <= MAX_MESSAGE);
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&length.ok_or_else(too_long)?.to_le_bytes())?;
    stream.write_all(request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(too_long());
    }
    let mut reply = vec![0; length];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

fn broken(why: impl ToString) -> CompileError {
    CompileError::Host { why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn kernel() -> BccKernel {
        BccKernel {
            vmlinux_h: Arc::from(""),
            version: 0,
            arch: Arch::X86_64,
            kconfig: BTreeMap::new(),
            tracepoints: Arc::new(|category, event| (category == "a").then(|| format!("format of {event}"))),
        }
    }

    /// A host that answers so, and what it was asked.
    fn host(replies: &[&str], text: &str) -> (Result<Compiled, CompileError>, Vec<Request>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::scope(|scope| {
            let asked = scope.spawn(move || {
                let mut asked = Vec::new();
                for reply in replies {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut length = [0; 4];
                    stream.read_exact(&mut length).unwrap();
                    let mut request = vec![0; u32::from_le_bytes(length) as usize];
                    stream.read_exact(&mut request).unwrap();
                    asked.push(serde_json::from_slice(&request).unwrap());
                    stream.write_all(&(reply.len() as u32).to_le_bytes()).unwrap();
                    stream.write_all(reply.as_bytes()).unwrap();
                }
                asked
            });
            let compiled = compile(&path, &Text::new(text), &kernel());
            (compiled, asked.join().unwrap())
        })
    }

    #[test]
    fn what_the_host_needs_is_sent_with_the_next_request() {
        let replies =
            ["{\"need\":[[\"a\",\"x\"],[\"b\",\"y\"]]}\n", "{\"object\":{\"cached\":true}}\n\x7fELF\n"];
        let (compiled, asked) = host(&replies, "TRACEPOINT_PROBE(a, z) {}");
        assert_eq!(compiled.unwrap(), Compiled { object: b"\x7fELF\n".to_vec(), cached: true });
        let texts = |request: &Request| -> Vec<_> {
            request.tracepoints.iter().map(|(c, e, text)| format!("{c}:{e} {text:?}")).collect()
        };
        assert_eq!(texts(&asked[0]), ["a:z Some(\"format of z\")"]);
        assert_eq!(texts(&asked[1])[1..], ["a:x Some(\"format of x\")", "b:y None"]);
    }

    #[test]
    fn a_host_that_makes_no_sense_is_an_error() {
        for replies in [
            &["{\"need\":[[\"a\",\"z\"]]}\n"] as &[&str],
            &["{\"need\":[]}\n"],
            &["no line"],
            &["nonsense\n"],
            &[""],
        ] {
            let (compiled, _) = host(replies, "TRACEPOINT_PROBE(a, z) {}");
            assert!(matches!(compiled, Err(CompileError::Host { .. })), "{replies:?} {compiled:?}");
        }
        assert!(matches!(
            compile(Path::new("/nowhere"), &Text::new(""), &kernel()),
            Err(CompileError::Host { .. })
        ));
    }
}
