//! Accesses through pointers into an arena. They cannot fault: where no page is, a load gives 0 and anything else does
//! nothing. Source: `BPF_PROBE_MEM32` and `BPF_PROBE_ATOMIC` in `arch/x86/net/bpf_jit_comp.c`, `ex_handler_bpf`.

use super::code::{DecodedOp, Reg};
use super::execution::Execution;
use crate::env::{ArenaSpan, Cx, Env};
use crate::fault::{FaultKind, Trap};
use crate::isa::{Form, Op};
use crate::mem::{AccessKind, Memory};

/// Bytes that an operation loads or stores.
fn size_of(kind: Op) -> u8 {
    use Op as O;
    match kind {
        O::LdxB | O::LdxsB | O::StB | O::StxB | O::LoadAcquire8 | O::StoreRelease8 => 1,
        O::LdxH | O::LdxsH | O::StH | O::StxH | O::LoadAcquire16 | O::StoreRelease16 => 2,
        O::LdxDw | O::StDw | O::StxDw | O::LoadAcquire64 | O::StoreRelease64 => 8,
        O::AtomicAdd64 | O::FetchAdd64 | O::AtomicOr64 | O::FetchOr64 | O::AtomicAnd64 | O::FetchAnd64 => 8,
        O::AtomicXor64 | O::FetchXor64 | O::Xchg64 | O::Cmpxchg64 => 8,
        _ => 4,
    }
}

/// What a read-modify-write operation stores.
fn modified(kind: Op, old: u64, v: u64, expected: u64) -> u64 {
    use Op as O;
    match kind {
        O::AtomicAdd32 | O::AtomicAdd64 | O::FetchAdd32 | O::FetchAdd64 => old.wrapping_add(v),
        O::AtomicOr32 | O::AtomicOr64 | O::FetchOr32 | O::FetchOr64 => old | v,
        O::AtomicAnd32 | O::AtomicAnd64 | O::FetchAnd32 | O::FetchAnd64 => old & v,
        O::AtomicXor32 | O::AtomicXor64 | O::FetchXor32 | O::FetchXor64 => old ^ v,
        O::Cmpxchg32 | O::Cmpxchg64 if old != expected => old,
        _ => v,
    }
}

fn extended(kind: Op, v: u64) -> u64 {
    match kind {
        Op::LdxsB => v as i8 as u64,
        Op::LdxsH => v as i16 as u64,
        Op::LdxsW => v as i32 as u64,
        _ => v,
    }
}

/// One access in flight.
struct Access<'a> {
    mem: &'a mut Memory,
    env: &'a mut dyn Env,
    size: u8,
}

impl Access<'_> {
    /// Where the bytes are; `None` where no page is.
    fn find(
        &mut self,
        run: &Execution,
        reg: Reg,
        off: i32,
        kind: AccessKind,
    ) -> Result<Option<ArenaSpan>, Trap> {
        let base = i64::from(run.regs[reg as usize] as u32);
        self.env.arena(&mut Cx::new(self.mem, run), base + i64::from(off), self.size, kind)
    }

    fn refused(&mut self, addr: u64, kind: AccessKind, reg: Reg) -> Trap {
        let access = crate::mem::BadAccess { kind, addr, size: self.size.into() };
        let problem = self.mem.explain(access);
        FaultKind::Access { access, problem, reg: reg as u8 }.into()
    }

    fn read(&mut self, span: &ArenaSpan, reg: Reg) -> Result<u64, Trap> {
        let mut word = [0; 8];
        let (first, rest) = split(&mut word, span, self.size);
        let done = self.mem.read(span.addr, first).and_then(|()| self.mem.read(span.rest, rest));
        match done {
            Ok(()) => Ok(u64::from_le_bytes(word)),
            Err(bad) => Err(self.refused(bad.addr, AccessKind::Read, reg)),
        }
    }

    fn write(&mut self, span: &ArenaSpan, v: u64, reg: Reg) -> Result<(), Trap> {
        let mut word = v.to_le_bytes();
        let (first, rest) = split(&mut word, span, self.size);
        let done = self.mem.write(span.addr, first).and_then(|()| self.mem.write(span.rest, rest));
        done.map_err(|bad| self.refused(bad.addr, AccessKind::Write, reg))
    }
}

/// The bytes of a word on the first page, and those on the next.
fn split<'w>(word: &'w mut [u8; 8], span: &ArenaSpan, size: u8) -> (&'w mut [u8], &'w mut [u8]) {
    let size = usize::from(size.min(8));
    let (word, _) = word.split_at_mut(size);
    word.split_at_mut(usize::from(span.len).min(size))
}

/// Does an access; `kind` is what the operation was before it was marked.
#[cold]
#[inline(never)]
pub(super) fn access(
    run: &mut Execution,
    mem: &mut Memory,
    env: &mut dyn Env,
    op: &DecodedOp,
    kind: Op,
) -> Result<(), Trap> {
    let Some(row) = kind.row() else { return Ok(()) };
    let mut access = Access { mem, env, size: size_of(kind) };
    let mask = if access.size == 8 { u64::MAX } else { (1 << (access.size * 8)) - 1 };
    let (dst, src) = (op.dst as usize, op.src as usize);
    match row.form {
        Form::Load | Form::LoadAcquire => {
            match access.find(run, op.src, op.off, AccessKind::Read)? {
                Some(span) => run.regs[dst] = extended(kind, access.read(&span, op.src)?),
                // A load-acquire is a store to the exception handler, which leaves registers alone then.
                None if row.form == Form::Load => run.regs[dst] = 0,
                None => {}
            }
            return Ok(());
        }
        Form::StoreImm | Form::StoreReg | Form::StoreRelease => {
            let v = if row.form == Form::StoreImm { op.imm } else { run.regs[src] };
            return match access.find(run, op.dst, op.off, AccessKind::Write)? {
                Some(span) => access.write(&span, v, op.dst),
                None => Ok(()),
            };
        }
        _ => {}
    }
    let Some(span) = access.find(run, op.dst, op.off, AccessKind::Write)? else { return Ok(()) };
    let old = access.read(&span, op.dst)?;
    let new = modified(kind, old, run.regs[src] & mask, run.regs[0] & mask);
    access.write(&span, new, op.dst)?;
    match row.form {
        Form::Fetch | Form::Xchg => run.regs[src] = old,
        Form::Cmpxchg => run.regs[0] = old,
        _ => {}
    }
    Ok(())
}
