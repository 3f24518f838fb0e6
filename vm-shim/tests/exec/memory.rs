//! Memory: bounds to the byte, permissions, forks.

use std::collections::BTreeMap;

use bpf_vm_shim::fault::FaultKind;
use bpf_vm_shim::mem::{AccessKind, AccessProblem, Alloc, Area, BadAccess, Memory, Perm, RegionKind};
use proptest::prelude::*;

use crate::support::{EXIT, faults, insn, mov, returns};

fn value(mem: &mut Memory, size: u32) -> u64 {
    mem.alloc(Alloc::new(Area::Map, RegionKind::MapValue, size, "map 'm'")).unwrap()
}

fn explain(mem: &mut Memory, kind: AccessKind, addr: u64, size: u64) -> AccessProblem {
    mem.explain(BadAccess { kind, addr, size })
}

#[test]
fn an_allocation_ends_at_its_last_byte() {
    let mut mem = Memory::default();
    for size in [1, 2, 3, 7, 8, 9, 100, 4095, 4096, 4097, 10_000] {
        let addr = value(&mut mem, size);
        for width in [1u8, 2, 4, 8] {
            let last = u64::from(size).checked_sub(u64::from(width));
            for off in 0..u64::from(size) + 16 {
                let fits = last.is_some_and(|l| off <= l);
                assert_eq!(mem.load(addr + off, width).is_ok(), fits, "size {size}, {width} bytes at {off}");
                assert_eq!(mem.store(addr + off, width, 1).is_ok(), fits);
            }
            assert!(mem.load(addr - 1, width).is_err());
        }
    }
}

#[test]
fn elements_of_an_array_do_not_touch() {
    let mut mem = Memory::default();
    let alloc = Alloc::new(Area::Map, RegionKind::MapValue, 12, "map 'a'").count(1000);
    let base = mem.alloc(alloc).unwrap();
    let pitch = 32;
    for i in [0, 1, 500, 999] {
        let element = base + i * pitch;
        assert!(mem.store(element + 8, 4, i).is_ok());
        assert!(mem.load(element + 12, 1).is_err());
        let AccessProblem::OutOfBounds(info) = explain(&mut mem, AccessKind::Read, element + 12, 4) else {
            panic!("element {i}");
        };
        assert_eq!((u64::from(info.element), info.offset), (i, 12));
    }
}

#[test]
fn freed_memory_is_gone_and_says_so() {
    let mut mem = Memory::default();
    let addr = value(&mut mem, 16);
    mem.store(addr, 8, 1).unwrap();
    mem.free(addr).unwrap();
    assert!(mem.load(addr, 8).is_err());
    assert!(matches!(explain(&mut mem, AccessKind::Read, addr + 4, 4), AccessProblem::Freed(_)));
    assert!(mem.free(addr).is_err());
}

#[test]
fn permissions_are_kept() {
    let mut mem = Memory::default();
    let alloc = Alloc::new(Area::Map, RegionKind::MapValue, 16, "map 'ro'").perm(Perm::ReadOnly);
    let ro = mem.alloc(alloc).unwrap();
    mem.poke(ro, &[7; 16]).unwrap();
    assert_eq!(mem.load(ro, 1), Ok(7));
    assert!(mem.store(ro, 1, 0).is_err());
    assert!(matches!(explain(&mut mem, AccessKind::Write, ro, 1), AccessProblem::ReadOnly(_)));
    let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, 16, "struct s").perm(Perm::ProbeOnly);
    let kernel = mem.alloc(alloc).unwrap();
    assert!(mem.load(kernel, 8).is_err());
    assert!(mem.probe_read(kernel, &mut [0; 16]).is_ok());
    assert!(mem.probe_read(kernel, &mut [0; 17]).is_err());
    assert!(matches!(explain(&mut mem, AccessKind::Read, kernel, 8), AccessProblem::Kernel(_)));
}

#[test]
fn the_stack_is_bounded_and_must_be_written_before_it_is_read() {
    assert_eq!(returns(&[insn(0x7a, 10, 0, -512, 5), insn(0x79, 0, 10, -512, 0), EXIT]), 5);
    for (insns, id) in [
        (vec![insn(0x7a, 10, 0, -513, 5), mov(0, 0), EXIT], "out-of-bounds"),
        (vec![insn(0x7a, 10, 0, 0, 5), mov(0, 0), EXIT], "out-of-bounds"),
        (vec![insn(0x79, 0, 10, -8, 0), EXIT], "uninit-stack-read"),
        (vec![mov(1, 0), insn(0x79, 0, 1, 8, 0), EXIT], "null-deref"),
        (vec![mov(1, -1), insn(0x71, 0, 1, 0, 0), EXIT], "invalid-mem-access"),
        (
            vec![insn(0x7a, 10, 0, -16, 0), mov(2, 1), insn(0xdb, 10, 2, -12, 1), mov(0, 0), EXIT],
            "misaligned-atomic",
        ),
    ] {
        assert_eq!(faults(&insns).0.id(), id, "{insns:?}");
    }
}

#[test]
fn a_pointer_into_a_frame_that_is_gone_is_no_pointer() {
    // f returns the address of its own stack.
    let insns = [
        insn(0x85, 0, 1, 0, 2),
        insn(0x79, 0, 0, -8, 0),
        EXIT,
        insn(0x7a, 10, 0, -8, 1),
        insn(0xbf, 0, 10, 0, 0),
        EXIT,
    ];
    assert!(matches!(faults(&insns), (FaultKind::Access { .. }, 1)));
}

#[test]
fn huge_arrays_cost_nothing_until_they_are_touched() {
    let mut mem = Memory::with_limit(1 << 20);
    let alloc = Alloc::new(Area::Map, RegionKind::MapValue, 64, "map 'big'").count(10_000_000);
    let base = mem.alloc(alloc).unwrap();
    mem.store(base + 9_999_999 * 80, 8, 3).unwrap();
    assert_eq!(mem.load(base + 9_999_999 * 80, 8), Ok(3));
    assert!(mem.alloc(Alloc::new(Area::Map, RegionKind::MapValue, u32::MAX, "map 'x'")).is_err());
}

proptest! {
    /// Forks see what was there, and nothing of what the others do afterwards.
    #[test]
    fn forks_are_independent(ops in prop::collection::vec((0usize..4, 0u64..200, any::<u8>(), any::<bool>()), 1..200)) {
        let mut first = Memory::default();
        let addr = value(&mut first, 200);
        let mut forks = vec![(first, BTreeMap::new())];
        for (which, off, byte, fork) in ops {
            let which = which % forks.len();
            let (mem, model): &mut (Memory, BTreeMap<u64, u8>) = &mut forks[which];
            if fork {
                let copy = (mem.fork(), model.clone());
                forks.push(copy);
            } else {
                mem.store(addr + off, 1, byte.into()).unwrap();
                model.insert(off, byte);
            }
        }
        for (mem, model) in &mut forks {
            for off in 0..200 {
                let want = u64::from(model.get(&off).copied().unwrap_or(0));
                prop_assert_eq!(mem.load(addr + off, 1), Ok(want));
            }
        }
    }
}
