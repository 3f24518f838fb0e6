//! The second tier: the same test functions on real kernels.
//!
//! * [`kernels`] finds, fetches and takes apart kernel images: [`kernels::Spec`] says which, [`kernels::Kernels`] gets
//!   them, a [`kernels::KernelImage`] is what a virtual machine boots.
//! * [`vm`] boots one and runs a program of the host in it.
//! * `verify` (feature `kernel`) loads objects on many kernels and compares what their verifiers say.
//! * [`compiler`] is the host's clang, for programs in there that have C to compile.
//! * [`cli`] is the tool `bpf-vm`.
//!
//! Nothing in the other crates depends on this one, and none of them needs QEMU or root.

#![forbid(unsafe_code)]

pub mod cli;
pub mod compiler;
pub mod kernels;
#[cfg(feature = "kernel")]
pub mod verify;
pub mod vm;
