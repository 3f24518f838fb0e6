//! Callbacks: bodies that a call runs, none or more times, or that run later
//! (`push_callback_call`, `prepare_func_exit`, `set_*_callback_state` in `kernel/bpf/verifier.c`).

use super::call::map_of;
use super::state::{Callback, Frame, Ptr, Reg, State, Step, Stop, Target, refuse};
use super::walk::Walk;
use super::why::Why;
use crate::maps::MapId;

/// How often a callback is followed before the rest is accepted.
const ROUNDS: u64 = 32;

/// `MAX_CALL_FRAMES`.
const MAX_FRAMES: usize = 8;

impl Walk<'_> {
    /// Follows the callback of a helper, if it has one; whether the helper was followed.
    pub(super) fn callback(&mut self, state: &mut State, id: u32, args: &[Reg; 11]) -> Step<bool> {
        let func = |reg: &Reg| match reg {
            Reg::Ptr(Ptr { target: Target::Func(at), .. }) => Some(*at),
            _ => None,
        };
        let any = Reg::any;
        let value = |map: Option<MapId>| match map {
            Some(map) => Reg::Ptr(Ptr::to(Target::MapValue(map))),
            None => Reg::Unknown,
        };
        let map = map_of(&args[1]);
        let regs = |regs: &[Reg]| {
            let mut out = [Reg::NotInit; 5];
            out.iter_mut().zip(regs).for_each(|(o, r)| *o = *r);
            out
        };
        let (at, given, again) = match id {
            181 => {
                let Some(at) = func(&args[2]) else { return Ok(false) };
                let most = match &args[1] {
                    Reg::Scalar(s, _) => u64::from(s.u32max),
                    _ => return Ok(false),
                };
                (at, regs(&[any(), args[3]]), most)
            }
            164 => {
                let Some(at) = func(&args[2]) else { return Ok(false) };
                (at, regs(&[args[1], Reg::Unknown, value(map), args[3]]), u64::MAX)
            }
            180 => {
                let Some(at) = func(&args[3]) else { return Ok(false) };
                (at, regs(&[Reg::Unknown, Reg::Unknown, args[4]]), u64::MAX)
            }
            209 => {
                let Some(at) = func(&args[2]) else { return Ok(false) };
                (at, regs(&[Reg::Ptr(Ptr::to(Target::Dynptr)), args[3]]), u64::MAX)
            }
            170 => {
                let Some(at) = func(&args[2]) else { return Ok(false) };
                let map = match &args[1] {
                    Reg::Ptr(Ptr { target: Target::MapValue(map), .. }) => Some(*map),
                    _ => None,
                };
                let key = map.map_or(Reg::Unknown, |m| Reg::Ptr(Ptr::to(Target::Map(m))));
                self.run_later(at, regs(&[key, Reg::Unknown, value(map)]), false);
                return Ok(true);
            }
            _ => return Ok(false),
        };
        let depth = state.frames.len();
        if depth >= MAX_FRAMES || again == 0 {
            return Ok(true);
        }
        let called = state.called.take().unwrap_or(0);
        if called >= again.min(ROUNDS) {
            return Ok(true);
        }
        let mut inner = state.clone();
        let mut frame = Frame::new(depth, state.pc, at);
        frame.callback =
            Some(Callback { range: (0, 1), later: false, again, depth: called + 1, refs: state.refs.len() });
        frame.regs[1..6].copy_from_slice(&given);
        inner.frames.push(frame);
        inner.pc = at;
        if !self.visited(&inner) {
            self.todo.push(inner);
        }
        Ok(true)
    }

    /// A callback that runs later, by itself.
    pub(super) fn run_later(&mut self, at: usize, given: [Reg; 5], may_sleep: bool) {
        if !self.later.insert(at) {
            return;
        }
        let mut frame = Frame::new(0, 0, at);
        frame.callback = Some(Callback { range: (0, 0), later: true, again: 0, depth: 0, refs: 0 });
        frame.regs[1..6].copy_from_slice(&given);
        let mut state = State::at(at, vec![frame], None);
        state.later = Some(may_sleep);
        self.todo.push(state);
    }

    /// A callback returns; where that goes on, if anywhere.
    pub(super) fn callback_exit(&mut self, mut state: State, how: Callback, r0: Reg) -> Step<Option<State>> {
        match r0 {
            Reg::NotInit => return refuse(Why::UninitRegister, "R0 !read_ok".to_owned()),
            Reg::Scalar(s, _) if s.smin < how.range.0 || s.smax > how.range.1 => {
                let (lo, hi) = how.range;
                let m = format!(
                    "At callback return the register R0 has smin={} smax={} should have been in [{lo}, {hi}]",
                    s.smin, s.smax
                );
                return refuse(Why::ReturnValue, m);
            }
            Reg::Ptr(p) => {
                let m = format!("At callback return the register R0 is not a known value ({})", p.name());
                return refuse(Why::ReturnValue, m);
            }
            _ => {}
        }
        if let Some(r) = state.refs.get(how.refs) {
            let m = format!("Unreleased reference id={} alloc_insn={}", r.id, r.insn);
            return refuse(Why::UnreleasedReference, m);
        }
        if how.later {
            self.nothing_held(&state, "BPF_EXIT instruction in callback")?;
            return Ok(None);
        }
        let Some(frame) = state.frames.pop() else { return Err(Stop::Unsure) };
        let depth = state.frames.len();
        state.for_each(|r| {
            if matches!(r, Reg::Ptr(p) if p.target == Target::Stack(depth)) {
                *r = Reg::Unknown;
            }
        });
        // The call is looked at again: it may end there, or run the callback once more.
        state.pc = frame.ret;
        state.called = Some(how.depth);
        Ok(Some(state))
    }
}
