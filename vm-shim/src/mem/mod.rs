//! Guest memory: simulated addresses, byte-granular permissions, copy-on-write snapshots.
//!
//! Every allocation ends at its exact last byte; a red zone separates it from its neighbour. A shadow byte beside
//! each byte says what a program may do with it, so a checked access is one tag comparison and one mask test (see
//! `page.rs`). Cloning a [`Memory`] shares all pages; the first write to a page copies it.
//!
//! ```
//! use bpf_vm_shim::mem::{Alloc, Area, Memory, RegionKind};
//! let mut mem = Memory::default();
//! let addr = mem.alloc(Alloc::new(Area::Map, RegionKind::MapValue, 12, "map 'counts'"))?;
//! mem.store(addr + 8, 4, 7).unwrap();
//! assert_eq!(mem.load(addr + 8, 4).unwrap(), 7);
//! assert!(mem.load(addr + 8, 8).is_err(), "four bytes too long");
//! # Ok::<(), bpf_vm_shim::mem::MemError>(())
//! ```

mod page;
mod region;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use page::Scalar;
use page::{PAGE_SIZE, Page, Tlb, shadow};
use region::RED_ZONE;
pub use region::{Alloc, Area, Perm, Region, RegionInfo, RegionKind};

const PAGE: u64 = PAGE_SIZE as u64;
const PAGES_PER_DIR: usize = 256;
const DIR_SPAN: u64 = PAGE * PAGES_PER_DIR as u64;
/// Nothing lies in the first mebibyte, so that small numbers are never addresses.
const FIRST_DIR: u64 = 1;
/// The half of an address that tells its area.
const HIGH: u64 = !0xffff_ffff;
/// Freed blocks of one size that must be waiting before the oldest is used again.
const QUARANTINE: usize = 64;

/// Memory could not be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemError {
    /// The request does not fit the limit.
    #[error("cannot allocate {bytes} bytes for {what}: the guest's memory limit of {limit} bytes is reached")]
    Limit {
        /// What was asked for.
        what: String,
        /// How many bytes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// No live allocation starts at this address.
    #[error("no live allocation starts at {addr:#x}")]
    NotAllocated {
        /// The address.
        addr: u64,
    },
}

/// What an access wanted to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// Reading.
    Read,
    /// Writing.
    Write,
}

/// An access that was not allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadAccess {
    /// Reading or writing.
    pub kind: AccessKind,
    /// Its first byte.
    pub addr: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// Why an access was not allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AccessProblem {
    /// The address is in the first page.
    Null,
    /// No allocation is near.
    Wild,
    /// Outside an allocation, or straddling its end.
    OutOfBounds(RegionInfo),
    /// The allocation has been freed.
    Freed(RegionInfo),
    /// A write to read-only memory.
    ReadOnly(RegionInfo),
    /// A read of bytes that were never written.
    Uninit(RegionInfo),
    /// Kernel memory, which only probing helpers may read.
    Kernel(RegionInfo),
}

/// One mebibyte of address space, all of one [`Area`].
#[derive(Clone)]
struct Dir {
    area: Area,
    pages: Vec<Option<Arc<Page>>>,
    /// The allocations that overlap it, by their start.
    regions: BTreeMap<u32, Region>,
}

impl Dir {
    fn new(area: Area) -> Self {
        Self { area, pages: vec![None; PAGES_PER_DIR], regions: BTreeMap::new() }
    }

    /// The last allocation that starts at or before an offset.
    fn before(&self, off: u32) -> Option<&Region> {
        self.regions.range(..=off).next_back().map(|(_, r)| r)
    }

    /// The first allocation that starts after an offset.
    fn after(&self, off: u32) -> Option<&Region> {
        self.regions.range(off..).next().map(|(_, r)| r)
    }
}

/// Blocks of one area, element pitch and count can stand in for each other.
type Class = (Area, u32, u32);

/// The memory of one guest.
// The translation cache comes first, so that the interpreter reaches it through the pointer that it has anyway.
#[repr(C)]
pub struct Memory {
    tlb: Tlb,
    dirs: Vec<Arc<Dir>>,
    /// The unused rest of each area's newest directory.
    room: Arc<BTreeMap<Area, (u64, u64)>>,
    freed: Arc<BTreeMap<Class, VecDeque<u32>>>,
    pages: u64,
    page_limit: u64,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("pages", &self.pages).finish_non_exhaustive()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::with_limit(512 << 20)
    }
}

