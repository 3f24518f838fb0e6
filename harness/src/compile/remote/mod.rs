//! Texts of a guest, compiled by its host: in a virtual machine of `bpf-vm` there is no clang.
//!
//! A guest reaches its host through the unix socket that `BPF_VM_HOST_SOCKET` names; a connection carries one request and
//! its reply, each a length (u32, little endian) and that many bytes. A request is JSON; a reply is a line
//! of JSON and, where there is one, the object.
//!
//! The host knows the kernel that it booted, so types, version and configuration stay there. What it does not know is the
//! formats of tracepoints: it says which ones the text needs, and is asked again with them.
//!
//! [`HostCompiler`] is the host's side. The guest's is [`Text::compile`](super::bcc::Text::compile), with the kernel that
//! [`booted_kernel`] gives.

mod flags;
mod guest;
mod host;
mod types;

pub(super) use guest::{compile, socket};

pub use guest::booted_kernel;
pub use host::HostCompiler;
pub use types::types_of_file;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bpf_vm_shim::object::Arch;
use serde::{Deserialize, Serialize};

use super::error::CompileError;
use super::overlay::Files;

/// Changes whenever a message changes.
const VERSION: u32 = 1;
/// A longer message is refused.
const MAX_MESSAGE: usize = 64 << 20;

/// What the guest asks.
#[derive(Serialize, Deserialize, Debug)]
struct Request {
    version: u32,
    compile: Source,
    /// The kernel to compile for, if it is not the one that the guest runs.
    kernel: Option<Kernel>,
    /// Tracepoints, by category and event, and their formats, if the guest's kernel has them.
    tracepoints: Vec<(String, String, Option<String>)>,
}

/// A text.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) quote_dir: Option<PathBuf>,
    pub(super) cflags: Vec<String>,
    /// C functions that read arguments of USDT probes.
    pub(super) readers: String,
    /// What the text includes and the host may not have.
    pub(super) files: Files,
}

/// A kernel whose types the guest has.
#[derive(Serialize, Deserialize, Debug)]
struct Kernel {
    vmlinux_h: String,
    version: u32,
    arm64: bool,
    kconfig: BTreeMap<String, String>,
}

/// What the host answers; the object of [`Reply::Object`] follows.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
enum Reply {
    Object {
        cached: bool,
    },
    /// These tracepoints were asked for and nothing was said about them.
    Need(Vec<(String, String)>),
    Error(CompileError),
}

const fn arch(arm64: bool) -> Arch {
    if arm64 { Arch::Arm64 } else { Arch::X86_64 }
}
