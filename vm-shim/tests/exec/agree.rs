//! Engines agree on random programs.

use bpf_vm_shim::engine::{Interp, Rbpf};
use bpf_vm_shim::env::NoEnv;
use bpf_vm_shim::exec::{InsnView, Limits, Observer, Outcome, Step};
use bpf_vm_shim::isa::Insn;
use proptest::prelude::*;

use crate::support::{EXIT, compile, insn, mov, run_on, start};

/// A random instruction that cannot loop: arithmetic, a stack access, or a jump forward by one.
fn any_insn() -> impl Strategy<Value = Insn> {
    let reg = 0u8..6;
    let alu = (
        prop::sample::select(vec![0x00u8, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xb0, 0xc0]),
        prop::bool::ANY,
        prop::bool::ANY,
        reg.clone(),
        reg.clone(),
        any::<i32>(),
    )
        .prop_map(|(op, wide, x, dst, src, imm)| {
            let class = if wide { 7 } else { 4 };
            let imm = match op {
                0x60 | 0x70 | 0xc0 => imm.rem_euclid(32),
                0x30 | 0x90 if imm == 0 => 1,
                _ => imm,
            };
            if x { insn(op | 8 | class, dst, src, 0, 0) } else { insn(op | class, dst, 0, 0, imm) }
        });
    let jump = (
        prop::sample::select(vec![0x10u8, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0]),
        prop::bool::ANY,
        prop::bool::ANY,
        reg.clone(),
        reg.clone(),
        any::<i32>(),
    )
        .prop_map(|(op, wide, x, dst, src, imm)| {
            let class = if wide { 5 } else { 6 };
            if x { insn(op | 8 | class, dst, src, 1, 0) } else { insn(op | class, dst, 0, 1, imm) }
        });
    let slot = (0i16..8).prop_map(|s| -8 - 8 * s);
    let store = (slot.clone(), reg.clone(), prop::sample::select(vec![0x63u8, 0x6b, 0x73, 0x7b]))
        .prop_map(|(off, src, op)| insn(op, 10, src, off, 0));
    let load = (slot, reg, prop::sample::select(vec![0x61u8, 0x69, 0x71, 0x79]))
        .prop_map(|(off, dst, op)| insn(op, dst, 10, off, 0));
    prop_oneof![4 => alu, 2 => jump, 1 => store, 1 => load]
}

/// A watched run goes one operation at a time, an unwatched one takes several as one.
struct Watcher;

impl Observer for Watcher {
    fn before(&mut self, _: &InsnView<'_>) -> bool {
        false
    }
}

/// Arithmetic on six registers with known values, and eight written stack slots.
fn program(seeds: [i32; 6], body: Vec<Insn>) -> Vec<Insn> {
    let mut insns: Vec<Insn> = seeds.iter().enumerate().map(|(r, v)| mov(r as u8, *v)).collect();
    insns.extend((0..8).map(|s| insn(0x7a, 10, 0, -8 - 8 * s, 7)));
    insns.extend(body);
    // A jump by one at the end needs somewhere to go.
    insns.extend([mov(6, 0), mov(7, 0), EXIT]);
    insns
}

proptest! {
    #[test]
    fn operations_taken_together_do_what_each_does(
        body in prop::collection::vec(any_insn(), 0..60),
        seeds: [i32; 6],
        slice in 1u64..50,
    ) {
        let code = compile(&program(seeds, body)).unwrap();
        let (mut run, mut mem) = start(&code, Limits::default());
        let (mut alone, mut alone_mem) = start(&code, Limits::default());
        let (mut sliced, mut sliced_mem) = start(&code, Limits::default());
        let together = run.run(&mut mem, &mut NoEnv);
        prop_assert_eq!(
            alone.run_observed(&mut alone_mem, &mut NoEnv, &mut Watcher),
            Step::Done(together.clone())
        );
        prop_assert_eq!(run.executed(), alone.executed());
        // Each slice goes on in a copy of the memory: what it wrote, through whatever cache, is what the next one reads.
        let in_slices = loop {
            match sliced.run_slice(&mut sliced_mem, &mut NoEnv, slice) {
                Step::Paused => {
                    let copy = sliced_mem.fork();
                    let _ = std::mem::replace(&mut sliced_mem, copy);
                }
                Step::Done(outcome) => break outcome,
            }
        };
        prop_assert_eq!(in_slices, together);
    }

    #[test]
    fn interp_and_rbpf_give_the_same(body in prop::collection::vec(any_insn(), 0..40), seeds: [i32; 6]) {
        let insns = program(seeds, body);
        let ours = run_on(&Interp, &insns);
        prop_assert!(matches!(ours, Outcome::Returned(_)), "{ours:?}");
        match run_on(&Rbpf, &insns) {
            // What rbpf would get wrong it is not given.
            Outcome::Unsupported(_) => {}
            theirs => prop_assert_eq!(ours, theirs),
        }
    }
}
