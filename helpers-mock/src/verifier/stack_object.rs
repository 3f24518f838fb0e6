//! Dynptrs, open-coded iterators and saved interrupt flags: objects on the stack that only calls may touch
//! (`process_dynptr_func`, `process_iter_arg`, `process_irq_flag`, `destroy_if_dynptr_stack_slot` in
//! `kernel/bpf/verifier.c`).

use super::state::{Byte, DynKind, Ref, Reg, Slot, Special, State, Step, Stop, Target, Ty, refuse};
use super::walk::Walk;
use super::why::Why;

/// How many elements of an iterator are followed before the rest is accepted.
const ROUNDS: u8 = 40;

/// A dynptr that was passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dynptr {
    pub(super) id: u32,
    pub(super) kind: DynKind,
    pub(super) reference: u32,
}

/// Where on the stack an object lies that an argument points to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    depth: usize,
    off: i64,
}

fn bad<T>(message: String) -> Step<T> {
    refuse(Why::StackObject, message)
}

impl Walk<'_> {
    /// The place of `slots` slots; none if it is not known.
    fn place(&mut self, state: &State, reg: &Reg, n: u8, slots: i64, what: &str) -> Step<Option<Place>> {
        let wrong = || bad(format!("R{n} expected pointer to {what}"));
        let p = match reg {
            Reg::Ptr(p) => p,
            Reg::Scalar(..) => return wrong(),
            _ => return Ok(None),
        };
        let depth = match p.target {
            Target::Stack(depth) => depth,
            Target::Kernel => return Ok(None),
            _ => return wrong(),
        };
        let Some(off) = p.fixed() else {
            return bad(format!("{what} has to be at a constant offset"));
        };
        if off % 8 != 0 || off < -512 || off + 8 * slots > 0 {
            return bad(format!("cannot pass in {what} at an offset={off}"));
        }
        self.used(state, depth, off);
        Ok(Some(Place { depth, off }))
    }

    /// An initialised dynptr; none if it is not known.
    pub(super) fn dynptr(&mut self, state: &State, reg: &Reg, n: u8, release: bool) -> Step<Option<Dynptr>> {
        if let Reg::Ptr(p) = reg
            && p.target == Target::Dynptr
        {
            if p.fixed() != Some(0) {
                return bad(format!("dereference of modified dynptr_ptr ptr R{n} off={} disallowed", p.off));
            }
            if release {
                return bad("CONST_PTR_TO_DYNPTR cannot be released".to_owned());
            }
            return Ok(None);
        }
        let Some(at) = self.place(state, reg, n, 2, "stack or const struct bpf_dynptr")? else {
            return Ok(None);
        };
        match (slot(state, at, 0), slot(state, at, 1)) {
            (Some(Found::Special(first)), Some(Found::Special(second))) => match (first, second) {
                (
                    Special::Dynptr { id, kind, reference, part: 0 },
                    Special::Dynptr { id: same, part: 1, .. },
                ) if id == same => Ok(Some(Dynptr { id, kind, reference })),
                _ => bad(format!("Expected an initialized dynptr as R{n}")),
            },
            (Some(Found::Unsure), _) | (_, Some(Found::Unsure)) => Ok(None),
            _ => bad(format!("Expected an initialized dynptr as R{n}")),
        }
    }

    /// Makes a dynptr on the stack.
    pub(super) fn make_dynptr(
        &mut self,
        state: &mut State,
        reg: &Reg,
        n: u8,
        kind: DynKind,
        reference: u32,
    ) -> Step<()> {
        if matches!(reg, Reg::Ptr(p) if p.target == Target::Dynptr) {
            return bad("Dynptr has to be an uninitialized dynptr".to_owned());
        }
        let Some(at) = self.place(state, reg, n, 2, "stack or const struct bpf_dynptr")? else {
            state.forget_stacks();
            return Ok(());
        };
        destroy(state, at.depth, at.off, at.off + 16)?;
        let id = self.new_id();
        let frame = state.frames.get_mut(at.depth).ok_or(Stop::Unsure)?;
        for part in 0..2u8 {
            let special = Special::Dynptr { id, kind, reference, part };
            frame.stack.insert(at.off + 8 * i64::from(part), Slot::special(special));
        }
        Ok(())
    }

    /// `bpf_iter_*_new`.
    pub(super) fn make_iterator(&mut self, state: &mut State, reg: &Reg, slots: u8, ty: Ty) -> Step<()> {
        let Some(at) = self.place(state, reg, 1, slots.into(), "an iterator on stack")? else {
            state.forget_stacks();
            return Ok(());
        };
        for part in 0..slots {
            if let Some(Found::Special(Special::Iter { .. })) = slot(state, at, part) {
                return bad(format!("expected uninitialized iter_{} as R1", self.ty_name(ty)));
            }
        }
        destroy(state, at.depth, at.off, at.off + 8 * i64::from(slots))?;
        let id = self.new_id();
        state.refs.push(Ref { id, insn: state.pc });
        let frame = state.frames.get_mut(at.depth).ok_or(Stop::Unsure)?;
        for part in 0..slots {
            let special = Special::Iter { ty, id, left: ROUNDS, stale: false, part };
            frame.stack.insert(at.off + 8 * i64::from(part), Slot::special(special));
        }
        Ok(())
    }

    /// An iterator that has begun; none if it is not known.
    pub(super) fn iterator(
        &mut self,
        state: &State,
        reg: &Reg,
        n: u8,
        slots: u8,
        ty: Ty,
    ) -> Step<Option<(Place, u8, bool)>> {
        let Some(at) = self.place(state, reg, n, slots.into(), "an iterator on stack")? else {
            return Ok(None);
        };
        let mut first: Option<(u32, u8, bool)> = None;
        for want in 0..slots {
            match slot(state, at, want) {
                Some(Found::Special(Special::Iter { ty: t, id, left, stale, part }))
                    if t == ty && part == want && first.is_none_or(|(f, ..)| f == id) =>
                {
                    first = Some((id, left, stale));
                }
                Some(Found::Unsure) => return Ok(None),
                _ => return bad(format!("expected an initialized iter_{} as R{n}", self.ty_name(ty))),
            }
        }
        Ok(first.map(|(_, left, stale)| (at, left, stale)))
    }

    /// Sets how many more elements are followed.
    pub(super) fn set_left(&self, state: &mut State, at: Place, elements: u8) {
        for slot in state.frames.get_mut(at.depth).into_iter().flat_map(|f| f.stack.range_mut(at.off..)) {
            match &mut slot.1.special {
                Some(Special::Iter { left, part, .. }) if *slot.0 == at.off + 8 * i64::from(*part) => {
                    *left = elements;
                }
                _ => break,
            }
        }
    }

    /// `bpf_iter_*_destroy`.
    pub(super) fn end_iterator(&self, state: &mut State, at: Place, slots: u8) {
        let Some(frame) = state.frames.get_mut(at.depth) else { return };
        let mut ended = None;
        for part in 0..slots {
            let slot = frame.stack.insert(at.off + 8 * i64::from(part), Slot::of(Byte::Misc));
            if let Some(Special::Iter { id, .. }) = slot.and_then(|s| s.special) {
                ended = Some(id);
            }
        }
        state.refs.retain(|r| Some(r.id) != ended);
        // What it gave is gone.
        state.for_each(|r| {
            if matches!(r, Reg::Ptr(p) if p.reference != 0 && Some(p.reference) == ended) {
                *r = Reg::any();
            }
        });
    }

    /// `bpf_local_irq_save` and `bpf_local_irq_restore`.
    pub(super) fn irq_flag(&mut self, state: &mut State, reg: &Reg, save: bool) -> Step<()> {
        let Some(at) = self.place(state, reg, 1, 1, "stack for irq flag")? else {
            return Err(Stop::Unsure);
        };
        let held = slot(state, at, 0);
        if save {
            if let Some(Found::Special(Special::Irq { .. })) = held {
                return bad("expected uninitialized irq flag as R1".to_owned());
            }
            destroy(state, at.depth, at.off, at.off + 8)?;
            let id = self.new_id();
            let frame = state.frames.get_mut(at.depth).ok_or(Stop::Unsure)?;
            frame.stack.insert(at.off, Slot::special(Special::Irq { id }));
            state.irqs.push(id);
            return Ok(());
        }
        match held {
            Some(Found::Special(Special::Irq { id })) => {
                if state.irqs.last() != Some(&id) {
                    let m = "cannot restore irq state out of order, expected the last one saved";
                    return refuse(Why::UnbalancedRegion, m.to_owned());
                }
                state.irqs.pop();
                let frame = state.frames.get_mut(at.depth).ok_or(Stop::Unsure)?;
                frame.stack.insert(at.off, Slot::of(Byte::Misc));
                Ok(())
            }
            Some(Found::Unsure) => Err(Stop::Unsure),
            _ => bad("expected an initialized irq flag as R1".to_owned()),
        }
    }

    /// Bytes of the stack are written, by the program or by what it calls.
    pub(super) fn overwrite(
        &self,
        state: &mut State,
        depth: usize,
        lo: i64,
        hi: i64,
        direct: bool,
    ) -> Step<()> {
        if !direct {
            let frame = state.frames.get(depth).ok_or(Stop::Unsure)?;
            let hit = |s: &Slot| matches!(s.special, Some(Special::Dynptr { .. }));
            if let Some((at, _)) = frame.stack.range(lo & !7..hi).find(|(_, s)| hit(s)) {
                return bad(format!("potential write to dynptr at off={at} disallowed"));
            }
        }
        destroy(state, depth, lo, hi)
    }
}

