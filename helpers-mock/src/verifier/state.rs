//! The abstract state of one path: registers, stack frames, references held.

use std::collections::BTreeMap;

use super::scalar::Scalar;
use crate::maps::MapId;

/// Why a path is not followed any further.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is not modelled: the path is accepted.
    Unsure,
    /// The kernel refuses the program.
    Refused {
        /// A stable identifier.
        id: &'static str,
        /// The verifier's words.
        message: String,
    },
}

pub(super) type Step<T> = Result<T, Stop>;

/// A refusal, as an error to return.
pub(super) fn refuse<T>(id: &'static str, message: String) -> Step<T> {
    Err(Stop::Refused { id, message })
}

/// What a pointer points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Ctx,
    /// A frame's stack, by the frame's depth.
    Stack(usize),
    MapValue(MapId),
    Map(MapId),
    Packet,
    PacketMeta,
    PacketEnd,
    /// Memory of a known size.
    Mem {
        size: u64,
        writable: bool,
    },
    /// A socket (`PTR_TO_SOCKET` and its like): loads of fields only.
    Sock,
    /// A typed kernel object of which nothing is known but that it is one.
    Kernel,
    /// A function of the program.
    Func(usize),
}

impl Target {
    /// The verifier's name (`reg_type_str`).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ctx => "ctx",
            Self::Stack(_) => "fp",
            Self::MapValue(_) => "map_value",
            Self::Map(_) => "map_ptr",
            Self::Packet => "pkt",
            Self::PacketMeta => "pkt_meta",
            Self::PacketEnd => "pkt_end",
            Self::Mem { .. } => "mem",
            Self::Sock => "sock",
            Self::Kernel => "ptr_",
            Self::Func(_) => "func",
        }
    }
}

/// Packet pointers that are known to be at or beyond the end.
pub(super) const AT_END: i64 = -1;
pub(super) const BEYOND_END: i64 = -2;

/// A pointer: target, fixed offset and variable offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ptr {
    pub(super) target: Target,
    pub(super) off: i64,
    pub(super) var: Scalar,
    pub(super) or_null: bool,
    /// Pointers with the same number came from one another without a change of the variable part.
    pub(super) id: u32,
    /// The reference that it holds.
    pub(super) reference: u32,
    /// Packet bytes from the variable offset that are known to be there.
    pub(super) range: i64,
}

impl Ptr {
    pub(super) const fn to(target: Target) -> Self {
        Self { target, off: 0, var: Scalar::constant(0), or_null: false, id: 0, reference: 0, range: 0 }
    }

    /// The name with its null-ness.
    pub(super) fn name(&self) -> String {
        format!("{}{}", self.target.name(), if self.or_null { "_or_null" } else { "" })
    }

    /// The whole offset, if it is known.
    pub(super) fn fixed(&self) -> Option<i64> {
        self.var.known().map(|v| self.off.wrapping_add(v as i64))
    }

    pub(super) const fn is_packet(&self) -> bool {
        matches!(self.target, Target::Packet | Target::PacketMeta)
    }
}

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reg {
    NotInit,
    /// Not modelled: everything is allowed.
    Unknown,
    /// A number; equal links mean equal numbers but for the difference of their deltas.
    Scalar(Scalar, Link),
    Ptr(Ptr),
}

/// Which numbers are copies of one another.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Link {
    pub(super) id: u32,
    pub(super) delta: i64,
    /// Only the low halves differ by the delta; the number is zero-extended.
    pub(super) narrow: bool,
}

impl Reg {
    pub(super) const fn scalar(s: Scalar) -> Self {
        Self::Scalar(s, Link { id: 0, delta: 0, narrow: false })
    }

    pub(super) const fn constant(v: u64) -> Self {
        Self::scalar(Scalar::constant(v))
    }

    pub(super) const fn any() -> Self {
        Self::scalar(Scalar::UNKNOWN)
    }

    /// The verifier's name of the type.
    pub(super) fn name(&self) -> String {
        match self {
            Self::NotInit => "?".to_owned(),
            Self::Unknown => "unknown".to_owned(),
            Self::Scalar(..) => "scalar".to_owned(),
            Self::Ptr(p) => p.name(),
        }
    }
}

/// What a byte of the stack holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Byte {
    /// Never written, or anything.
    Misc,
    Zero,
    /// Part of the slot's spilled register.
    Spill,
    /// Not modelled (a dynptr, an iterator, what a callee may have written).
    Unknown,
}

/// Eight aligned bytes of stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) bytes: [Byte; 8],
    /// A register stored to the slot's lowest bytes, and how many.
    pub(super) spill: Option<(Reg, u8)>,
}

impl Slot {
    pub(super) const fn of(byte: Byte) -> Self {
        Self { bytes: [byte; 8], spill: None }
    }
}

