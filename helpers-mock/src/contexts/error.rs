//! Why a context cannot be built.

use bpf_vm_shim::mem::MemError;
use bpf_vm_shim::object::ProgType;

use crate::objects::ObjectError;
use crate::progs::ProgId;

/// A context could not be built.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// No such program.
    #[error("there is no program number {}", .0.0)]
    NoProgram(ProgId),
    /// No memory.
    #[error(transparent)]
    Memory(#[from] MemError),
    /// An object that the context points to.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// More bytes than an allocation may have.
    #[error("a packet or context of {0} bytes is too large")]
    TooLarge(usize),
    /// More arguments than the calling convention passes.
    #[error("{given} arguments given, at most {max} are passed")]
    TooManyArgs {
        /// How many were given.
        given: usize,
        /// How many there can be.
        max: usize,
    },
    /// A tracepoint has no such field.
    #[error("tracepoint '{event}' has no field '{field}'; it has: {has}")]
    NoField {
        /// The event.
        event: String,
        /// The field asked for.
        field: String,
        /// The fields that there are.
        has: String,
    },
    /// A value does not go into a tracepoint's field.
    #[error("tracepoint '{event}', field '{field}': {why}")]
    FieldValue {
        /// The event.
        event: String,
        /// The field.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// A tracepoint's format file is malformed.
    #[error("line {line} of the tracepoint's format: {why}")]
    Format {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The types have no record of a tracepoint.
    #[error("the kernel's BTF has no 'struct {0}', so the tracepoint's record is not known: give its format")]
    NoLayout(String),
    /// A packet shorter than an Ethernet header (`-EINVAL` of a test run).
    #[error("a packet of {0} bytes is shorter than an Ethernet header (14 bytes)")]
    PacketTooShort(usize),
    /// Packet metadata that the kernel refuses.
    #[error("packet metadata of {0} bytes: it must be a multiple of 4, at most 252")]
    PacketMeta(usize),
    /// The program's context holds no packet.
    #[error("programs of type {0} have no packet of this kind")]
    NoPacket(ProgType),
    /// Anything else that does not fit the program.
    #[error("{0}")]
    Unfit(String),
}