/// What lies in a slot.
#[derive(Clone, Copy, Debug)]
enum Found {
    Special(Special),
    /// Not known.
    Unsure,
}

fn slot(state: &State, at: Place, part: u8) -> Option<Found> {
    let slot = state.frames.get(at.depth)?.stack.get(&(at.off + 8 * i64::from(part)))?;
    match slot.special {
        Some(special) => Some(Found::Special(special)),
        None if slot.bytes.contains(&Byte::Unknown) => Some(Found::Unsure),
        None => None,
    }
}

/// Whatever objects lie between `lo` and `hi` are no more.
fn destroy(state: &mut State, depth: usize, lo: i64, hi: i64) -> Step<()> {
    // Newer kernels let go of one of several dynptrs that share a reference.
    let held: Vec<(u32, u32)> = dynptrs(state).map(|d| (d.id, d.reference)).collect();
    let shared: Vec<(u32, u32)> =
        held.iter().filter(|(id, r)| held.iter().any(|(i, s)| i != id && s == r)).copied().collect();
    let frame = state.frames.get_mut(depth).ok_or(Stop::Unsure)?;
    let mut gone = Vec::new();
    for (at, slot) in frame.stack.range_mut(lo & !7..hi) {
        match slot.special.take() {
            Some(Special::Dynptr { id, reference, .. }) => {
                if reference != 0 && !shared.contains(&(id, reference)) {
                    return bad(format!("cannot overwrite referenced dynptr at off={at}"));
                }
                gone.push(id);
            }
            Some(_) => {}
            None => continue,
        }
        *slot = Slot::of(Byte::Misc);
    }
    for id in gone {
        forget_dynptr(state, id);
    }
    Ok(())
}

