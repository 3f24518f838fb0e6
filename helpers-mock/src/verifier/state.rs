//! The abstract state of one path: registers, stack frames, references held.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::scalar::Scalar;
use super::why::Why;
use crate::maps::MapId;

/// Why a path is not followed any further.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something is not modelled: the path is accepted.
    Unsure,
    /// The kernel refuses the program.
    Refused {
        id: Why,
        /// The verifier's words.
        message: String,
    },
}

pub(super) type Step<T> = Result<T, Stop>;

/// A refusal, as an error to return.
pub(super) fn refuse<T>(id: Why, message: String) -> Step<T> {
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
    /// A map out of a map of maps.
    InnerMap,
    Packet,
    PacketMeta,
    PacketEnd,
    /// Memory of a known size.
    Mem {
        size: u64,
        writable: bool,
    },
    /// A socket (`PTR_TO_SOCKET` and its like): loads of fields only.
    Sock(SockKind),
    /// `struct bpf_flow_keys`.
    FlowKeys,
    /// Memory that loads may find to be missing (`PTR_TO_MEM | MEM_RDONLY | PTR_UNTRUSTED`).
    Faulting,
    /// A typed kernel object of which nothing is known but that it is one.
    Kernel,
    /// A structure of the kernel, or one that the program has allocated, by the name of its type.
    Obj {
        ty: Ty,
        trust: Trust,
    },
    /// A dynptr that a callback was given (`CONST_PTR_TO_DYNPTR`).
    Dynptr,
    /// A function of the program.
    Func(usize),
}

/// What is known of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SockKind {
    Common,
    Full,
    Tcp,
}

impl SockKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Common => "sock_common",
            Self::Full => "sock",
            Self::Tcp => "tcp_sock",
        }
    }
}

/// A type's name, as a number of the walk's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Ty(pub(super) u32);

/// What a typed pointer may be used for (the flags of `PTR_TO_BTF_ID`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// `PTR_TRUSTED`, or with a reference.
    Trusted,
    /// `MEM_RCU`.
    Rcu,
    /// `PTR_UNTRUSTED`.
    Untrusted,
    /// No flag: found by walking from one structure to another.
    Plain,
    /// `MEM_ALLOC`: owned if it has a reference.
    Alloc,
    /// `MEM_ALLOC | MEM_PERCPU`.
    Percpu,
    /// Which of them differs between kernels.
    Vague,
}

impl Trust {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted_ptr_",
            Self::Rcu => "rcu_ptr_",
            Self::Untrusted => "untrusted_ptr_",
            Self::Percpu => "percpu_ptr_",
            Self::Plain | Self::Alloc | Self::Vague => "ptr_",
        }
    }
}

impl Target {
    /// The verifier's name (`reg_type_str`).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ctx => "ctx",
            Self::Stack(_) => "fp",
            Self::MapValue(_) => "map_value",
            Self::Map(_) | Self::InnerMap => "map_ptr",
            Self::Packet => "pkt",
            Self::PacketMeta => "pkt_meta",
            Self::PacketEnd => "pkt_end",
            Self::Mem { .. } => "mem",
            Self::Sock(kind) => kind.name(),
            Self::FlowKeys => "flow_keys",
            Self::Faulting => "rdonly_untrusted_mem",
            Self::Kernel => "ptr_",
            Self::Obj { trust, .. } => trust.name(),
            Self::Dynptr => "dynptr_ptr",
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
    /// The dynptr whose bytes they are.
    pub(super) dynptr: u32,
}

impl Ptr {
    pub(super) const fn to(target: Target) -> Self {
        Self {
            target,
            off: 0,
            var: Scalar::constant(0),
            or_null: false,
            id: 0,
            reference: 0,
            range: 0,
            dynptr: 0,
        }
    }

    /// The name with its null-ness.
    pub(super) fn name(&self) -> String {
        let name = self.target.name();
        match name.strip_suffix('_') {
            _ if !self.or_null => name.to_owned(),
            Some(name) => format!("{name}_or_null_"),
            None => format!("{name}_or_null"),
        }
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
    /// Something that only calls may touch lies here.
    pub(super) special: Option<Special>,
}

impl Slot {
    pub(super) const fn of(byte: Byte) -> Self {
        Self { bytes: [byte; 8], spill: None, special: None }
    }

