//! Kernel objects and all that they point to, taken out of the simulated memory to be put into a kernel's.

use std::collections::BTreeMap;

use bpf_vm_shim::mem::{Area, Memory, Region};

use crate::error::Error;

/// The most memory of one object and what it points to.
const MAX_BYTES: usize = 4 << 20;
/// Bytes of a pointer.
const POINTER: usize = 8;

/// A piece of kernel memory that a test has described.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) pointers: Vec<Pointer>,
}

/// A place in a block that has the address of something in a block of the same list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pointer {
    /// Where it is.
    pub(crate) at: usize,
    /// What it points into.
    pub(crate) block: usize,
    /// How far behind that block's start.
    pub(crate) offset: u64,
}

/// The object at an address, which comes first, and every object that it leads to. Their bytes have no addresses: those
/// are for whoever places them.
///
/// Addresses are told from numbers by their values, wherever they are: simulated kernel objects lie in a range of their
/// own.
pub(super) fn blocks(mem: &mut Memory, root: u64) -> Result<Vec<Block>, Error> {
    let broken = |addr: u64| Error::Invalid(format!("there is no kernel object at {addr:#x}"));
    let mut index = BTreeMap::from([(root, 0)]);
    let mut addrs = vec![root];
    let (mut done, mut total) = (Vec::new(), 0usize);
    while let Some(addr) = addrs.get(done.len()).copied() {
        let size = mem.region(addr).map(|r| r.alloc().size as usize).ok_or_else(|| broken(addr))?;
        total = total.saturating_add(size);
        if total > MAX_BYTES {
            let what = format!("a kernel object leads to others of more than {MAX_BYTES} bytes in all");
            return Err(Error::Invalid(what));
        }
        let mut block = Block { bytes: vec![0; size], pointers: Vec::new() };
        mem.peek(addr, &mut block.bytes).map_err(|_| broken(addr))?;
        let mut at = 0;
        while let Some(word) = block.bytes.get(at..).and_then(|b| b.first_chunk::<POINTER>()) {
            let value = u64::from_le_bytes(*word);
            let Some(start) = mem.region(value).and_then(|r| object_around(r, value)) else {
                at += 1;
                continue;
            };
            let target = *index.entry(start).or_insert_with(|| {
                addrs.push(start);
                addrs.len() - 1
            });
            block.pointers.push(Pointer { at, block: target, offset: value - start });
            if let Some(place) = block.bytes.get_mut(at..at + POINTER) {
                place.fill(0);
            }
            at += POINTER;
        }
        done.push(block);
    }
    Ok(done)
}

/// Where the kernel object around an address begins. The address behind its end counts, as in C.
fn object_around(region: &Region, addr: u64) -> Option<u64> {
    let alloc = region.alloc();
    let inside = addr.checked_sub(region.addr())? <= u64::from(alloc.size);
    (alloc.area == Area::Kernel && alloc.count == 1 && inside && !region.freed()).then(|| region.addr())
}

#[cfg(test)]
mod tests {
    use bpf_vm_shim::mem::{Alloc, Area, Memory, RegionKind};

    use super::{Block, Pointer, blocks};

    fn object(mem: &mut Memory, size: u32) -> u64 {
        mem.alloc(Alloc::new(Area::Kernel, RegionKind::Kernel, size, "object")).unwrap()
    }

    #[test]
    fn everything_that_is_pointed_to_comes_along_once() {
        let mut mem = Memory::default();
        let (a, b, c) = (object(&mut mem, 24), object(&mut mem, 16), object(&mut mem, 8));
        let unrelated = object(&mut mem, 8);
        let stack = mem.alloc(Alloc::new(Area::Stack, RegionKind::Kernel, 8, "other")).unwrap();
        mem.poke(a, &b.to_le_bytes()).unwrap();
        mem.poke(a + 8, &stack.to_le_bytes()).unwrap();
        // Not aligned, into the middle; back to the first.
        mem.poke(b + 5, &(c + 3).to_le_bytes()).unwrap();
        mem.poke(c, &a.to_le_bytes()).unwrap();
        mem.poke(unrelated, &a.to_le_bytes()).unwrap();

        let found = blocks(&mut mem, a).unwrap();
        let mut first = vec![0; 24];
        first[8..16].copy_from_slice(&stack.to_le_bytes());
        let pointer = |at, block, offset| vec![Pointer { at, block, offset }];
        let expected = [
            Block { bytes: first, pointers: pointer(0, 1, 0) },
            Block { bytes: vec![0; 16], pointers: pointer(5, 2, 3) },
            Block { bytes: vec![0; 8], pointers: pointer(0, 0, 0) },
        ];
        assert_eq!(found, expected);
        assert!(blocks(&mut mem, 0x1234).is_err());
    }

    #[test]
    fn long_chains_are_followed_and_endless_memory_is_not() {
        let mut mem = Memory::default();
        let all: Vec<u64> = (0..1000).map(|_| object(&mut mem, 8)).collect();
        for pair in all.windows(2) {
            mem.poke(pair[0], &pair[1].to_le_bytes()).unwrap();
        }
        assert_eq!(blocks(&mut mem, all[0]).unwrap().len(), 1000);
        let (large, small) = (object(&mut mem, 4 << 20), object(&mut mem, 8));
        mem.poke(small, &large.to_le_bytes()).unwrap();
        let error = blocks(&mut mem, small).unwrap_err().to_string();
        assert!(error.contains("more than 4194304 bytes"), "{error}");
    }
}
