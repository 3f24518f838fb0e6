//! User memory of the tasks: pages of the test's process, which the actors share.

use std::collections::BTreeMap;
use std::io;

use super::error::ActorError;

const PAGE: usize = 4096;

/// Bytes that a test placed. Each lot has pages of its own, so that what runs past them meets what it would elsewhere: zeros
/// up to the page's end, and then nothing.
#[derive(Debug, Default)]
pub(super) struct Arena {
    /// Length, in whole pages, by address; and the length of all that is mapped there.
    lots: BTreeMap<usize, (usize, usize)>,
}

impl Arena {
    /// Puts bytes at a fresh address.
    pub(super) fn place(&mut self, bytes: &[u8]) -> Result<u64, ActorError> {
        self.map(0, bytes).map(|addr| addr as u64)
    }

    /// Puts bytes at a chosen address, where nothing or an earlier lot is.
    pub(super) fn place_at(&mut self, addr: u64, bytes: &[u8]) -> Result<(), ActorError> {
        let refused = |why: &str| ActorError::Memory { addr, len: bytes.len(), why: why.to_owned() };
        let at = usize::try_from(addr).map_err(|_| refused("it is no address"))?;
        if at == 0 {
            return Err(refused("it is no address"));
        }
        if self.lot(at, bytes.len()).is_none() {
            self.map(at, bytes)?;
            return Ok(());
        }
        self.store(at, bytes);
        Ok(())
    }

    /// The bytes at an address, if all of them are in one lot.
    #[cfg(test)]
    pub(super) fn read(&self, addr: u64, len: usize) -> Option<Vec<u8>> {
        let at = usize::try_from(addr).ok()?;
        self.lot(at, len)?;
        let mut out = vec![0u8; len];
        // SAFETY: the range is inside a mapping of this value. No actor writes meanwhile: they work while their caller
        // waits.
        unsafe { std::ptr::copy_nonoverlapping(at as *const u8, out.as_mut_ptr(), len) };
        Some(out)
    }

    fn lot(&self, at: usize, len: usize) -> Option<usize> {
        let (start, (size, _)) = self.lots.range(..=at).next_back()?;
        (at.checked_add(len)? <= start + size).then_some(*start)
    }

    /// Maps pages for the bytes: at a chosen place, or anywhere if `at` is 0.
    fn map(&mut self, at: usize, bytes: &[u8]) -> Result<usize, ActorError> {
        let first = at - at % PAGE;
        let refused = |why: String| ActorError::Memory { addr: at as u64, len: bytes.len(), why };
        let end = at
            .checked_add(bytes.len().max(1))
            .ok_or_else(|| refused("it ends past all memory".to_owned()))?;
        let size = (end - first).next_multiple_of(PAGE);
        // A page that nobody may read keeps what is mapped next from being the end of this.
        let mapped = if at == 0 { size + PAGE } else { size };
        let fixed = if at == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
        // Populated: a program cannot wait for a page.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE | fixed;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping; with `MAP_FIXED_NOREPLACE` the kernel refuses one over another.
        let base = unsafe { libc::mmap(first as *mut libc::c_void, mapped, access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            let e = io::Error::last_os_error();
            return Err(refused(match e.raw_os_error() {
                Some(libc::EEXIST) => {
                    "the test's process has something else there; let the harness choose the \
                                       address"
                        .to_owned()
                }
                Some(libc::EPERM) => {
                    "the kernel keeps the lowest addresses free (vm.mmap_min_addr)".to_owned()
                }
                _ => e.to_string(),
            }));
        }
        if mapped > size {
            // SAFETY: the last page of the mapping that was just made.
            unsafe { libc::mprotect(base.byte_add(size), PAGE, libc::PROT_NONE) };
        }
        self.lots.insert(base as usize, (size, mapped));
        let at = if at == 0 { base as usize } else { at };
        self.store(at, bytes);
        Ok(at)
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: the range is inside a mapping of this value, which no Rust reference points into.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for (addr, (_, mapped)) in &self.lots {
            // SAFETY: the mapping is this value's, and nothing refers to it any more.
            unsafe {
                libc::munmap(*addr as *mut libc::c_void, *mapped);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;

    #[test]
    fn placed_bytes_have_pages_of_their_own_and_a_chosen_address_may_not_be_taken() {
        let mut arena = Arena::default();
        let addr = arena.place(b"path\0").unwrap();
        assert_eq!((addr % 4096, arena.read(addr, 6)), (0, Some(b"path\0\0".to_vec())));
        assert_eq!(arena.read(addr + 4090, 7), None);

        let chosen = 0x1234_5678_9000u64;
        arena.place_at(chosen + 5, b"abc").unwrap();
        arena.place_at(chosen + 6, b"X").unwrap();
        assert_eq!(arena.read(chosen + 5, 3).unwrap(), b"aXc");
        let taken = Arena::default().place_at(chosen, b"y").unwrap_err().to_string();
        assert!(taken.contains("has something else there"), "{taken}");
        assert!(arena.place_at(0, b"").is_err() && arena.place_at(u64::MAX, b"abc").is_err());
    }
}
