//! Why an object cannot be built or read.

use bpf_vm_shim::btf::BtfError;
use bpf_vm_shim::mem::MemError;

/// An object could not be built or read.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// There is no BTF to lay objects out by.
    #[error("there are no types to build '{name}' by: give the kernel a BTF, or load an object that has one")]
    NoTypes {
        /// The type asked for.
        name: String,
    },
    /// The BTF has no such type.
    #[error("the kernel's BTF has no type '{name}'")]
    NoType {
        /// The type asked for.
        name: String,
    },
    /// A structure has no such member.
    #[error("'{path}': {ty} has no member '{member}'")]
    NoMember {
        /// The whole path.
        path: String,
        /// The structure.
        ty: String,
        /// The member asked for.
        member: String,
    },
    /// A path goes on where nothing can follow, or is malformed.
    #[error("'{path}': {why}")]
    Path {
        /// The whole path.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A value does not go with the type at the path's end.
    #[error("'{path}': {why}")]
    Value {
        /// The whole path.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// A pointer on the way is null or leads nowhere.
    #[error("'{path}': the pointer '{at}' is {addr:#x}, where no kernel object is")]
    Pointer {
        /// The whole path.
        path: String,
        /// The part of the path up to the pointer.
        at: String,
        /// Its value.
        addr: u64,
    },
    /// The BTF is broken.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// No memory.
    #[error(transparent)]
    Memory(#[from] MemError),
}
