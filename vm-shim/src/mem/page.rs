//! One page of guest memory and its shadow, and the translation cache in front of the page table.
//!
//! This file holds all the `unsafe` of the crate. The whole argument rests on three facts:
//!
//! * A [`Page`] is only ever reached through `Arc<Page>`; its bytes are in an `UnsafeCell` and are written only
//!   through [`Page::store`] and [`Page::write`], whose callers hold `&mut` to the one [`super::Memory`] that owns
//!   the page alone (`Arc` count 1), or through a [`Tlb`] entry made from such a page.
//! * A [`Tlb`] belongs to one `Memory`, which keeps every page that the `Tlb` points to alive and flushes the `Tlb`
//!   before it shares (clones) or drops any of them. So a pointer in it is valid, and a pointer in its write half
//!   points to a page that nobody else can see.
//! * Offsets are below [`PAGE_SIZE`] by masking, and a size is at most 8 and was checked not to cross the page.

use std::cell::UnsafeCell;
use std::sync::Arc;

/// Bytes per page.
pub(crate) const PAGE_SIZE: usize = 4096;
const OFFSET_MASK: u64 = PAGE_SIZE as u64 - 1;

/// Shadow bits: what may *not* be done with a byte. So ordinary memory is all zeroes, one comparison tells.
pub(crate) mod shadow {
    /// The program may not read it, or has not written it yet.
    pub(crate) const NO_READ: u8 = 1;
    /// The program may not write it.
    pub(crate) const NO_WRITE: u8 = 2;
    /// Not even the kernel's probing helpers may read it: it is no memory.
    pub(crate) const NO_PROBE: u8 = 4;
    /// Nothing is there.
    pub(crate) const NOTHING: u8 = NO_READ | NO_WRITE | NO_PROBE;
}

/// A page's bytes and one shadow byte for each.
pub(crate) struct Page {
    data: UnsafeCell<[u8; PAGE_SIZE]>,
    shadow: UnsafeCell<[u8; PAGE_SIZE]>,
}

// SAFETY: a page is mutated only by the sole owner of its `Arc` (see the head of this file), so two threads that hold
// clones of the same `Arc<Page>` can only read it.
unsafe impl Sync for Page {}

impl Page {
    pub(crate) fn new() -> Self {
        Self { data: UnsafeCell::new([0; PAGE_SIZE]), shadow: UnsafeCell::new([shadow::NOTHING; PAGE_SIZE]) }
    }

    pub(crate) fn data(&self) -> &[u8; PAGE_SIZE] {
        // SAFETY: no `&mut` to the bytes is ever live across a call: writers hold `&mut Memory` for the store's
        // duration only, and `self` is reached through a `&Memory`.
        unsafe { &*self.data.get() }
    }

    pub(crate) fn shadow(&self) -> &[u8; PAGE_SIZE] {
        // SAFETY: as for `data`.
        unsafe { &*self.shadow.get() }
    }

    /// The shadow and the bytes.
    pub(crate) fn parts_mut(&mut self) -> (&mut [u8; PAGE_SIZE], &mut [u8; PAGE_SIZE]) {
        (self.shadow.get_mut(), self.data.get_mut())
    }
}

impl Clone for Page {
    fn clone(&self) -> Self {
        Self { data: UnsafeCell::new(*self.data()), shadow: UnsafeCell::new(*self.shadow()) }
    }
}

const WAYS: usize = 64;
/// A tag that no page has: pages are aligned.
const NO_TAG: u64 = 1;

#[derive(Clone, Copy)]
struct Entry {
    tag: u64,
    page: *const Page,
}

const EMPTY: Entry = Entry { tag: NO_TAG, page: std::ptr::null() };

/// How many base registers have a translation of their own.
pub(crate) const REGS: usize = 16;

/// A page where nothing may be done: what a register's translation shows before it shows a page.
static NOWHERE: Page =
    Page { data: UnsafeCell::new([0; PAGE_SIZE]), shadow: UnsafeCell::new([shadow::NOTHING; PAGE_SIZE]) };

/// Shows [`NOWHERE`] where no page is ever mapped from.
const UNUSED: Entry = Entry { tag: 0, page: &raw const NOWHERE };

