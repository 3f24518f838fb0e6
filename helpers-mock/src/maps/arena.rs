//! `BPF_MAP_TYPE_ARENA` (`kernel/bpf/arena.c`): pages that programs and user space share.
//!
//! Programs hold 32-bit offsets into the kernel's view of an arena, which is no part of the guest's address space: its
//! pages are blocks of guest memory of their own, made when they are first touched.

use std::collections::BTreeMap;

use bpf_vm_shim::env::ArenaSpan;
use bpf_vm_shim::mem::{Alloc, Area, MemError, Memory, RegionKind};
use bpf_vm_shim::object::{KernelProfile, MapDef};

use super::ranges::{Fit, Ranges};
use super::{MapCx, MapId, MapOps};
use crate::errno::Errno;

/// `PAGE_SIZE`.
pub(crate) const PAGE: u32 = 4096;
/// Where user space maps the first arena that does not ask for an address; the next lie below it, 4 GiB apart.
const USER_TOP: u64 = 0x7f7d_0000_0000;
/// The lower half of that address, for arenas that fit: no pointer to a first page is zero.
const USER_LOW: u64 = 0x2620_0000;

/// An arena.
#[derive(Clone, Debug)]
pub struct Arena {
    name: String,
    user_start: u64,
    count: u32,
    /// Where libbpf puts the object's variables, from the start.
    data_offset: u64,
    /// Neither allocated nor reserved.
    free: Ranges,
    /// Those that have a page.
    mapped: Ranges,
    /// The pages that have been touched, by number: their guest addresses.
    pages: BTreeMap<u32, u64>,
    fit: Fit,
}

impl Arena {
    pub(super) fn new(def: &MapDef) -> Self {
        let mut free = Ranges::default();
        free.set(0, def.max_entries);
        Self {
            name: def.name.clone(),
            user_start: def.map_extra,
            count: def.max_entries,
            data_offset: 0,
            free,
            mapped: Ranges::default(),
            pages: BTreeMap::new(),
            fit: Fit::Best,
        }
    }

    /// What user space does with a new arena: maps it, at an address that the kernel picks unless the map has one, as
    /// libbpf does (`bpf_object__create_maps`). The kernel's version decides how pages are chosen.
    pub(crate) fn mmap(&mut self, id: MapId, version: u32) {
        if self.user_start == 0 {
            let low =
                if u64::from(self.count) * u64::from(PAGE) + USER_LOW <= 1 << 32 { USER_LOW } else { 0 };
            self.user_start = USER_TOP - (u64::from(id.0) << 32) + low;
        }
        if version < KernelProfile::kernel_version(6, 13, 0) {
            self.fit = Fit::First;
        }
    }

    /// The address that user space has mapped it at.
    #[must_use]
    pub fn user_start(&self) -> u64 {
        self.user_start
    }

    /// The address behind its last page in user space.
    #[must_use]
    pub fn user_end(&self) -> u64 {
        self.user_start + u64::from(self.count) * u64::from(PAGE)
    }

    /// Where the object's variables begin, in bytes from the start.
    #[must_use]
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// Finds the place of the object's variables: the end, as libbpf does where the kernel takes `ld_imm64` with any
    /// offset (`bpf_object__relocate`, `FEAT_LDIMM64_FULL_RANGE_OFF`), which this one does.
    ///
    /// # Errors
    /// `-E2BIG` if they do not fit.
    pub(crate) fn place_data(&mut self, size: u64) -> Result<(), Errno> {
        let whole = u64::from(self.count) * u64::from(PAGE);
        self.data_offset = whole.checked_sub(size.next_multiple_of(PAGE.into())).ok_or(Errno::E2BIG)?;
        Ok(())
    }

    /// `compute_pgoff`: the page of an address, of which the lower half counts.
    fn page_of(&self, addr: u64) -> u32 {
        (addr as u32).wrapping_sub(self.user_start as u32) / PAGE
    }

    /// `arena_alloc_pages`: the user's address of new pages, 0 if there are none.
    pub(crate) fn alloc(&mut self, addr: u64, count: u32, node: i32) -> u64 {
        // One node, or none in particular.
        if !matches!(node, -1 | 0) || count > self.count {
            return 0;
        }
        let page = if addr == 0 {
            self.free.find(count, self.fit)
        } else {
            let page = self.page_of(addr);
            let fits = addr.is_multiple_of(PAGE.into()) && page <= self.count - count;
            Some(page).filter(|p| fits && self.free.contains(*p, count))
        };
        let Some(page) = page else { return 0 };
        self.free.clear(page, count);
        self.mapped.set(page, count);
        let low = (self.user_start as u32).wrapping_add(page.wrapping_mul(PAGE));
        (self.user_start & !0xffff_ffff) + u64::from(low)
    }