impl Memory {
    /// Memory that holds at most `bytes` of touched pages.
    #[must_use]
    pub fn with_limit(bytes: u64) -> Self {
        Self {
            tlb: Tlb::new(),
            dirs: Vec::new(),
            room: Arc::default(),
            freed: Arc::default(),
            pages: 0,
            page_limit: bytes.div_ceil(PAGE),
        }
    }

    /// A copy of the whole memory whose cost follows what is written afterwards: both sides share every page until
    /// one of them writes to it.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        // The pages are about to be shared, so nothing may go on writing to them through the cache.
        self.tlb.flush();
        Self {
            tlb: Tlb::new(),
            dirs: self.dirs.clone(),
            room: Arc::clone(&self.room),
            freed: Arc::clone(&self.freed),
            pages: self.pages,
            page_limit: self.page_limit,
        }
    }

    /// Allocates memory, zeroed, and gives the guest address of the first element.
    ///
    /// # Errors
    /// [`MemError::Limit`] if the address space or the page limit is exhausted.
    pub fn alloc(&mut self, alloc: Alloc) -> Result<u64, MemError> {
        let limit = MemError::Limit {
            what: if alloc.name.is_empty() { alloc.kind.to_string() } else { alloc.name.to_string() },
            bytes: u64::from(alloc.size) * u64::from(alloc.count),
            limit: self.page_limit * PAGE,
        };
        let Some(pitch) = Region::pitch_of(&alloc) else { return Err(limit) };
        let class = (alloc.area, pitch, alloc.count);
        let reused = self.reuse(class);
        let start = match reused {
            Some(start) => start,
            None => self.carve(&alloc, pitch).ok_or(limit)?,
        };
        let region = Region { start, pitch, alloc, freed: false };
        self.place(&region, reused.is_some());
        Ok(region.addr())
    }

    /// A freed block of this class that has been in quarantine long enough.
    fn reuse(&mut self, class: Class) -> Option<u32> {
        self.freed.get(&class).filter(|q| q.len() > QUARANTINE)?;
        Arc::make_mut(&mut self.freed).get_mut(&class)?.pop_front()
    }

    /// Address space for an allocation: from its area's newest directory, else from new ones.
    fn carve(&mut self, alloc: &Alloc, pitch: u32) -> Option<u32> {
        let span = u64::from(pitch) * u64::from(alloc.count);
        let align = u64::from(alloc.align.max(8));
        let fit = |(next, end): (u64, u64)| {
            let start = next.next_multiple_of(align);
            (start + span <= end).then_some((start, end))
        };
        let (start, end) = match self.room.get(&alloc.area).copied().and_then(fit) {
            Some(found) => found,
            None => {
                let first = self.dirs.len() as u64 + FIRST_DIR;
                let count = (u64::from(RED_ZONE) + align + span).div_ceil(DIR_SPAN);
                if (first + count) * DIR_SPAN > u64::from(u32::MAX) {
                    return None;
                }
                self.dirs.extend((0..count).map(|_| Arc::new(Dir::new(alloc.area))));
                // The first bytes stay unused: an access just before the first allocation is out of its bounds.
                let start = first * DIR_SPAN + u64::from(RED_ZONE);
                (start.next_multiple_of(align), (first + count) * DIR_SPAN)
            }
        };
        Arc::make_mut(&mut self.room).insert(alloc.area, (start + span, end));
        u32::try_from(start).ok()
    }

    /// Frees the allocation that starts at `addr`: every later access to it is a use after free.
    ///
    /// # Errors
    /// [`MemError::NotAllocated`] if none starts there or it is freed already.
    pub fn free(&mut self, addr: u64) -> Result<(), MemError> {
        let live = self.region(addr).filter(|r| r.addr() == addr && !r.freed);
        let mut region = live.cloned().ok_or(MemError::NotAllocated { addr })?;
        region.freed = true;
        self.place(&region, false);
        let class = (region.alloc.area, region.pitch, region.alloc.count);
        Arc::make_mut(&mut self.freed).entry(class).or_default().push_back(region.start);
        Ok(())
    }

    /// Enters a region in the directories that it overlaps and repaints the pages that exist already.
    fn place(&mut self, region: &Region, clear: bool) {
        self.tlb.flush();
        let first = u64::from(region.start) / DIR_SPAN;
        let last = (region.end() - 1).max(u64::from(region.start)) / DIR_SPAN;
        for index in first..=last {
            let Some(dir) = self.dirs.get_mut((index - FIRST_DIR) as usize) else { return };
            let dir = Arc::make_mut(dir);
            dir.regions.insert(region.start, region.clone());
            let base = index * DIR_SPAN;
            let slots =
                u64::from(region.start).saturating_sub(base) / PAGE..(region.end() - base).div_ceil(PAGE);
            let touched =
                dir.pages.iter_mut().enumerate().take(slots.end as usize).skip(slots.start as usize);
            for (slot, page) in touched {
                let start = base + slot as u64 * PAGE;
                if let Some(page) = page.as_mut().filter(|_| region.end() > start) {
                    let (shadow, data) = Arc::make_mut(page).parts_mut();
                    paint(shadow, start, region);
                    if clear {
                        let from = u64::from(region.start).saturating_sub(start) as usize;
                        let to = (region.end() - start).min(PAGE) as usize;
                        data[from..to].fill(0);
                    }
                }
            }
        }
    }

    fn dir(&self, addr: u64) -> Option<&Dir> {
        let index = (u64::from(addr as u32) / DIR_SPAN).checked_sub(FIRST_DIR)?;
        let dir = self.dirs.get(index as usize)?;
        (dir.area.high() == addr & HIGH).then_some(&**dir)
    }

    /// The allocation whose elements and red zones hold an address, whatever its state.
    #[must_use]
    pub fn region(&self, addr: u64) -> Option<&Region> {
        self.dir(addr)?.before(addr as u32).filter(|r| u64::from(addr as u32) < r.end())
    }

    /// Changes what the program may do with `len` bytes from `addr`, inside one element of an allocation.
    pub fn protect(&mut self, addr: u64, len: u64, perm: Perm) {
        if !self.tlb.paint(addr, len, bits(perm)) {
            self.edit(addr, len, |shadow, _, _| shadow.fill(bits(perm)));
        }
    }

    /// Makes the bytes fresh: with this permission, and zeroed if it lets them be read.
    pub fn reset(&mut self, addr: u64, len: u64, perm: Perm) {
        if perm == Perm::Uninit {
            self.protect(addr, len, perm);
            return;
        }
        self.edit(addr, len, |shadow, data, _| {
            shadow.fill(bits(perm));
            data.fill(0);
        });
    }

    /// A program's load of 1, 2, 4 or 8 bytes, zero-extended.
    ///
    /// # Errors
    /// [`BadAccess`] if the program may not read all of it.
    #[inline]
    pub fn load(&mut self, addr: u64, size: u8) -> Result<u64, BadAccess> {
        match size {
            1 => self.load_as::<u8>(addr),
            2 => self.load_as::<u16>(addr),
            4 => self.load_as::<u32>(addr),
            _ => self.load_as::<u64>(addr),
        }
    }

    /// A program's store of 1, 2, 4 or 8 bytes.
    ///
    /// # Errors
    /// [`BadAccess`] if the program may not write all of it.
    #[inline]
    pub fn store(&mut self, addr: u64, size: u8, v: u64) -> Result<(), BadAccess> {
        match size {
            1 => self.store_as::<u8>(addr, v),
            2 => self.store_as::<u16>(addr, v),
            4 => self.store_as::<u32>(addr, v),
            _ => self.store_as::<u64>(addr, v),
        }
    }

    /// The fast path of [`Memory::load`]: `None` says nothing yet.
    #[inline(always)]
    pub(crate) fn load_fast<T: Scalar>(&self, addr: u64) -> Option<u64> {
        self.tlb.load::<T>(addr)
    }

    /// The fast path of [`Memory::store`]: `false` says nothing yet.
    #[inline(always)]
    pub(crate) fn store_fast<T: Scalar>(&mut self, addr: u64, v: u64) -> bool {
        self.tlb.store::<T>(addr, v)
    }

    /// The fast path of a load through a base register, whose last page is tried first.
    #[inline(always)]
    pub(crate) fn load_by<T: Scalar>(&self, reg: usize, addr: u64) -> Option<u64> {
        self.tlb.load_by::<T>(reg, addr)
    }

    /// The fast path of a store through a base register.
    #[inline(always)]
    pub(crate) fn store_by<T: Scalar>(&mut self, reg: usize, addr: u64, v: u64) -> bool {
        self.tlb.store_by::<T>(reg, addr, v)
    }

    /// A load whose fast path has failed: through the translation cache, which the register then learns from.
    #[inline]
    pub(crate) fn load_learning(&mut self, reg: u8, addr: u64, size: u8) -> Result<u64, BadAccess> {
        let loaded = self.load(addr, size);
        self.tlb.learn_read(usize::from(reg), addr);
        loaded
    }

    /// A store whose fast path has failed.
    #[inline]
    pub(crate) fn store_learning(&mut self, reg: u8, addr: u64, size: u8, v: u64) -> Result<(), BadAccess> {
        let stored = self.store(addr, size, v);
        self.tlb.learn_write(usize::from(reg), addr);
        stored
    }

    #[inline(always)]
    fn load_as<T: Scalar>(&mut self, addr: u64) -> Result<u64, BadAccess> {
        self.load_fast::<T>(addr).map_or_else(|| self.load_slow(addr, T::SIZE), Ok)
    }

    #[inline(always)]
    fn store_as<T: Scalar>(&mut self, addr: u64, v: u64) -> Result<(), BadAccess> {
        if self.store_fast::<T>(addr, v) { Ok(()) } else { self.store_slow(addr, T::SIZE, v) }
    }

    #[cold]
    #[inline(never)]
    fn load_slow(&mut self, addr: u64, size: u64) -> Result<u64, BadAccess> {
        let mut buf = [0; 8];
        let bytes = &mut buf[..size as usize];
        self.read(addr, bytes)?;
        Ok(u64::from_le_bytes(buf))
    }

    #[cold]
    #[inline(never)]
    fn store_slow(&mut self, addr: u64, size: u64, v: u64) -> Result<(), BadAccess> {
        self.write(addr, &v.to_le_bytes()[..size as usize])
    }

    /// Reads as the program: every byte must be readable to it.
    ///
    /// # Errors
    /// [`BadAccess`] with the whole range; `out` is then unspecified.
    pub fn read(&mut self, addr: u64, out: &mut [u8]) -> Result<(), BadAccess> {
        self.read_with(addr, out, shadow::NO_READ)
    }

    /// Reads as the kernel's probing helpers do: whatever is mapped, whoever may touch it directly.
    ///
    /// # Errors
    /// [`BadAccess`] if any byte is not mapped; `out` is then unspecified.
    pub fn probe_read(&mut self, addr: u64, out: &mut [u8]) -> Result<(), BadAccess> {
        self.read_with(addr, out, shadow::NO_PROBE)
    }

    /// Writes as the program: every byte must be writable to it.
    ///
    /// # Errors
    /// [`BadAccess`] if any byte is not; nothing is then written.
    pub fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), BadAccess> {
        let bad = BadAccess { kind: AccessKind::Write, addr, size: data.len() as u64 };
        if !self.check(addr, data.len() as u64, shadow::NO_WRITE) {
            return Err(bad);
        }
        self.edit(addr, data.len() as u64, |bits, page, part| {
            bits.iter_mut().for_each(|b| *b &= !shadow::NO_READ);
            page.copy_from_slice(&data[part]);
        });
        Ok(())
    }

    /// Whether the program may read (or write) the whole range.
    #[must_use]
    pub fn allowed(&mut self, kind: AccessKind, addr: u64, len: u64) -> bool {
        let bit = match kind {
            AccessKind::Read => shadow::NO_READ,
            AccessKind::Write => shadow::NO_WRITE,
        };
        self.check(addr, len, bit)
    }

    /// Reads as the host: any byte of a live or freed allocation, whatever its permission.
    ///
    /// # Errors
    /// [`BadAccess`] if the range is not inside one element of an allocation.
    pub fn peek(&mut self, addr: u64, out: &mut [u8]) -> Result<(), BadAccess> {
        let bad = BadAccess { kind: AccessKind::Read, addr, size: out.len() as u64 };
        if !self.inside(addr, out.len() as u64) {
            return Err(bad);
        }
        for (at, part) in parts(addr, out.len() as u64) {
            let off = (at % PAGE) as usize;
            let chunk = &mut out[part];
            match self.page(at) {
                Some(page) => chunk.copy_from_slice(&page.data()[off..off + chunk.len()]),
                None => chunk.fill(0),
            }
        }
        Ok(())
    }

    /// Writes as the host, whatever the program may do there. Permissions stay as they are.
    ///
    /// # Errors
    /// [`BadAccess`] if the range is not inside one element of an allocation, or the page limit is reached.
    pub fn poke(&mut self, addr: u64, data: &[u8]) -> Result<(), BadAccess> {
        let bad = BadAccess { kind: AccessKind::Write, addr, size: data.len() as u64 };
        if !self.inside(addr, data.len() as u64) {
            return Err(bad);
        }
        let whole = self.edit(addr, data.len() as u64, |_, page, part| page.copy_from_slice(&data[part]));
        if whole { Ok(()) } else { Err(bad) }
    }

    /// Why an access was refused, found by looking at what is near.
    #[must_use]
    pub fn explain(&mut self, bad: BadAccess) -> AccessProblem {
        if bad.addr < PAGE {
            return AccessProblem::Null;
        }
        let off = bad.addr as u32;
        let Some(dir) = self.dir(bad.addr) else { return AccessProblem::Wild };
        let before = dir.before(off).filter(|r| u64::from(off) < r.end() + PAGE);
        // Between two allocations, the nearer one is the likelier story.
        let after = dir.after(off).filter(|r| r.start - off <= RED_ZONE);
        let past = |r: &Region| u64::from(off).checked_sub(r.end() - u64::from(RED_ZONE).min(r.span()));
        let covered = match (before, after) {
            (Some(b), Some(a)) => past(b).is_none_or(|past| past <= u64::from(a.start - off)),
            _ => false,
        };
        let Some(region) = after.filter(|_| !covered).or(before) else { return AccessProblem::Wild };
        let distance = i64::from(off) - i64::from(region.start);
        let pitch = i64::from(region.pitch);
        let last = i64::from(region.alloc.count.saturating_sub(1));
        let element = (distance.max(0) / pitch).min(last);
        let (element, offset) = nearer(&region.alloc, element, distance - element * pitch, pitch);
        let info = RegionInfo {
            kind: region.alloc.kind,
            name: Arc::clone(&region.alloc.name),
            size: region.alloc.size,
            element: element as u32,
            offset,
            freed: region.freed,
        };
        let fits = offset >= 0 && (offset as u64).saturating_add(bad.size) <= u64::from(info.size);
        if info.freed {
            return AccessProblem::Freed(info);
        }
        if !fits {
            return AccessProblem::OutOfBounds(info);
        }
        // Inside: some byte's shadow says no; name the first such byte's reason.
        let denied = match bad.kind {
            AccessKind::Read => shadow::NO_READ,
            AccessKind::Write => shadow::NO_WRITE,
        };
        for at in bad.addr..bad.addr + bad.size {
            let bits = self.page(at).map_or(shadow::NOTHING, |p| p.shadow()[(at % PAGE) as usize]);
            if bits & denied != 0 {
                let (read, write) = (bits & shadow::NO_READ == 0, bits & shadow::NO_WRITE == 0);
                return match bad.kind {
                    _ if bits & shadow::NO_PROBE != 0 => AccessProblem::OutOfBounds(info),
                    _ if !read && !write => AccessProblem::Kernel(info),
                    AccessKind::Write => AccessProblem::ReadOnly(info),
                    AccessKind::Read => AccessProblem::Uninit(info),
                };
            }
        }
        AccessProblem::Wild
    }

    fn inside(&self, addr: u64, len: u64) -> bool {
        self.region(addr).is_some_and(|r| {
            let offset = (addr - r.addr()) % u64::from(r.pitch);
            offset.checked_add(len).is_some_and(|end| end <= u64::from(r.alloc.size))
        })
    }

    fn read_with(&mut self, addr: u64, out: &mut [u8], none_of: u8) -> Result<(), BadAccess> {
        let bad = BadAccess { kind: AccessKind::Read, addr, size: out.len() as u64 };
        addr.checked_add(out.len() as u64).ok_or(bad)?;
        for (at, part) in parts(addr, out.len() as u64) {
            let off = (at % PAGE) as usize;
            let page = Arc::clone(self.page(at).ok_or(bad)?);
            let chunk = &mut out[part];
            if !page.shadow()[off..off + chunk.len()].iter().all(|b| b & none_of == 0) {
                return Err(bad);
            }
            chunk.copy_from_slice(&page.data()[off..off + chunk.len()]);
            self.tlb.insert_read(at & !(PAGE - 1), &page);
        }
        Ok(())
    }

    fn check(&mut self, addr: u64, len: u64, bit: u8) -> bool {
        addr.checked_add(len).is_some()
            && parts(addr, len).all(|(at, part)| {
                let off = (at % PAGE) as usize;
                self.page(at)
                    .is_some_and(|page| page.shadow()[off..off + part.len()].iter().all(|b| b & bit == 0))
            })
    }

    /// The page of an address, brought into being if an allocation covers it.
    fn page(&mut self, addr: u64) -> Option<&Arc<Page>> {
        let (index, slot) = locate(addr)?;
        if self.dir(addr)?.pages[slot].is_none() {
            let page = self.blank(addr)?;
            self.pages += 1;
            Arc::make_mut(self.dirs.get_mut(index)?).pages[slot] = Some(Arc::new(page));
            // `make_mut` may have copied the directory, never a page, so cached pages stay the right ones; but a
            // directory shared until now makes its pages shared too.
            self.tlb.flush();
        }
        self.dirs.get(index)?.pages[slot].as_ref()
    }

    /// A zeroed page with the shadow that the allocations on it ask for.
    fn blank(&self, addr: u64) -> Option<Page> {
        if self.pages >= self.page_limit {
            return None;
        }
        let start = u64::from(addr as u32) & !(PAGE - 1);
        let mut page = Page::new();
        let (shadow, _) = page.parts_mut();
        let mut used = false;
        for region in self.dir(addr)?.regions.values() {
            if region.end() > start && u64::from(region.start) < start + PAGE {
                paint(shadow, start, region);
                used = true;
            }
        }
        used.then_some(page)
    }

    /// Makes the pages of a range this memory's own and edits them: `f` gets each page part's shadow, its bytes, and
    /// which part of the range it is. `false` if a page could not be had.
    fn edit(&mut self, addr: u64, len: u64, mut f: impl FnMut(&mut [u8], &mut [u8], Range<usize>)) -> bool {
        for (at, part) in parts(addr, len) {
            let Some((index, slot)) = locate(at) else { return false };
            if self.page(at).is_none() {
                return false;
            }
            let Some(dir) = self.dirs.get_mut(index) else { return false };
            if Arc::get_mut(dir).is_none() {
                self.tlb.flush();
            }
            let Some(page) = &mut Arc::make_mut(dir).pages[slot] else { return false };
            if Arc::get_mut(page).is_none() {
                self.tlb.flush();
            }
            let (shadow, data) = Arc::make_mut(page).parts_mut();
            let off = (at % PAGE) as usize;
            let range = off..off + part.len();
            f(&mut shadow[range.clone()], &mut data[range], part);
            self.tlb.insert_write(at & !(PAGE - 1), page);
        }
        true
    }
}

