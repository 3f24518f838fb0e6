//! The rbpf crate as an engine.
//!
//! rbpf works on host addresses and knows neither our memory nor our kernel, so it runs only what needs none of them:
//! arithmetic, jumps, the stack and the one block of memory that R1 points to, which is copied in and out. The gaps of
//! rbpf 0.4.1 are refused here, never passed through: signed division and `movsx` are accepted and miscomputed, 64-bit
//! jumps compare a negative immediate wrongly, a 32-bit remainder by zero keeps the upper half, most atomics panic,
//! `neg` can panic, frames of called functions have another size, and the program counter wraps above 32767.

use crate::engine::{Engine, Interp};
use crate::env::{Env, NoEnv};
use crate::exec::{Execution, Outcome};
use crate::fault::{Unsupported, UnsupportedKind};
use crate::isa::{Form, Insn, Op, Width, lookup};
use crate::mem::Memory;

/// rbpf's program counter is 16 bits wide in its jumps.
const MAX_INSNS: usize = 32767;

/// The rbpf interpreter.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rbpf;

/// Why rbpf would not run this instruction as the RFC says.
fn gap(insn: &Insn, mem: &Memory, next: Option<&Insn>) -> Option<&'static str> {
    let Some(row) = lookup(insn) else { return Some("unknown encoding") };
    match (row.form, row.op) {
        (_, Op::Sdiv64K | Op::Sdiv64X | Op::Sdiv32K | Op::Sdiv32X) => Some("signed division"),
        (_, Op::Smod64K | Op::Smod64X | Op::Smod32K | Op::Smod32X) => Some("signed remainder"),
        (_, Op::Mod32X) => Some("32-bit remainder by a register"),
        // rbpf negates with the host's operator, which panics on the smallest number in a debug build.
        (Form::Neg(Width::W64), _) => Some("64-bit negation"),
        (Form::Movsx(_), _) => Some("sign-extending move"),
        (Form::Cast, _) => Some("address space cast"),
        (Form::Gotox, _) => Some("jump through a register"),
        (Form::End, Op::Bswap16 | Op::Bswap32 | Op::Bswap64) => Some("byte swap"),
        (Form::Jump(Width::W64), _) if row.uses.imm() && insn.imm < 0 => {
            Some("64-bit jump on a negative constant")
        }
        (Form::Goto, Op::Ja32 | Op::MayGoto) => Some("gotol or may_goto"),
        (Form::Load, Op::LdxsB | Op::LdxsH | Op::LdxsW) => Some("sign-extending load"),
        (
            Form::Lock | Form::Fetch | Form::Xchg | Form::Cmpxchg | Form::LoadAcquire | Form::StoreRelease,
            _,
        ) => Some("atomic operation"),
        (Form::Call | Form::Callx, _) => Some("call"),
        (Form::LdAbs | Form::LdInd, _) => Some("legacy packet load"),
        (Form::LdImm64, _) => {
            let high = next.map_or(0, |n| n.imm as u32);
            let value = (u64::from(high) << 32) | u64::from(insn.imm as u32);
            let guest = insn.src != 0 || high >= 0xffff_8000 || mem.region(value).is_some();
            guest.then_some("guest address")
        }
        _ => None,
    }
}

fn unsupported(what: impl std::fmt::Display) -> Outcome {
    Outcome::Unsupported(Unsupported::new(UnsupportedKind::Feature, format!("{what} on engine rbpf")))
}

/// The first gap of a program, if any.
fn first_gap(insns: &[Insn], mem: &Memory) -> Option<&'static str> {
    if insns.len() > MAX_INSNS {
        return Some("program of more than 32767 instructions");
    }
    let mut slot = 0;
    while let Some(insn) = insns.get(slot) {
        if let Some(gap) = gap(insn, mem, insns.get(slot + 1)) {
            return Some(gap);
        }
        slot += if insn.is_ld_imm64() { 2 } else { 1 };
    }
    None
}

impl Engine for Rbpf {
    fn name(&self) -> &'static str {
        "rbpf"
    }

    fn run(&self, execution: Execution, mem: &mut Memory, _: &mut dyn Env) -> (Outcome, u64) {
        let insns = execution.code().insns().to_vec();
        if let Some(gap) = first_gap(&insns, mem) {
            return (unsupported(gap), 0);
        }
        let second = execution.regs()[2];
        let base = execution.ctx();
        let len = mem.region(base).map_or(0, |r| r.alloc().size as usize);
        let mut block = vec![0; len];
        if len > 0 && mem.read(base, &mut block).is_err() {
            return (unsupported("context that is not plain memory"), 0);
        }
        // rbpf has no instruction budget and its addresses are the host's: what does not end, or what computes with
        // addresses, must not get there. So the reference runs first, on a copy, and only a clean end goes on.
        let (first, executed) = Interp.run(execution, &mut mem.fork(), &mut NoEnv);
        if !matches!(first, Outcome::Returned(_)) {
            return (first, executed);
        }
        // rbpf sets R1 alone; the other argument is set by an instruction in front, which moves no relative jump.
        let Ok(second) = i32::try_from(second) else { return (unsupported("large second argument"), 0) };
        let set_r2 = Insn { opcode: 0xb7, dst: 2, src: 0, off: 0, imm: second };
        let bytes: Vec<u8> = [set_r2].iter().chain(&insns).flat_map(|i| i.to_bytes()).collect();
        let result = ::rbpf::EbpfVmRaw::new(Some(&bytes)).and_then(|vm| vm.execute_program(&mut block));
        match result {
            Ok(value) => match mem.write(base, &block) {
                Err(_) if len > 0 => (unsupported("context that is not plain memory"), 0),
                _ => (Outcome::Returned(value), executed),
            },
            Err(error) => (unsupported(error), 0),
        }
    }
}