    /// `arena_free_pages`. Reserved pages are free again, too. That programs which may not sleep leave the work to a
    /// worker is not modelled: it is done at once.
    pub(crate) fn free(&mut self, mem: &mut Memory, addr: u64, count: u32) {
        let low = u64::from(addr as u32 & !(PAGE - 1));
        let from = (self.user_start & !0xffff_ffff) + low;
        let to = self.user_end().min(from.saturating_add(u64::from(count) * u64::from(PAGE)));
        if from < self.user_start || from >= to {
            return;
        }
        let (page, count) = (self.page_of(low), ((to - from) / u64::from(PAGE)) as u32);
        self.free.set(page, count);
        self.mapped.clear(page, count);
        let gone: Vec<u32> = self.pages.range(page..page.saturating_add(count)).map(|(p, _)| *p).collect();
        for addr in gone.iter().filter_map(|p| self.pages.remove(p)) {
            // It was allocated by `touch`.
            let _ = mem.free(addr);
        }
    }

    /// `arena_reserve_pages`.
    ///
    /// # Errors
    /// `-EINVAL` outside the arena, `-EBUSY` if a page is allocated or reserved already.
    pub(crate) fn reserve(&mut self, addr: u64, count: u32) -> Result<(), Errno> {
        if !addr.is_multiple_of(PAGE.into()) {
            return Ok(());
        }
        let page = self.page_of(addr);
        if u64::from(page) + u64::from(count) > self.count.into() {
            return Err(Errno::EINVAL);
        }
        if !self.free.contains(page, count) {
            return Err(Errno::EBUSY);
        }
        self.free.clear(page, count);
        Ok(())
    }

    /// The page at an offset of the kernel's view, if it has been touched, and how far inside it the offset is.
    fn touched(&self, offset: i64) -> Option<(u64, u32)> {
        let low = u32::try_from(offset).ok()?.wrapping_sub(self.user_start as u32);
        Some((*self.pages.get(&(low / PAGE))?, low % PAGE))
    }

    /// Where bytes of the kernel's view are, if all of their pages have been touched.
    pub(crate) fn find(&self, offset: i64, size: u8) -> Option<ArenaSpan> {
        let (page, inside) = self.touched(offset)?;
        let addr = page + u64::from(inside);
        let room = PAGE - inside;
        if u32::from(size) <= room {
            return Some(ArenaSpan { addr, len: size, rest: addr });
        }
        let (rest, _) = self.touched(offset + i64::from(room))?;
        Some(ArenaSpan { addr, len: room as u8, rest })
    }

    /// Makes the pages of bytes of the kernel's view; `false` if one of them is not allocated.
    ///
    /// # Errors
    /// If there is no memory.
    pub(crate) fn touch(&mut self, mem: &mut Memory, offset: i64, size: u8) -> Result<bool, MemError> {
        for at in [offset, offset + i64::from(size.max(1)) - 1] {
            let Ok(low) = u32::try_from(at) else { return Ok(false) };
            let page = self.page_of(low.into());
            if !self.mapped.contains(page, 1) {
                return Ok(false);
            }
            self.make(mem, page)?;
        }
        Ok(true)
    }

    fn make(&mut self, mem: &mut Memory, page: u32) -> Result<u64, MemError> {
        if let Some(addr) = self.pages.get(&page) {
            return Ok(*addr);
        }
        let name = format!("arena '{}'", self.name);
        let addr = mem.alloc(Alloc::new(Area::Heap, RegionKind::Other, PAGE, name))?;
        self.pages.insert(page, addr);
        Ok(addr)
    }

    /// Accesses bytes as user space does, which allocates the pages (`arena_vm_fault`): calls `f` with the guest address
    /// of each part and which part it is. `false` beyond the arena.
    pub(crate) fn user_access(
        &mut self,
        mem: &mut Memory,
        offset: u64,
        len: usize,
        mut f: impl FnMut(&mut Memory, u64, std::ops::Range<usize>),
    ) -> Result<bool, MemError> {
        let whole = u64::from(self.count) * u64::from(PAGE);
        if offset.checked_add(len as u64).is_none_or(|end| end > whole) {
            return Ok(false);
        }
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (page, inside) = ((at / u64::from(PAGE)) as u32, at % u64::from(PAGE));
            if !self.mapped.contains(page, 1) {
                self.free.clear(page, 1);
                self.mapped.set(page, 1);
            }
            let part = (u64::from(PAGE) - inside).min((len - done) as u64) as usize;
            let addr = self.make(mem, page)?;
            f(mem, addr + inside, done..done + part);
            done += part;
        }
        Ok(true)
    }
}