/// In the gap between two elements, the nearer one is the likelier to be meant.
fn nearer(alloc: &Alloc, element: i64, offset: i64, pitch: i64) -> (i64, i64) {
    let size = i64::from(alloc.size);
    let next = element + 1 < i64::from(alloc.count) && offset > size && pitch - offset < offset - size;
    if next { (element + 1, offset - pitch) } else { (element, offset) }
}

/// Directory index and page slot of an address.
fn locate(addr: u64) -> Option<(usize, usize)> {
    let off = u64::from(addr as u32);
    let index = (off / DIR_SPAN).checked_sub(FIRST_DIR)? as usize;
    Some((index, (off % DIR_SPAN / PAGE) as usize))
}

/// Cuts a range at page borders: each part's address and its place in the range.
fn parts(addr: u64, len: u64) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = addr.wrapping_add(done);
        let n = (PAGE - at % PAGE).min(len - done);
        let start = done as usize;
        done += n;
        (n > 0).then_some((at, start..start + n as usize))
    })
}

fn bits(perm: Perm) -> u8 {
    match perm {
        Perm::ReadWrite => 0,
        Perm::ReadOnly => shadow::NO_WRITE,
        Perm::Uninit => shadow::NO_READ,
        Perm::ProbeOnly => shadow::NO_READ | shadow::NO_WRITE,
        Perm::None => shadow::NOTHING,
    }
}

/// Writes an allocation's permissions into the shadow of the page that starts at offset `start`.
fn paint(shadow: &mut [u8; PAGE_SIZE], start: u64, region: &Region) {
    let bits = if region.freed { shadow::NOTHING } else { bits(region.alloc.perm) };
    let pitch = u64::from(region.pitch);
    let size = u64::from(region.alloc.size);
    let first = start.saturating_sub(u64::from(region.start)) / pitch;
    for element in first..u64::from(region.alloc.count) {
        let begin = u64::from(region.start) + element * pitch;
        if begin >= start + PAGE {
            break;
        }
        let from = begin.max(start) - start;
        let to = (begin + size).clamp(start, start + PAGE) - start;
        if from < to {
            shadow[from as usize..to as usize].fill(bits);
        }
    }
}
