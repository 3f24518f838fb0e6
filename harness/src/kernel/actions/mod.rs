//! Stimuli as they are really performed: the system calls that their expansions tell of, and no others that matter.
//!
//! Everything is done by the calling thread, with the bare system calls, so that no library adds calls of its own; a
//! child does nothing but its own system calls between `clone` and its end, since it is a copy of a process that may
//! have had other threads.

mod call;
mod cpu;
mod disk;
mod file;
mod memory;
mod net;
mod packet;
mod process;
mod shared;
mod signal;

pub(crate) use call::acted;
pub(crate) use cpu::stay;
pub(crate) use disk::read_disk;
pub(crate) use file::{open_missing, read_file, sync, write_file};
pub(crate) use memory::{page_fault, strlen};
pub(crate) use net::{tcp, udp};
pub(crate) use packet::packet;
pub(crate) use process::{busy, exec, fork, sleep, thread};
pub(crate) use signal::kill;