impl MapOps for Arena {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<u64>, Errno> {
        Err(Errno::EINVAL)
    }

    fn update(&mut self, _: &mut MapCx<'_>, _: &[u8], _: &[u8], _: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn delete(&mut self, _: &mut MapCx<'_>, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    fn next_key(&self, _: Option<&[u8]>) -> Option<Vec<u8>> {
        None
    }

    fn read(&self, _: &mut MapCx<'_>, _: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        Err(Errno::EINVAL)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use bpf_vm_shim::mem::Memory;
    use bpf_vm_shim::object::{MapDef, MapType};

    use super::{Arena, PAGE};
    use crate::errno::Errno;
    use crate::maps::MapId;

    const START: u64 = 0x7f00_1000_0000;
    const P: u64 = PAGE as u64;

    fn arena(pages: u32) -> Arena {
        let mut def = MapDef::of_type("a", MapType::Arena, (0, 0), pages);
        def.map_extra = START;
        Arena::new(&def)
    }

    #[test]
    fn reserved_pages_are_not_allocated_and_can_be_freed() {
        let (mut a, mut mem) = (arena(8), Memory::default());
        assert_eq!(a.reserve(START + 2 * P, 2), Ok(()));
        assert_eq!(a.reserve(START + 3 * P, 1), Err(Errno::EBUSY));
        assert_eq!(a.reserve(START + 7 * P, 2), Err(Errno::EINVAL));
        assert_eq!(a.reserve(START + 1, 1), Ok(()), "an address inside a page does nothing");
        assert_eq!(a.alloc(START + P, 2, -1), 0, "partly reserved");
        assert_eq!(a.alloc(0, 5, -1), 0, "no gap is large enough");
        assert_eq!(a.touch(&mut mem, (START + 2 * P) as u32 as i64, 1), Ok(false), "reserved is not there");
        a.free(&mut mem, START + 2 * P, 1);
        assert_eq!(a.alloc(0, 3, -1), START);
        assert_eq!(a.alloc(0, 4, 0), START + 4 * P);
        assert_eq!(a.alloc(0, 1, -1), 0);
    }

    #[test]
    fn only_the_lower_half_of_an_address_counts_and_the_end_is_the_end() {
        let (mut a, mut mem) = (arena(4), Memory::default());
        assert_eq!(a.alloc(u64::from((START + P) as u32), 1, -1), START + P);
        a.free(&mut mem, u64::from((START + P) as u32), 100);
        assert_eq!(a.alloc(START + P, 3, -1), START + P, "freed up to the end");
        assert_eq!(a.alloc(START + 3 * P, 2, -1), 0);
        a.free(&mut mem, START - P, 2);
        assert_eq!(a.alloc(START, 1, -1), START);
    }

    #[test]
    fn a_page_is_made_when_it_is_touched_and_zero_when_it_comes_back() {
        let (mut a, mut mem) = (arena(2), Memory::default());
        let at = START as u32 as i64 + PAGE as i64 - 2;
        assert_eq!(a.alloc(0, 2, -1), START);
        assert_eq!(a.find(at, 4), None);
        assert_eq!(a.touch(&mut mem, at, 4), Ok(true));
        let span = a.find(at, 4).expect("two pages");
        assert_eq!(span.len, 2);
        mem.store(span.addr, 2, 0x1111).expect("writable");
        a.free(&mut mem, START, 2);
        assert_eq!((a.find(at, 4), a.touch(&mut mem, at, 4)), (None, Ok(false)));
        assert_eq!(a.alloc(0, 2, -1), START);
        assert_eq!(a.touch(&mut mem, at, 4), Ok(true));
        let span = a.find(at, 4).expect("again");
        assert_eq!(mem.load(span.addr, 2), Ok(0));
    }

    #[test]
    fn without_an_address_user_space_gets_one_below_the_next_4_gib() {
        for pages in [1, 1 << 19, 1 << 20] {
            let def = MapDef::of_type("a", MapType::Arena, (0, 0), pages);
            let mut a = Arena::new(&def);
            a.mmap(MapId(3), 0);
            assert_ne!(a.user_start(), 0);
            assert_eq!(a.user_start() >> 32, (a.user_end() - 1) >> 32, "{pages} pages");
        }
    }
}