/// Every dynptr on the stacks.
fn dynptrs(state: &State) -> impl Iterator<Item = Dynptr> {
    state.frames.iter().flat_map(|f| f.stack.values()).filter_map(|slot| match slot.special {
        Some(Special::Dynptr { id, kind, reference, part: 0 }) => Some(Dynptr { id, kind, reference }),
        _ => None,
    })
}

/// A dynptr and the memory behind it are gone.
fn forget_dynptr(state: &mut State, gone: u32) {
    for frame in &mut state.frames {
        for slot in frame.stack.values_mut() {
            if matches!(slot.special, Some(Special::Dynptr { id, .. }) if id == gone) {
                *slot = Slot::of(Byte::Misc);
            }
        }
    }
    state.for_each(|r| {
        if matches!(r, Reg::Ptr(p) if p.dynptr == gone) {
            *r = Reg::any();
        }
    });
}

/// A reference that dynptrs hold is released (`unmark_stack_slots_dynptr`).
pub(super) fn release_dynptr(state: &mut State, released: Dynptr) {
    if released.reference == 0 {
        forget_dynptr(state, released.id);
        return;
    }
    let shared = dynptrs(state).filter(|d| d.reference == released.reference);
    let ids: Vec<u32> = shared.map(|d| d.id).chain([released.id]).collect();
    for id in ids {
        forget_dynptr(state, id);
    }
    state.refs.retain(|r| r.id != released.reference);
}

/// Memory behind dynptrs of packets may have moved (`clear_all_pkt_pointers`).
pub(super) fn packets_moved(state: &mut State) {
    let packet = |d: &Dynptr| matches!(d.kind, DynKind::Skb | DynKind::Xdp | DynKind::SkbMeta);
    let ids: Vec<u32> = dynptrs(state).filter(packet).map(|d| d.id).collect();
    state.for_each(|r| {
        if matches!(r, Reg::Ptr(p) if p.dynptr != 0 && ids.contains(&p.dynptr)) {
            *r = Reg::any();
        }
    });
}
