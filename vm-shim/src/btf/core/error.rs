//! Why a relocation is refused (as opposed to unresolvable).

use super::super::{BtfError, TypeId};

/// A relocation that cannot be right, whatever the target is. libbpf refuses the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// A type of the object or the target is broken.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The access string makes no sense for the type.
    #[error("CO-RE: [{type_id}] {type_name}: bad access string {access:?}: {why}")]
    BadAccess {
        /// Root type in the object.
        type_id: TypeId,
        /// It in C.
        type_name: String,
        /// The access string.
        access: String,
        /// What is wrong with it.
        why: String,
    },
    /// A kind that is not known, or does not fit the place.
    #[error("CO-RE: {spec}: {why}")]
    Unsupported {
        /// What was to be relocated.
        spec: String,
        /// Why it is not supported.
        why: String,
    },
    /// Several types of the target match and disagree.
    #[error("CO-RE: {spec}: ambiguous: {first} and {second} disagree")]
    Ambiguous {
        /// What was to be relocated.
        spec: String,
        /// The first match.
        first: String,
        /// The match that disagrees.
        second: String,
    },
    /// The instruction is not what the relocation describes.
    #[error("CO-RE: instruction {insn}: {why}")]
    BadInsn {
        /// Index of the instruction slot.
        insn: usize,
        /// What is wrong.
        why: String,
    },
}
