//! What a program is refused for without following its paths: calls that form a circle, exception callbacks of the
//! wrong form, exceptions thrown in callbacks, frames that are too large together
//! (`check_max_stack_depth_subprog`, `btf_check_subprog_call` in `kernel/bpf/verifier.c`).

use std::collections::{BTreeMap, BTreeSet};

use bpf_vm_shim::btf::Type;
use bpf_vm_shim::isa::{Insn, class, pseudo};
use bpf_vm_shim::object::ProgType;

use super::walk::{Found, Walk};
use super::why::Why;

/// `MAX_BPF_STACK`.
const MAX_STACK: u32 = 512;

/// What a function, or what it calls, may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    pub(super) throws: bool,
    pub(super) sleeps: bool,
    pub(super) moves_packets: bool,
}

/// How many functions deep the search for large frames goes.
const MAX_DEPTH: usize = 256;

/// How a function is referred to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Edge {
    Call,
    /// As a callback, by a call that runs it later.
    Pointer,
}

impl Walk<'_> {
    /// Refusals that need no walk.
    pub(super) fn structure(&self) -> Option<Found> {
        self.exception_callback()
            .or_else(|| self.legacy_loads())
            .or_else(|| self.circle(0, &mut Vec::new(), &mut BTreeSet::new()))
            .or_else(|| self.throws_in_callback())
    }

    fn body(&self, at: usize) -> std::ops::Range<usize> {
        let end = self.prog.subprogs.iter().find(|s| s.start == at).map_or(self.insns.len(), |s| s.end);
        at..end.min(self.insns.len())
    }

    /// The functions that a function refers to.
    fn edges(&self, at: usize) -> Vec<(usize, Edge, usize)> {
        let mut out = Vec::new();
        let mut skip = false;
        for i in self.body(at) {
            let Some(insn) = self.insns.get(i) else { break };
            if std::mem::take(&mut skip) {
                continue;
            }
            let to = (i as i64 + 1 + i64::from(insn.imm)) as usize;
            if insn.is_ld_imm64() {
                skip = true;
                if insn.src == pseudo::FUNC {
                    out.push((i, Edge::Pointer, to));
                }
            } else if insn.class() == class::JMP && insn.opcode == 0x85 && insn.src == pseudo::CALL_LOCAL {
                out.push((i, Edge::Call, to));
            }
        }
        out
    }

    /// Whether a function, or one that it calls, has an instruction.
    fn reaches(&self, at: usize, is: &dyn Fn(&Insn) -> bool) -> bool {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![at]);
        while let Some(at) = todo.pop() {
            if !seen.insert(at) {
                continue;
            }
            if self.body(at).any(|i| self.insns.get(i).is_some_and(is)) {
                return true;
            }
            todo.extend(self.edges(at).iter().filter(|e| e.1 == Edge::Call).map(|e| e.2));
        }
        false
    }

    /// What a function, or what it calls, may do.
    pub(super) fn facts(&mut self, at: usize) -> Facts {
        if let Some(facts) = self.facts.get(&at) {
            return *facts;
        }
        let facts = Facts {
            throws: self.may_throw(at),
            sleeps: self.reaches(at, &|insn| self.sleeping_call(insn)),
            moves_packets: self.reaches(at, &|insn| self.packet_call(insn)),
        };
        self.facts.insert(at, facts);
        facts
    }

    /// Loads from packets leave the function, with 0 as its result.
    fn legacy_loads(&self) -> Option<Found> {
        self.prog.subprogs.iter().skip(1).find_map(|sub| {
            let legacy = |i: &usize| {
                self.insns.get(*i).is_some_and(|insn| {
                    insn.class() == class::LD && matches!(insn.opcode & 0xe0, 0x20 | 0x40)
                })
            };
            let at = self.body(sub.start).find(legacy)?;
            let m = "LD_ABS is only allowed in functions that return 'int'".to_owned();
            self.returns_no_number(sub.start).then_some((at, Why::NotAllowed, m))
        })
    }

    fn throw(&self, insn: &Insn) -> bool {
        insn.opcode == 0x85
            && insn.src == pseudo::CALL_KFUNC
            && self.prog.kfuncs.get(insn.imm as u32 as usize).is_some_and(|k| k.name == "bpf_throw")
    }

    /// Whether a function may throw.
    fn may_throw(&self, at: usize) -> bool {
        self.reaches(at, &|insn| self.throw(insn))
    }

    fn circle(&self, at: usize, path: &mut Vec<usize>, done: &mut BTreeSet<usize>) -> Option<Found> {
        if path.len() > 64 || !done.insert(at) {
            return None;
        }
        path.push(at);
        for (insn, edge, to) in self.edges(at) {
            if edge != Edge::Call {
                continue;
            }
            if path.contains(&to) {
                let name = |at: usize| {
                    self.prog.subprogs.iter().find(|s| s.start == at).map_or("?", |s| s.name.as_str())
                };
                let m = format!("recursive call from {}() to {}()", name(at), name(to));
                return Some((insn, Why::CallDepth, m));
            }
            if let Some(found) = self.circle(to, path, done) {
                return Some(found);
            }
        }
        path.pop();
        None
    }

    /// The functions named by `exception_callback:` tags.
    pub(super) fn exception_callbacks(&self) -> Vec<usize> {
        let (Some(btf), Some(main)) = (self.prog.btf, self.prog.subprogs.first().and_then(|s| s.func)) else {
            return Vec::new();
        };
        let tags = btf.decl_tags(main).filter(|t| t.component == -1);
        let names = tags.filter_map(|t| t.tag.strip_prefix("exception_callback:"));
        let start = |name: &str| self.prog.subprogs.iter().find(|s| s.name == name).map(|s| s.start);
        names.filter_map(start).collect()
    }

    fn exception_callback(&self) -> Option<Found> {
        let found = |m: &str| Some((0, Why::Exception, m.to_owned()));
        let callbacks = &self.exceptions;
        let cb = *callbacks.first()?;
        if callbacks.len() > 1 {
            return found("multiple exception callback tags for main subprog");
        }
        let (btf, _, proto) = self.proto(cb)?;
        let number = |id| matches!(btf.resolve(id), Ok((_, Type::Int(_) | Type::Enum(_) | Type::Enum64(_))));
        if matches!(btf.resolve(proto.ret), Ok((_, Type::Void))) {
            return found("exception cb cannot return void");
        }
        if !number(proto.ret) {
            let m = "Global function of the exception callback: return value not void or scalar";
            return found(m);
        }
        let mut params = proto.params();
        if params.len() != 1 || !params.next().is_some_and(|p| number(p.type_id)) {
            return found("exception cb only supports single integer argument");
        }
        // Nothing but an exception runs it.
        for sub in self.prog.subprogs {
            for (insn, edge, to) in self.edges(sub.start) {
                if edge == Edge::Call && to == cb {
                    return Some((
                        insn,
                        Why::Exception,
                        format!("insn {insn} cannot call exception cb directly"),
                    ));
                }
            }
        }
        None
    }

    fn throws_in_callback(&self) -> Option<Found> {
        let mut callbacks: BTreeSet<usize> = self.exceptions.iter().copied().collect();
        for sub in self.prog.subprogs {
            callbacks.extend(self.edges(sub.start).iter().filter(|e| e.1 == Edge::Pointer).map(|e| e.2));
        }
        let throws = callbacks.into_iter().find(|cb| self.may_throw(*cb))?;
        let m = format!("bpf_throw kfunc cannot be called from callback subprog at {throws}");
        Some((throws, Why::Exception, m))
    }

    /// Frames of a chain of calls share the stack, except where every function has its own
    /// (`bpf_enable_priv_stack`).
    pub(super) fn deep_stack(&self) -> Option<Found> {
        use ProgType as P;
        let own = matches!(
            self.prog.prog_type,
            P::Kprobe | P::Tracepoint | P::PerfEvent | P::RawTracepoint | P::Tracing | P::Lsm | P::StructOps
        );
        if own || self.gave_up() {
            return None;
        }
        let later = self.later_callbacks();
        let mut below = BTreeMap::new();
        std::iter::once(0).chain(later.iter().copied()).find_map(|at| {
            let (sum, calls) = self.depth(at, &later, &mut below);
            let m = format!("combined stack size of {calls} calls is {sum}. Too large");
            (sum > MAX_STACK).then_some((at, Why::StackSize, m))
        })
    }

    /// The bytes that a function and what it calls take at most, and how many calls deep that is.
    fn depth(&self, at: usize, later: &[usize], known: &mut BTreeMap<usize, (u32, u32)>) -> (u32, u32) {
        if let Some(found) = known.get(&at) {
            return *found;
        }
        if known.len() >= MAX_DEPTH {
            return (0, 0);
        }
        known.insert(at, (0, 0));
        let own = self.depths.get(&at).copied().unwrap_or(0).next_multiple_of(16);
        let deepest = self.edges(at).into_iter().filter_map(|(_, edge, to)| {
            let skip = edge == Edge::Pointer && later.contains(&to);
            (!skip).then(|| self.depth(to, later, known))
        });
        let (sum, calls) = deepest.max().unwrap_or((0, 0));
        known.insert(at, (own.saturating_add(sum), calls + 1));
        (own.saturating_add(sum), calls + 1)
    }

    /// Callbacks that run later, on a stack of their own: those of timers, work queues and exceptions.
    fn later_callbacks(&self) -> Vec<usize> {
        let mut out = self.exceptions.clone();
        out.extend(self.later.iter().copied());
        out
    }
}