/// Translations of recently used pages: for each base register the page that it was last used for, and behind those a
/// direct-mapped cache. One half for reads and one for writes.
#[repr(C)]
pub(crate) struct Tlb {
    reg_read: [Entry; REGS],
    reg_write: [Entry; REGS],
    read: [Entry; WAYS],
    write: [Entry; WAYS],
}

// SAFETY: the pointers are to pages owned by the same `Memory` that owns this `Tlb`, and travel with it.
unsafe impl Send for Tlb {}
// SAFETY: a shared `Tlb` offers only reads (`load`), of pages nobody can then be writing.
unsafe impl Sync for Tlb {}

/// An integer that fits a register and can be loaded from and stored to guest memory.
pub(crate) trait Scalar: Copy {
    const SIZE: u64;
    fn load(page: &Page, off: usize) -> Option<u64>;
    fn store(page: &Page, off: usize, v: u64) -> bool;
}

macro_rules! scalar {
    ($t:ty) => {
        impl Scalar for $t {
            const SIZE: u64 = size_of::<$t>() as u64;

            #[inline(always)]
            fn load(page: &Page, off: usize) -> Option<u64> {
                const NO_READ: $t = <$t>::from_ne_bytes([shadow::NO_READ; size_of::<$t>()]);
                debug_assert!(off + size_of::<$t>() <= PAGE_SIZE, "checked by the caller");
                // SAFETY: `off + SIZE <= PAGE_SIZE` (the caller compared the page of the last byte with the page of
                // the first), so both reads stay in their arrays; no writer is active (see the head of this file).
                unsafe {
                    let shadow = page.shadow.get().cast::<u8>().add(off).cast::<$t>().read_unaligned();
                    if shadow != 0 && shadow & NO_READ != 0 {
                        return None;
                    }
                    let raw = page.data.get().cast::<u8>().add(off).cast::<$t>().read_unaligned();
                    Some(u64::from(<$t>::from_le(raw)))
                }
            }

            #[inline(always)]
            fn store(page: &Page, off: usize, v: u64) -> bool {
                const NO_WRITE: $t = <$t>::from_ne_bytes([shadow::NO_WRITE; size_of::<$t>()]);
                debug_assert!(off + size_of::<$t>() <= PAGE_SIZE, "checked by the caller");
                // SAFETY: bounds as in `load`; the page is owned by the one `Memory` whose `&mut` the caller holds,
                // so nothing else reads or writes these bytes meanwhile.
                unsafe {
                    let shadow = page.shadow.get().cast::<u8>().add(off).cast::<$t>();
                    let bits = shadow.read_unaligned();
                    if bits != 0 {
                        if bits & NO_WRITE != 0 {
                            return false;
                        }
                        // Written: from now on it may be read.
                        shadow.write_unaligned(0);
                    }
                    page.data.get().cast::<u8>().add(off).cast::<$t>().write_unaligned((v as $t).to_le());
                }
                true
            }
        }
    };
}

scalar!(u8);
scalar!(u16);
scalar!(u32);
scalar!(u64);

impl Tlb {
    pub(crate) fn new() -> Self {
        Self {
            reg_read: [UNUSED; REGS],
            reg_write: [UNUSED; REGS],
            read: [EMPTY; WAYS],
            write: [EMPTY; WAYS],
        }
    }

    /// The page a register was last used for, if the access lies in it.
    #[inline(always)]
    fn find_by<T: Scalar>(half: &[Entry; REGS], reg: usize, addr: u64) -> Option<(&Page, usize)> {
        let entry = &half[reg % REGS];
        let off = addr.wrapping_sub(entry.tag);
        if off > PAGE_SIZE as u64 - T::SIZE {
            return None;
        }
        // SAFETY: `page` is `NOWHERE`, or was copied from an entry of the cache that `flush` has not emptied since, so
        // it is alive as that entry's is.
        Some((unsafe { &*entry.page }, off as usize))
    }

    /// [`Tlb::load`] through a base register's own translation.
    #[inline(always)]
    pub(crate) fn load_by<T: Scalar>(&self, reg: usize, addr: u64) -> Option<u64> {
        let (page, off) = Self::find_by::<T>(&self.reg_read, reg, addr)?;
        T::load(page, off)
    }

    /// [`Tlb::store`] through a base register's own translation.
    #[inline(always)]
    pub(crate) fn store_by<T: Scalar>(&mut self, reg: usize, addr: u64, v: u64) -> bool {
        match Self::find_by::<T>(&self.reg_write, reg, addr) {
            // `NOWHERE` is never written: its shadow forbids it.
            Some((page, off)) => T::store(page, off, v),
            None => false,
        }
    }

