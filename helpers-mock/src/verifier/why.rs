//! Why a program is refused, as stable identifiers.

/// A reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// An atomic operation on memory that takes none.
    Atomic,
    /// Calls nested too deep, or in a circle.
    CallDepth,
    /// A field that the context does not have, or not in this way.
    CtxAccess,
    /// A division by the constant zero.
    DivByZero,
    /// Exceptions where they cannot be thrown, or a callback of the wrong form.
    Exception,
    /// A write to the frame pointer.
    FramePointer,
    /// An argument of the wrong kind for a global function, or a parameter that none can have.
    FunctionArgument,
    /// An argument of the wrong kind for a helper.
    HelperArgument,
    /// A loop that changes nothing.
    InfiniteLoop,
    /// A dereference of what is no pointer, or of one that cannot be followed.
    InvalidMemAccess,
    /// A shift by a constant out of range.
    InvalidShift,
    /// An argument of the wrong kind for a kernel function.
    KfuncArgument,
    /// A pointer to a kernel object in a map value, used in the wrong way.
    Kptr,
    /// Locks taken or released in the wrong way, or something that cannot be done under one.
    Lock,
    /// A misaligned access to the stack.
    MisalignedStack,
    /// A call or instruction that is not for this program, or not in this place.
    NotAllowed,
    /// A dereference of what may be null.
    NullDeref,
    /// An access outside of memory of known size.
    OutOfBounds,
    /// Arithmetic that a pointer does not survive.
    PointerArithmetic,
    /// A write to memory that programs can only read.
    ReadOnlyWrite,
    /// A result that a program or function of this kind must not give.
    ReturnValue,
    /// A load or store of a field that only calls may touch.
    SpecialField,
    /// An access outside of the stack.
    StackAccess,
    /// A dynptr, iterator or saved flag on the stack, used in the wrong way.
    StackObject,
    /// Frames too large together.
    StackSize,
    /// A critical section that is not ended, or not begun.
    UnbalancedRegion,
    /// A register that has not been written.
    UninitRegister,
    /// What the compiler made of an uninitialised variable.
    UninitVariable,
    /// A reference that is still held at the end.
    UnreleasedReference,
    /// A read from a map that programs can only write.
    WriteOnlyRead,
}

impl Why {
    /// All of them.
    pub(super) const ALL: &[Self] = &[
        Self::Atomic,
        Self::CallDepth,
        Self::CtxAccess,
        Self::DivByZero,
        Self::Exception,
        Self::FramePointer,
        Self::FunctionArgument,
        Self::HelperArgument,
        Self::InfiniteLoop,
        Self::InvalidMemAccess,
        Self::InvalidShift,
        Self::KfuncArgument,
        Self::Kptr,
        Self::Lock,
        Self::MisalignedStack,
        Self::NotAllowed,
        Self::NullDeref,
        Self::OutOfBounds,
        Self::PointerArithmetic,
        Self::ReadOnlyWrite,
        Self::ReturnValue,
        Self::SpecialField,
        Self::StackAccess,
        Self::StackObject,
        Self::StackSize,
        Self::UnbalancedRegion,
        Self::UninitRegister,
        Self::UninitVariable,
        Self::UnreleasedReference,
        Self::WriteOnlyRead,
    ];

    /// The identifier that a refusal carries.
    pub(super) const fn id(self) -> &'static str {
        match self {
            Self::Atomic => "atomic",
            Self::CallDepth => "call-depth",
            Self::CtxAccess => "ctx-access",
            Self::DivByZero => "div-by-zero",
            Self::Exception => "exception",
            Self::FramePointer => "frame-pointer",
            Self::FunctionArgument => "function-argument",
            Self::HelperArgument => "helper-argument",
            Self::InfiniteLoop => "infinite-loop",
            Self::InvalidMemAccess => "invalid-mem-access",
            Self::InvalidShift => "invalid-shift",
            Self::KfuncArgument => "kfunc-argument",
            Self::Kptr => "kptr",
            Self::Lock => "lock",
            Self::MisalignedStack => "misaligned-stack",
            Self::NotAllowed => "not-allowed",
            Self::NullDeref => "null-deref",
            Self::OutOfBounds => "out-of-bounds",
            Self::PointerArithmetic => "pointer-arithmetic",
            Self::ReadOnlyWrite => "read-only-write",
            Self::ReturnValue => "return-value",
            Self::SpecialField => "special-field",
            Self::StackAccess => "stack-access",
            Self::StackObject => "stack-object",
            Self::StackSize => "stack-size",
            Self::UnbalancedRegion => "unbalanced-region",
            Self::UninitRegister => "uninit-register",
            Self::UninitVariable => "uninit-variable",
            Self::UnreleasedReference => "unreleased-reference",
            Self::WriteOnlyRead => "write-only-read",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Why;

    #[test]
    fn every_reason_has_an_identifier_of_its_own() {
        let ids: BTreeSet<&str> = Why::ALL.iter().map(|w| w.id()).collect();
        assert_eq!(ids.len(), Why::ALL.len());
        assert_eq!(Why::ALL.len(), Why::WriteOnlyRead as usize + 1, "the list has all of the enum");
    }
}