    pub(super) const fn special(special: Special) -> Self {
        Self { bytes: [Byte::Unknown; 8], spill: None, special: Some(special) }
    }
}

/// An object on the stack (`STACK_DYNPTR`, `STACK_ITER`, `STACK_IRQ_FLAG`); it begins in the slot whose `part` is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Special {
    Dynptr {
        id: u32,
        kind: DynKind,
        reference: u32,
        part: u8,
    },
    /// `left`: how many more elements are followed; none if it is at its end.
    Iter {
        ty: Ty,
        id: u32,
        left: u8,
        stale: bool,
        part: u8,
    },
    Irq {
        id: u32,
    },
}

/// What a dynptr is of (`enum bpf_dynptr_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DynKind {
    Local,
    Ringbuf,
    Skb,
    SkbMeta,
    Xdp,
    File,
}

/// A function's registers and stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) regs: [Reg; 11],
    /// Slots by their (negative) offset from the frame pointer; those that are missing were never written.
    pub(super) stack: BTreeMap<i64, Slot>,
    /// Where the caller goes on.
    pub(super) ret: usize,
    /// The function runs as a callback.
    pub(super) callback: Option<Callback>,
    /// Where the function begins.
    pub(super) func: usize,
}

/// How a callback was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Callback {
    /// What it may return.
    pub(super) range: (i64, i64),
    /// It runs later, not during the call.
    pub(super) later: bool,
    /// Whether it is called again after it has returned, up to this often.
    pub(super) again: u64,
    /// How often it has been called.
    pub(super) depth: u64,
    /// References held when it was called.
    pub(super) refs: usize,
}

impl Frame {
    pub(super) fn new(depth: usize, ret: usize, func: usize) -> Self {
        let mut regs = [Reg::NotInit; 11];
        regs[10] = Reg::Ptr(Ptr::to(Target::Stack(depth)));
        Self { regs, stack: BTreeMap::new(), ret, callback: None, func }
    }
}

/// A reference that must be released before the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ref {
    pub(super) id: u32,
    pub(super) insn: usize,
}

/// Whether a path goes in circles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Circle {
    No,
    /// It has been here, but knows more now.
    Perhaps,
    Yes,
}

/// How many states of a path are remembered to see that it goes in circles.
const TRAIL: usize = 12;

/// One path's state before an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) pc: usize,
    pub(super) frames: Vec<Frame>,
    pub(super) refs: Vec<Ref>,
    /// A spin lock is held (its pointer's identity).
    pub(super) lock: Option<(u32, Target)>,
    /// Read-side critical sections, preemption and interrupts switched off.
    pub(super) rcu: u32,
    pub(super) preempt: u32,
    pub(super) irqs: Vec<u32>,
    /// States at jump targets since the last call.
    pub(super) trail: Vec<Rc<Self>>,
    /// A callback of the call at hand has just returned, for the n-th time.
    pub(super) called: Option<u64>,
    /// A callback that runs later in a context that may (`Some(true)`) or may not sleep.
    pub(super) later: Option<bool>,
    /// What is entered is a global function (its result must be a number), or the program itself.
    pub(super) global: Option<usize>,
}

impl State {
    /// A path that begins at `pc`.
    pub(super) fn at(pc: usize, frames: Vec<Frame>, global: Option<usize>) -> Self {
        let (refs, irqs) = (Vec::new(), Vec::new());
        Self {
            pc,
            frames,
            refs,
            lock: None,
            rcu: 0,
            preempt: 0,
            irqs,
            trail: Vec::new(),
            called: None,
            later: None,
            global,
        }
    }

    pub(super) fn frame(&mut self) -> Step<&mut Frame> {
        self.frames.last_mut().ok_or(Stop::Unsure)
    }

