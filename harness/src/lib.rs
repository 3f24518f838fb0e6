//! Test compiled BPF programs as ordinary `cargo test` cases.

pub mod annotations;
mod bpf;
pub mod cli;
mod error;
pub mod hist;
pub mod report;
pub mod scenario;
mod support;
pub mod table;
pub mod value;

pub use bpf::{Bpf, BpfBuilder, Event, Fired, Input, Point, RunReport};
pub use error::Error;