    /// Remembers the cached page of an address for a base register.
    #[inline]
    pub(crate) fn learn_read(&mut self, reg: usize, addr: u64) {
        let entry = self.read[(addr / PAGE_SIZE as u64) as usize % WAYS];
        if entry.tag == addr & !OFFSET_MASK {
            self.reg_read[reg % REGS] = entry;
        }
    }

    /// Remembers the page, cached for writing, of an address for a base register.
    #[inline]
    pub(crate) fn learn_write(&mut self, reg: usize, addr: u64) {
        let entry = self.write[(addr / PAGE_SIZE as u64) as usize % WAYS];
        if entry.tag == addr & !OFFSET_MASK {
            self.reg_write[reg % REGS] = entry;
            self.reg_read[reg % REGS] = entry;
        }
    }

    #[inline(always)]
    fn find<T: Scalar>(half: &[Entry; WAYS], addr: u64) -> Option<(&Page, usize)> {
        let entry = &half[(addr / PAGE_SIZE as u64) as usize % WAYS];
        // The entry's index comes from the first byte's page and its tag is compared with the last byte's page: the
        // next page has another index, so a match means that the access does not cross.
        if addr.wrapping_add(T::SIZE - 1) & !OFFSET_MASK != entry.tag {
            return None;
        }
        // SAFETY: a matching tag is a page address, so `page` was set by `insert_read`/`insert_write` and is still alive.
        Some((unsafe { &*entry.page }, (addr & OFFSET_MASK) as usize))
    }

    /// A checked load; `None` if the page is not cached or the shadow forbids it.
    #[inline(always)]
    pub(crate) fn load<T: Scalar>(&self, addr: u64) -> Option<u64> {
        let (page, off) = Self::find::<T>(&self.read, addr)?;
        T::load(page, off)
    }

    /// A checked store; `false` if the page is not cached for writing or the shadow forbids it.
    #[inline(always)]
    pub(crate) fn store<T: Scalar>(&mut self, addr: u64, v: u64) -> bool {
        match Self::find::<T>(&self.write, addr) {
            Some((page, off)) => T::store(page, off, v),
            None => false,
        }
    }

    /// Sets the shadow of a range that lies in one page cached for writing; `false` if it does not.
    #[inline]
    pub(crate) fn paint(&mut self, addr: u64, len: u64, bits: u8) -> bool {
        let entry = &self.write[(addr / PAGE_SIZE as u64) as usize % WAYS];
        if len == 0
            || addr.wrapping_add(len - 1) & !OFFSET_MASK != entry.tag
            || addr & !OFFSET_MASK != entry.tag
        {
            return false;
        }
        // SAFETY: the tag matches the first and the last byte, so the range lies in the page that `insert_write` put
        // here, which this memory alone owns and nothing else is reading now (`&mut self`).
        unsafe {
            let shadow = (*entry.page).shadow.get().cast::<u8>();
            shadow.add((addr & OFFSET_MASK) as usize).write_bytes(bits, len as usize);
        }
        true
    }

    /// Caches a page for reading. The caller keeps the `Arc` alive until it calls [`Tlb::flush`] or drops the `Tlb`.
    pub(crate) fn insert_read(&mut self, tag: u64, page: &Arc<Page>) {
        self.read[(tag / PAGE_SIZE as u64) as usize % WAYS] = Entry { tag, page: Arc::as_ptr(page) };
    }

    /// Caches a page for writing too. The caller has just made the page its own (`Arc` count 1) and calls
    /// [`Tlb::flush`] before it shares or drops it.
    pub(crate) fn insert_write(&mut self, tag: u64, page: &Arc<Page>) {
        let entry = Entry { tag, page: Arc::as_ptr(page) };
        // Registers may show the page that this one has replaced.
        for old in self.reg_read.iter_mut().filter(|e| e.tag == tag) {
            *old = entry;
        }
        self.write[(tag / PAGE_SIZE as u64) as usize % WAYS] = entry;
        self.read[(tag / PAGE_SIZE as u64) as usize % WAYS] = entry;
    }

    pub(crate) fn flush(&mut self) {
        *self = Self::new();
    }
}