    /// A register, which must have been written.
    pub(super) fn read(&mut self, n: u8) -> Step<Reg> {
        match self.frame()?.regs.get(n as usize) {
            Some(Reg::NotInit) => refuse(Why::UninitRegister, format!("R{n} !read_ok")),
            Some(reg) => Ok(*reg),
            None => Err(Stop::Unsure),
        }
    }

    pub(super) fn write(&mut self, n: u8, value: Reg) -> Step<()> {
        if n == 10 {
            return refuse(Why::FramePointer, "frame pointer is read only".to_owned());
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

    /// Whether the path has been here before, and nothing has changed; remembers it otherwise
    /// (`states_maybe_looping`).
    pub(super) fn goes_in_circles(&mut self) -> Circle {
        let known = |s: &Slot| s.special.is_none() && !s.bytes.contains(&Byte::Unknown);
        let sure = self
            .frames
            .iter()
            .all(|f| !f.regs.contains(&Reg::Unknown) && f.stack.values().all(known) && f.callback.is_none());
        if !sure || self.trail.len() >= TRAIL {
            self.trail.clear();
            return Circle::No;
        }
        let mut circle = Circle::No;
        for old in self.trail.iter().filter(|old| old.pc == self.pc) {
            if old.covers(self) {
                if self.covers(old) {
                    return Circle::Yes;
                }
                circle = Circle::Perhaps;
            }
        }
        let mut trail = std::mem::take(&mut self.trail);
        trail.push(Rc::new(self.clone()));
        self.trail = trail;
        circle
    }

    /// Whether every refusal on the way from `new` would also be found from `self`.
    pub(super) fn covers(&self, new: &Self) -> bool {
        if self.frames.len() != new.frames.len() || self.refs.len() != new.refs.len() || self.lock != new.lock
        {
            return false;
        }
        if self.global != new.global
            || (self.rcu, self.preempt, self.irqs.len(), self.later, self.called)
                != (new.rcu, new.preempt, new.irqs.len(), new.later, new.called)
        {
            return false;
        }
        let mut ids = BTreeMap::new();
        self.frames.iter().zip(&new.frames).all(|(a, b)| {
            a.ret == b.ret
                && callback_covers(a.callback, b.callback)
                && a.regs.iter().zip(&b.regs).all(|(x, y)| reg_covers(x, y, &mut ids))
                && b.stack.iter().all(|(at, slot)| match a.stack.get(at) {
                    Some(old) => slot_covers(old, slot, &mut ids),
                    None => {
                        slot.special.is_none() && slot.spill.is_none_or(|(r, _)| !matches!(r, Reg::Ptr(_)))
                    }
                })
                && a.stack.iter().all(|(at, old)| b.stack.contains_key(at) || old.bytes == [Byte::Misc; 8])
        })
    }
}

fn callback_covers(a: Option<Callback>, b: Option<Callback>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Callback { depth: 0, ..a } == Callback { depth: 0, ..b } && a.depth <= b.depth,
        (a, b) => a == b,
    }
}

fn special_covers(a: Special, b: Special, same: &mut impl FnMut(u32, u32) -> bool) -> bool {
    match (a, b) {
        (
            Special::Dynptr { id: x, kind, reference, part },
            Special::Dynptr { id: y, kind: k, reference: r, part: p },
        ) => kind == k && part == p && same(x, y) && same(reference, r),
        (
            Special::Iter { ty, id, left, stale, part },
            Special::Iter { ty: t, id: i, left: l, stale: s, part: p },
        ) => ty == t && (left == 0) == (l == 0) && left >= l && stale == s && part == p && same(id, i),
        (Special::Irq { id }, Special::Irq { id: i }) => same(id, i),
        _ => false,
    }
}

fn slot_covers(a: &Slot, b: &Slot, ids: &mut BTreeMap<u32, u32>) -> bool {
    match (a.special, b.special) {
        (Some(x), Some(y)) => {
            let mut same = |x: u32, y: u32| x == y || (x != 0 && y != 0 && *ids.entry(x).or_insert(y) == y);
            return special_covers(x, y, &mut same);
        }
        (None, None) => {}
        _ => return false,
    }
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
                && same(x.dynptr, y.dynptr)
        }
        (x, y) => x == y,
    }
}
