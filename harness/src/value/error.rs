//! What can be wrong with a value or its type.

use bpf_vm_shim::btf::BtfError;

/// Bytes and type, or value and type, do not fit each other.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The value does not become the type that is asked for.
    #[error("it is not of that type: {why}")]
    NotThatType {
        /// Why.
        why: String,
    },
    /// The types themselves are broken.
    #[error("{path}: {source}")]
    Btf {
        /// The member, from the outermost type.
        path: String,
        /// What is wrong.
        source: BtfError,
    },
    /// Fewer bytes than the type needs.
    #[error("{path}: '{ty}' needs {need} bytes, there are {have}")]
    TooShort {
        /// The member, from the outermost type.
        path: String,
        /// The type in C.
        ty: String,
        /// Bytes needed.
        need: u64,
        /// Bytes there.
        have: u64,
    },
    /// A value of the wrong kind for the type.
    #[error("{path}: {value} does not fit '{ty}'{hint}")]
    Mismatch {
        /// The member, from the outermost type.
        path: String,
        /// The value, in short.
        value: String,
        /// The type in C.
        ty: String,
        /// What would fit, with its own separator; may be empty.
        hint: String,
    },
    /// The structure has no such member.
    #[error("{path}: '{ty}' has no member '{member}'; its members: {members}")]
    NoMember {
        /// The structure, from the outermost type.
        path: String,
        /// The type in C.
        ty: String,
        /// The name that was given.
        member: String,
        /// The names there are.
        members: String,
    },
    /// Structures nested too deeply to be real.
    #[error("{path}: nested more than {limit} levels deep")]
    TooDeep {
        /// The member, from the outermost type.
        path: String,
        /// The limit.
        limit: u32,
    },
    /// A value of more bytes than anyone can look at.
    #[error("{path}: '{ty}' of {size} bytes is over the limit of {limit}")]
    TooLarge {
        /// The member, from the outermost type.
        path: String,
        /// The type in C.
        ty: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
}
