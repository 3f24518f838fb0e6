//! Numbers as system calls take them.

/// An address as a system call's argument. Actors share the address space, so it means the same to them.
pub(super) fn addr<T: ?Sized>(pointer: *const T) -> usize {
    pointer.cast::<u8>() as usize
}

/// A descriptor or other small number as a system call's argument: the kernel takes the low 32 bits.
pub(super) fn word(value: i32) -> usize {
    value.cast_unsigned() as usize
}