/// A function's registers and stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) regs: [Reg; 11],
    /// Slots by their (negative) offset from the frame pointer; those that are missing were never written.
    pub(super) stack: BTreeMap<i64, Slot>,
    /// Where the caller goes on.
    pub(super) ret: usize,
    /// The function runs as a helper's callback.
    pub(super) callback: bool,
}

impl Frame {
    pub(super) fn new(depth: usize, ret: usize) -> Self {
        let mut regs = [Reg::NotInit; 11];
        regs[10] = Reg::Ptr(Ptr::to(Target::Stack(depth)));
        Self { regs, stack: BTreeMap::new(), ret, callback: false }
    }
}

/// A reference that must be released before the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ref {
    pub(super) id: u32,
    pub(super) insn: usize,
}

/// One path's state before an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) pc: usize,
    pub(super) frames: Vec<Frame>,
    pub(super) refs: Vec<Ref>,
    /// A spin lock is held (its pointer's identity).
    pub(super) lock: Option<(u32, Target)>,
    /// What is entered is a global function (its result must be a number), or the program itself.
    pub(super) global: Option<usize>,
}

impl State {
    pub(super) fn frame(&mut self) -> Step<&mut Frame> {
        self.frames.last_mut().ok_or(Stop::Unsure)
    }

    /// A register, which must have been written.
    pub(super) fn read(&mut self, n: u8) -> Step<Reg> {
        match self.frame()?.regs.get(n as usize) {
            Some(Reg::NotInit) => refuse("uninit-register", format!("R{n} !read_ok")),
            Some(reg) => Ok(*reg),
            None => Err(Stop::Unsure),
        }
    }

    pub(super) fn write(&mut self, n: u8, value: Reg) -> Step<()> {
        if n == 10 {
            return refuse("frame-pointer", "frame pointer is read only".to_owned());
        }
        *self.frame()?.regs.get_mut(n as usize).ok_or(Stop::Unsure)? = value;
        Ok(())
    }

    /// Changes every register, also those that are spilled to the stack, of all frames.
    pub(super) fn for_each(&mut self, mut f: impl FnMut(&mut Reg)) {
        for frame in &mut self.frames {
            frame.regs.iter_mut().for_each(&mut f);
            for slot in frame.stack.values_mut() {
                if let Some((reg, _)) = &mut slot.spill {
                    f(reg);
                }
            }
        }
    }

    /// Nothing is known any more of what is on the stacks.
    pub(super) fn forget_stacks(&mut self) {
        for frame in &mut self.frames {
            for at in 1..=64 {
                frame.stack.insert(-8 * at, Slot::of(Byte::Unknown));
            }
        }
    }

    /// Whether every refusal on the way from `new` would also be found from `self`.
    pub(super) fn covers(&self, new: &Self) -> bool {
        if self.frames.len() != new.frames.len() || self.refs.len() != new.refs.len() || self.lock != new.lock
        {
            return false;
        }
        if self.global != new.global {
            return false;
        }
        let mut ids = BTreeMap::new();
        self.frames.iter().zip(&new.frames).all(|(a, b)| {
            a.ret == b.ret
                && a.callback == b.callback
                && a.regs.iter().zip(&b.regs).all(|(x, y)| reg_covers(x, y, &mut ids))
                && b.stack.iter().all(|(at, slot)| match a.stack.get(at) {
                    Some(old) => slot_covers(old, slot, &mut ids),
                    None => slot.spill.is_none_or(|(r, _)| !matches!(r, Reg::Ptr(_))),
                })
                && a.stack.iter().all(|(at, old)| b.stack.contains_key(at) || old.bytes == [Byte::Misc; 8])
        })
    }
}

fn slot_covers(a: &Slot, b: &Slot, ids: &mut BTreeMap<u32, u32>) -> bool {
    match (&a.spill, &b.spill) {
        (Some((x, n)), Some((y, m))) => n == m && reg_covers(x, y, ids),
        (None, Some((Reg::Ptr(_), _))) | (Some(_), None) => false,
        _ => a.bytes.iter().zip(&b.bytes).all(|(x, y)| x == y || *x == Byte::Misc),
    }
}

fn reg_covers(a: &Reg, b: &Reg, ids: &mut BTreeMap<u32, u32>) -> bool {
    let mut same = |x: u32, y: u32| x == 0 || (y != 0 && *ids.entry(x).or_insert(y) == y);
    match (a, b) {
        (Reg::NotInit, _) => true,
        (Reg::Scalar(x, lx), Reg::Scalar(y, ly)) => {
            x.contains(y)
                && (lx.id == 0 || (lx.delta == ly.delta && lx.narrow == ly.narrow && same(lx.id, ly.id)))
        }
        (Reg::Ptr(x), Reg::Ptr(y)) => {
            x.target == y.target
                && x.off == y.off
                && x.var.contains(&y.var)
                && x.or_null == y.or_null
                && (x.range == y.range || (x.range >= 0 && x.range <= y.range))
                && same(x.id, y.id)
                && same(x.reference, y.reference)
        }
        (x, y) => x == y,
    }
}
