//! Dynptrs: 16 opaque bytes on a program's stack that stand for memory with bounds (`struct bpf_dynptr_kern`).
//!
//! The bytes hold a number; what it means is in the run. They cannot be read by the program, and overwriting them makes
//! them no dynptr any more, as the verifier has it.

use std::collections::BTreeMap;

use bpf_vm_shim::env::Cx;
use bpf_vm_shim::fault::{FaultKind, Trap};
use bpf_vm_shim::mem::{BadAccess, Memory, Perm};

use crate::errno::Errno;
use crate::helpers::packet;
use crate::kernel::Kernel;

/// `DYNPTR_MAX_SIZE`: sizes have 24 bits.
pub(crate) const MAX_SIZE: u64 = (1 << 24) - 1;
/// Bytes of `struct bpf_dynptr`.
pub(crate) const SIZE: u64 = 16;
const MAGIC: u64 = 0x6479_6e70_7472_0000;

/// What a dynptr stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DynptrKind {
    /// Nothing: it could not be made.
    Null,
    /// Memory of the program.
    Local,
    /// A reserved record of a ring buffer, to be submitted or discarded. The number tells reservations apart.
    Ringbuf(u64),
    /// The packet of a socket buffer.
    Skb,
    /// The packet of an XDP frame.
    Xdp,
}

/// A dynptr.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dynptr {
    /// What it stands for.
    pub kind: DynptrKind,
    /// Guest address of the memory; the packet's first byte for packets.
    pub data: u64,
    /// Where it begins in the memory.
    pub offset: u32,
    /// Bytes from there.
    pub size: u32,
    /// Whether it may only be read.
    pub rdonly: bool,
}

impl Dynptr {
    /// A dynptr that stands for nothing.
    pub const NULL: Self = Self { kind: DynptrKind::Null, data: 0, offset: 0, size: 0, rdonly: false };

    /// Whether it stands for nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.data == 0
    }

    /// The address of `len` bytes at an offset.
    ///
    /// # Errors
    /// `-E2BIG` outside its bounds (`bpf_dynptr_check_off_len`).
    pub fn range(&self, offset: u64, len: u64) -> Result<u64, Errno> {
        let size = u64::from(self.size);
        if len > size || offset > size - len {
            return Err(Errno::E2BIG);
        }
        Ok(self.data + u64::from(self.offset) + offset)
    }
}

/// The dynptrs of one run.
#[derive(Clone, Default, Debug)]
pub struct Dynptrs {
    by_number: BTreeMap<u64, (u64, Dynptr)>,
    next: u64,
}

impl Dynptrs {
    fn find(&self, mem: &mut Memory, at: u64) -> Option<u64> {
        let mut bytes = [0; SIZE as usize];
        mem.peek(at, &mut bytes).ok()?;
        let number = u64::from_le_bytes(*bytes.first_chunk()?);
        let intact = bytes[8..] == (number ^ MAGIC).to_le_bytes();
        let (home, _) = self.by_number.get(&number).filter(|_| intact)?;
        (*home == at).then_some(number)
    }
}

/// Whether an intact dynptr is at an address.
pub(crate) fn exists(kernel: &Kernel, mem: &mut Memory, at: u64) -> bool {
    kernel.run().is_some_and(|run| run.dynptrs.find(mem, at).is_some())
}

/// The dynptr at an address.
pub(crate) fn get(kernel: &Kernel, cx: &mut Cx<'_>, callee: &str, arg: u8, at: u64) -> Result<Dynptr, Trap> {
    let run = kernel.run();
    let found = run.and_then(|run| {
        let number = run.dynptrs.find(cx.mem, at)?;
        run.dynptrs.by_number.get(&number).map(|(_, d)| *d)
    });
    let mut dynptr = found.ok_or_else(|| not_one(callee, arg))?;
    if matches!(dynptr.kind, DynptrKind::Skb | DynptrKind::Xdp) {
        // Helpers that make room move packets; the dynptr goes with them.
        let ctx = cx.ctx();
        dynptr.data = packet(kernel, cx, ctx).map_or(dynptr.data, |(data, _)| data);
    }
    Ok(dynptr)
}

/// Puts a dynptr at an address, which must be writable.
pub(crate) fn put(kernel: &mut Kernel, cx: &mut Cx<'_>, at: u64, dynptr: Dynptr) -> Result<(), Trap> {
    let Some(run) = kernel.run_mut() else { return Ok(()) };
    run.dynptrs.next += 1;
    let number = run.dynptrs.next;
    run.dynptrs.by_number.insert(number, (at, dynptr));
    let mut bytes = [0; SIZE as usize];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&(number ^ MAGIC).to_le_bytes());
    if cx.mem.poke(at, &bytes).is_err() {
        return Err(not_one("a dynptr's place", 1));
    }
    cx.mem.protect(at, SIZE, Perm::Uninit);
    Ok(())
}

/// Changes a dynptr where it is.
pub(crate) fn set(kernel: &mut Kernel, cx: &mut Cx<'_>, at: u64, dynptr: Dynptr) {
    let Some(run) = kernel.run_mut() else { return };
    if let Some(number) = run.dynptrs.find(cx.mem, at) {
        run.dynptrs.by_number.insert(number, (at, dynptr));
    }
}

/// Takes a dynptr and all its clones away: they all stand for the same record.
pub(crate) fn remove_all(kernel: &mut Kernel, kind: DynptrKind) {
    if let Some(run) = kernel.run_mut() {
        run.dynptrs.by_number.retain(|_, (_, d)| d.kind != kind);
    }
}

/// Takes the dynptr at an address away, whatever others there are.
pub(crate) fn remove(kernel: &mut Kernel, mem: &mut Memory, at: u64) {
    if let Some(run) = kernel.run_mut() {
        let number = run.dynptrs.find(mem, at);
        number.map(|n| run.dynptrs.by_number.remove(&n));
    }
}

fn not_one(callee: &str, arg: u8) -> Trap {
    let why = "is not an initialised dynptr (or one that was released or overwritten)".to_owned();
    FaultKind::Argument { callee: callee.to_owned(), arg, why, problem: None }.into()
}

/// Reads memory behind a dynptr: what was freed or deleted in the meantime is a fault.
pub(crate) fn load(cx: &mut Cx<'_>, callee: &str, arg: u8, addr: u64, len: u64) -> Result<Vec<u8>, Trap> {
    let mut bytes = vec![0; len as usize];
    match cx.mem.read(addr, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(bad) => Err(stale(cx, callee, arg, bad)),
    }
}

/// Writes memory behind a dynptr.
pub(crate) fn store(cx: &mut Cx<'_>, callee: &str, arg: u8, addr: u64, bytes: &[u8]) -> Result<(), Trap> {
    cx.mem.write(addr, bytes).map_err(|bad| stale(cx, callee, arg, bad))
}

fn stale(cx: &mut Cx<'_>, callee: &str, arg: u8, bad: BadAccess) -> Trap {
    let problem = Some(cx.mem.explain(bad));
    let why = "is a dynptr on memory that cannot be accessed any more".to_owned();
    FaultKind::Argument { callee: callee.to_owned(), arg, why, problem }.into()
}
