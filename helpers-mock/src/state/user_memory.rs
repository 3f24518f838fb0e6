//! A task's user memory: sparse, in pages; what is in no page faults.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

const PAGE: u64 = 4096;

type Page = [u8; PAGE as usize];

/// An address that is not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("user address {addr:#x} is not mapped")]
pub struct UserFault {
    /// The first such address.
    pub addr: u64,
}

/// The address space of one process. Copies share all pages until one of them writes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserMemory {
    pages: BTreeMap<u64, Arc<Page>>,
    next: u64,
}

impl fmt::Debug for UserMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserMemory").field("pages", &self.pages.len()).finish_non_exhaustive()
    }
}

/// The end of user addresses (`TASK_SIZE_MAX` of x86-64 with four levels of page tables).
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;
/// Where [`UserMemory::place`] puts its first bytes.
const HEAP: u64 = 0x5555_5555_6000;

impl UserMemory {
    /// Nothing mapped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps zeroed pages over a range; pages that are there stay as they are.
    ///
    /// # Errors
    /// If the range leaves the user half of the address space.
    pub fn map(&mut self, addr: u64, len: u64) -> Result<(), UserFault> {
        check(addr, len)?;
        for page in addr / PAGE..(addr + len).div_ceil(PAGE) {
            self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE as usize]));
        }
        Ok(())
    }

    /// Takes away every page that the range touches.
    pub fn unmap(&mut self, addr: u64, len: u64) {
        let end = addr.saturating_add(len).div_ceil(PAGE);
        let gone: Vec<u64> = self.pages.range(addr / PAGE..end).map(|(p, _)| *p).collect();
        for page in gone {
            self.pages.remove(&page);
        }
    }

    /// Whether a byte is mapped.
    #[must_use]
    pub fn is_mapped(&self, addr: u64) -> bool {
        self.pages.contains_key(&(addr / PAGE))
    }

    /// Writes as the test does: pages that are missing are mapped.
    ///
    /// # Errors
    /// As [`UserMemory::map`].
    pub fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), UserFault> {
        self.map(addr, data.len() as u64)?;
        self.store(addr, data)
    }

    /// Puts bytes at a fresh address, at the start of pages of their own, and gives the address.
    ///
    /// # Errors
    /// If the address space is full.
    pub fn place(&mut self, data: &[u8]) -> Result<u64, UserFault> {
        let mut at = self.next.max(HEAP);
        let span = (data.len() as u64).max(1).next_multiple_of(PAGE) + PAGE;
        while self.pages.range(at / PAGE..(at + span) / PAGE).next().is_some() {
            at += span;
        }
        self.map(at, (data.len() as u64).max(1))?;
        self.store(at, data)?;
        self.next = at + span;
        Ok(at)
    }

    /// Writes as the program or the kernel does: nothing is written if a byte is not mapped.
    ///
    /// # Errors
    /// The first address that is not mapped.
    pub fn store(&mut self, addr: u64, data: &[u8]) -> Result<(), UserFault> {
        self.mapped(addr, data.len() as u64)?;
        let mut at = addr;
        let mut rest = data;
        while !rest.is_empty() {
            let off = (at % PAGE) as usize;
            let n = rest.len().min(PAGE as usize - off);
            let (now, later) = rest.split_at(n);
            let page = self.pages.get_mut(&(at / PAGE)).ok_or(UserFault { addr: at })?;
            Arc::make_mut(page)[off..off + n].copy_from_slice(now);
            at += n as u64;
            rest = later;
        }
        Ok(())
    }

    /// Reads a range.
    ///
    /// # Errors
    /// The first address that is not mapped; `out` is filled up to there.
    pub fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), UserFault> {
        let mut done = 0;
        while done < out.len() {
            let at = addr.wrapping_add(done as u64);
            let page = self.pages.get(&(at / PAGE)).ok_or(UserFault { addr: at })?;
            let off = (at % PAGE) as usize;
            let n = (out.len() - done).min(PAGE as usize - off);
            out[done..done + n].copy_from_slice(&page[off..off + n]);
            done += n;
        }
        Ok(())
    }

    fn mapped(&self, addr: u64, len: u64) -> Result<(), UserFault> {
        check(addr, len)?;
        let missing = (addr / PAGE..(addr + len).div_ceil(PAGE)).find(|p| !self.pages.contains_key(p));
        match missing {
            Some(page) => Err(UserFault { addr: addr.max(page * PAGE) }),
            None => Ok(()),
        }
    }
}

fn check(addr: u64, len: u64) -> Result<(), UserFault> {
    match addr.checked_add(len) {
        // Mapping is page by page, so a request is bounded too: 4 GiB.
        Some(end) if end <= TASK_SIZE && len <= 1 << 32 => Ok(()),
        _ => Err(UserFault { addr }),
    }
}

#[cfg(test)]
mod tests {
    use super::{TASK_SIZE, UserFault, UserMemory};

    #[test]
    fn only_mapped_pages_can_be_read() {
        let mut m = UserMemory::new();
        m.write(0x1ffe, b"abcd").unwrap();
        let mut four = [0; 4];
        m.read(0x1ffe, &mut four).unwrap();
        assert_eq!(&four, b"abcd");
        assert_eq!(m.read(0x2ffe, &mut four), Err(UserFault { addr: 0x3000 }));
        assert_eq!(m.store(0x2ffe, b"xxxx"), Err(UserFault { addr: 0x3000 }));
        m.read(0x2ffc, &mut four).unwrap();
        assert_eq!(four, [0; 4], "a store that faults writes nothing");
        assert!(m.map(TASK_SIZE - 1, 2).is_err());
        m.unmap(0x1000, 1);
        assert!(!m.is_mapped(0x1fff) && m.is_mapped(0x2000));
    }

    #[test]
    fn placed_bytes_do_not_touch() {
        let mut m = UserMemory::new();
        let (a, b) = (m.place(b"one\0").unwrap(), m.place(b"two\0").unwrap());
        assert!(b > a && !m.is_mapped(b - 1));
        let before = m.clone();
        m.store(a, b"ONE").unwrap();
        let mut three = [0; 3];
        before.read(a, &mut three).unwrap();
        assert_eq!(&three, b"one", "a copy keeps what it had");
    }
}
