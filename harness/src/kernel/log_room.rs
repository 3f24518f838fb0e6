//! Room for the verifier's log, which costs nothing until something is written there.

use std::ptr::NonNull;

/// The most that a kernel may write for one program.
const SIZE: usize = 16 << 20;

/// A mapping of zeros. An allocator would clear memory that it has used before, for every program of every object.
#[derive(Debug)]
pub(super) struct LogRoom(NonNull<u8>);

impl LogRoom {
    /// `None` if there is no address space for it.
    pub(super) fn new() -> Option<Self> {
        // SAFETY: a new mapping, wherever the kernel likes.
        let at = unsafe {
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), SIZE, protection, flags, -1, 0)
        };
        if at == libc::MAP_FAILED { None } else { NonNull::new(at.cast()).map(Self) }
    }

    /// Where it is.
    pub(super) const fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_ptr()
    }

    pub(super) const fn size(&self) -> usize {
        SIZE
    }

    /// What was written, up to the first zero.
    pub(super) fn text(&self) -> &[u8] {
        // SAFETY: the mapping is ours, has this size, and is written to only while `as_mut_ptr` is in use by a load.
        let all = unsafe { std::slice::from_raw_parts(self.0.as_ptr(), SIZE) };
        all.split(|b| *b == 0).next().unwrap_or_default()
    }
}

impl Drop for LogRoom {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

#[cfg(test)]
mod tests {
    use super::LogRoom;

    #[test]
    fn it_is_empty_until_it_is_written() {
        let mut room = LogRoom::new().unwrap();
        assert_eq!(room.text(), b"");
        // SAFETY: the first bytes of a mapping that nobody else uses.
        unsafe { std::ptr::copy_nonoverlapping(c"R0".as_ptr().cast(), room.as_mut_ptr(), 3) };
        assert_eq!(room.text(), b"R0");
    }
}
