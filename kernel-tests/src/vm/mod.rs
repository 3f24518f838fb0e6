//! Virtual machines: a program of this host runs as root on another kernel, and nothing of the host can be written.
//!
//! [`Qemu::find`] finds the emulator, a [`Machine`] is the hardware and the kernel, a [`Job`] is the program with what it
//! needs, [`run`] gives a [`Report`] or a [`VmError`] that names what went wrong.
//!
//! The guest's files are one initramfs: our init (`guest/`), the program, its loader and libraries as the host has them,
//! and what was brought along. The machine is of the kernel's architecture ([`Machine::arch`]): another one than the host's is
//! emulated, and the program's loader and libraries come from a cross compiler's folder ([`Job::sysroot`]). Host and guest talk over one channel (`protocol.rs`); the console carries the kernel's
//! messages only, and tells why a guest ended when it did not end well.

mod accel;
mod console;
mod debug_info;
mod error;
mod guest;
mod hardware;
mod input;
mod job;
mod keeper;
mod ld_cache;
mod libraries;
mod needs;
mod outbox;
mod process;
#[allow(dead_code, reason = "this file is the guest's too, which uses the other half")]
mod protocol;
#[cfg(test)]
mod protocol_tests;
mod qemu;
mod qmp;
mod results;
mod roots;
mod script;
mod service;
mod session;
#[cfg(test)]
mod session_tests;
mod signals;
mod snapshot;
mod sparse;
mod standard;
mod start;
mod tree;
mod warm;
#[cfg(test)]
mod warm_tests;

pub use accel::choose as choose_accel;
pub use error::VmError;
pub use guest::{guest_variable, has_guest};
pub use input::{AtStart, Input};
pub use job::Job;
pub use qemu::{Accel, Link, Machine, QEMU_VARIABLE, Qemu};
pub use service::Service;
pub use session::{Output, Report, run};
pub use signals::Signals;
