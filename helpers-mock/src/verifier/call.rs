//! Calls of helpers and kernel functions (`check_helper_call`, `check_func_arg`, `check_kfunc_call`).

use bpf_vm_shim::isa::{Insn, pseudo};
use bpf_vm_shim::object::MapType;

use super::alu::MAX_VAR_OFF;
use super::mem::Access;
use super::stack_object::{packets_moved, release_dynptr};
use super::state::{DynKind, Ptr, Ref, Reg, SockKind, State, Step, Stop, Target, Trust, refuse};
use super::walk::Walk;
use super::why::Why;
use crate::helpers::{self, Arg};
use crate::maps::MapId;

/// Helpers that give no result.
const VOID: &[u32] = &[93, 94, 132, 133, 199, 200];
/// Helpers that give pointers or otherwise more than a number, and are not modelled.
const OTHER: &[u32] =
    &[107, 136, 137, 138, 139, 140, 145, 153, 154, 156, 158, 162, 175, 178, 194, 196, 203, 210];
/// Helpers that may move packets (`bpf_helper_changes_pkt_data`).
pub(super) const MOVES_PACKET: &[u32] =
    &[9, 10, 11, 12, 13, 18, 19, 31, 38, 39, 43, 44, 50, 54, 57, 65, 73, 74, 75, 76, 90, 91, 142, 143, 144];
/// Helpers that return a number within bounds (`do_refine_retval_range`) have ids here.
const BOUNDED: &[u32] = &[45, 67, 114, 115, 141];

/// Helpers for packets (`bpf_skb_load_bytes`, `bpf_xdp_adjust_head` and their like).
const PACKET: &[u32] = &[9, 10, 11, 13, 18, 19, 20, 21, 26, 31, 32, 38, 39, 43, 44, 54, 65, 68];

impl Walk<'_> {
    pub(super) fn call(&mut self, mut state: State, insn: Insn) -> Step<Option<State>> {
        if insn.opcode & 0x08 != 0 {
            return Err(Stop::Unsure);
        }
        match insn.src {
            pseudo::CALL_LOCAL => {
                let at = (state.pc as i64 + 1 + i64::from(insn.imm)) as usize;
                return self.call_local(state, at);
            }
            pseudo::CALL_HELPER => self.helper(&mut state, insn.imm as u32)?,
            pseudo::CALL_KFUNC => self.kfunc(&mut state, insn.imm as u32 as usize)?,
            _ => return Err(Stop::Unsure),
        }
        state.pc += 1;
        Ok(Some(state))
    }

    fn helper(&mut self, state: &mut State, id: u32) -> Step<()> {
        let name = helpers::name_of(id);
        let row = helpers::by_id(id);
        let args = state.frame()?.regs;
        self.sleeping_helper(state, id)?;
        self.map_fits(id, &args)?;
        if PACKET.contains(&id) && helpers::never_has_packets(self.prog.prog_type) {
            return refuse(Why::NotAllowed, format!("program of this type cannot use helper {name}#{id}"));
        }
        let mut escaped = row.is_none();
        let called = state.called;
        if let Some(row) = row {
            for (i, kind) in row.args.iter().enumerate().take(5) {
                self.argument(state, *kind, i as u8 + 1, &args, id)?;
                escaped |= matches!(kind, Arg::Func);
            }
        }
        if self.callback(state, id, &args)? {
            escaped = false;
        }
        if called.is_some_and(|n| n > 0) {
            state.called = None;
        }
        if escaped && self.may_change_stack(state) {
            state.forget_stacks();
        }
        if state.lock.is_some() && !matches!(id, 93 | 94 | 194) {
            return refuse(Why::Lock, "function calls are not allowed while holding a lock".to_owned());
        }
        let mut exchanged = None;
        match id {
            12 => self.nothing_held(state, "tail_call")?,
            46 | 122 => self.context_argument(&args[1], id)?,
            105 | 106 => aligned(&args[4], 8)?,
            163 => aligned(&args[3], 4)?,
            147 if !self.may_take_paths() => {
                let m = "helper call is not allowed in probe".to_owned();
                return refuse(Why::NotAllowed, m);
            }
            153 | 154 => percpu(&args[1])?,
            187 => self.set_retval(&args[1])?,
            198 => {
                let id = self.new_id();
                state.refs.push(Ref { id, insn: state.pc });
                self.make_dynptr(state, &args[4], 4, DynKind::Ringbuf, id)?;
            }
            197 => {
                from_memory(&args[1])?;
                self.make_dynptr(state, &args[4], 4, DynKind::Local, 0)?;
            }
            199 | 200 => self.end_ringbuf_dynptr(state, &args[1])?,
            202 => {
                if let Some(d) = self.dynptr(state, &args[1], 1, false)?
                    && matches!(d.kind, DynKind::Skb | DynKind::SkbMeta)
                {
                    packets_moved(state);
                    forget_packets(state, Reg::any());
                }
            }
            132 | 133 => self.release(state, args[1], &name)?,
            86 if self.prog.prog_type == bpf_vm_shim::object::ProgType::FlowDissector => {
                let m = format!("program of this type cannot use helper {name}#{id}");
                return refuse(Why::NotAllowed, m);
            }
            86 => self.release_sock(state, args[1])?,
            95 | 96 | 98 => socket(&args[1])?,
            93 | 94 => self.lock(state, args[1], id == 93)?,
            194 => exchanged = Some(self.exchange(state, &args)?),
            81 if !is_zero(&args[2]) && args[2] != Reg::Unknown => {
                let m = "get_local_storage() doesn't support non-zero flags";
                return refuse(Why::HelperArgument, m.to_owned());
            }
            160 => {
                use bpf_vm_shim::object::ProgType as P;
                if matches!(self.prog.prog_type, P::Kprobe | P::Tracepoint | P::PerfEvent | P::RawTracepoint)
                {
                    let m = format!("program of this type cannot use helper {name}#{id}");
                    return refuse(Why::NotAllowed, m);
                }
            }
            _ => {}
        }
        if MOVES_PACKET.contains(&id) {
            // A tail call that is made from the program itself does not come back.
            let stays = id == 12 && state.frames.len() <= 1;
            forget_packets(state, if stays { Reg::Unknown } else { Reg::any() });
            if !stays {
                packets_moved(state);
            }
        }
        if id == 12 {
            // The program that takes over returns to this function's caller.
            self.leaves(state, Reg::any())?;
        }
        let result = match exchanged {
            Some(old) => old,
            None => self.result(state, id, &args)?,
        };
        let frame = state.frame()?;
        frame.regs[1..6].fill(Reg::NotInit);
        frame.regs[0] = result;
        Ok(())
    }

    fn result(&mut self, state: &mut State, id: u32, args: &[Reg; 11]) -> Step<Reg> {
        let map = map_of(&args[1]);
        if VOID.contains(&id) {
            return Ok(Reg::NotInit);
        }
        if id == 158 {
            let ty = self.ty("task_struct");
            return Ok(Reg::Ptr(Ptr::to(Target::Obj { ty, trust: Trust::Trusted })));
        }
        if let Some(storage) = self.storage(id, args) {
            return Ok(storage);
        }
        if (136..=140).contains(&id) {
            let reference = match &args[1] {
                Reg::Ptr(p) => p.reference,
                _ => 0,
            };
            let id = self.new_id();
            return Ok(Reg::Ptr(Ptr { or_null: true, id, reference, ..Ptr::to(Target::Kernel) }));
        }
        if id == 203 {
            return self.data_slice(state, args);
        }
        let sockets = matches!(id, 84 | 85 | 95 | 96 | 98 | 99);
        if OTHER.contains(&id) || BOUNDED.contains(&id) || (helpers::by_id(id).is_none() && !sockets) {
            return Ok(Reg::Unknown);
        }
        let fresh = Ptr { or_null: true, id: self.new_id(), ..Ptr::to(Target::Kernel) };
        Ok(match id {
            1 | 195 => {
                let Some(map) = map else { return Ok(Reg::Unknown) };
                let def = &self.kernel.maps.get(map).ok_or(Stop::Unsure)?.def;
                match def.map_type {
                    MapType::Hash
                    | MapType::Array
                    | MapType::PercpuHash
                    | MapType::PercpuArray
                    | MapType::LruHash
                    | MapType::LruPercpuHash
                    | MapType::LpmTrie => {
                        // Newer kernels know that a constant index into an array is there.
                        let sure = matches!(def.map_type, MapType::Array | MapType::PercpuArray)
                            && self
                                .constant_key(state, &args[2])
                                .is_none_or(|k| k < u64::from(def.max_entries));
                        if sure {
                            Reg::Ptr(Ptr { target: Target::MapValue(map), or_null: false, ..fresh })
                        } else {
                            Reg::Ptr(Ptr { target: Target::MapValue(map), ..fresh })
                        }
                    }
                    other => self.looked_up(state, other),
                }
            }
            131 => {
                let size = match &args[2] {
                    Reg::Scalar(s, _) => s.known(),
                    _ => None,
                };
                let Some(size) = size else { return Err(Stop::Unsure) };
                let id = fresh.id;
                state.refs.push(Ref { id, insn: state.pc });
                Reg::Ptr(Ptr { target: Target::Mem { size, writable: true }, reference: id, ..fresh })
            }
            84 | 85 | 99 => {
                let held = fresh.id;
                state.refs.push(Ref { id: held, insn: state.pc });
                let kind = if id == 99 { SockKind::Common } else { SockKind::Full };
                Reg::Ptr(Ptr { target: Target::Sock(kind), reference: held, ..fresh })
            }
            // Casts share the reference of what they cast.
            95 | 96 => {
                let Reg::Ptr(p) = &args[1] else { return Ok(Reg::Unknown) };
                let kind = if id == 96 { SockKind::Tcp } else { SockKind::Full };
                Reg::Ptr(Ptr { target: Target::Sock(kind), reference: p.reference, ..fresh })
            }
            98 => Reg::Ptr(Ptr { target: Target::Sock(SockKind::Full), ..fresh }),
            81 => match map {
                Some(map) => Reg::Ptr(Ptr::to(Target::MapValue(map))),
                None => Reg::Unknown,
            },
            8 => Reg::Unknown,
            _ => Reg::any(),
        })
    }

    /// The number that a key argument certainly is; none also means that it is not certain.
    fn constant_key(&mut self, state: &mut State, key: &Reg) -> Option<u64> {
        let access = Access { reg: 2, off: 0, size: 4, write: false, direct: true };
        match self.load(state, *key, access) {
            Ok(Reg::Scalar(s, _)) => match s.known() {
                Some(v) => Some(v),
                // Not a constant: surely not taken for one.
                None => Some(u64::MAX),
            },
            _ => None,
        }
    }

    fn lock(&mut self, state: &mut State, arg: Reg, take: bool) -> Step<()> {
        let Reg::Ptr(p) = arg else {
            if matches!(arg, Reg::Scalar(..)) {
                return refuse(Why::Lock, format!("R1 type={} expected=map_value, ptr_, ptr_", arg.name()));
            }
            return Err(Stop::Unsure);
        };
        if !matches!(p.target, Target::MapValue(_)) {
            return Err(Stop::Unsure);
        }
        // `check_map_prog_compatibility`, for any map whose values have a lock.
        use bpf_vm_shim::object::ProgType as P;
        match self.prog.prog_type {
            prog_type if prog_type.is_tracing() => {
                return refuse(Why::NotAllowed, "tracing progs cannot use bpf_spin_lock yet".to_owned());
            }
            P::SocketFilter => {
                return refuse(
                    Why::NotAllowed,
                    "socket filter progs cannot use bpf_spin_lock yet".to_owned(),
                );
            }
            _ => {}
        }
        let name = if take { "bpf_spin_lock" } else { "bpf_spin_unlock" };
        if p.fixed().is_none() {
            let m = "R1 doesn't have constant offset. bpf_spin_lock has to be at the constant offset";
            return refuse(Why::Lock, m.to_owned());
        }
        if p.or_null {
            return refuse(Why::Lock, format!("R1 type={} expected=map_value", p.name()));
        }
        let key = Some((p.id, p.target));
        match (take, state.lock) {
            (true, Some(_)) => refuse(Why::Lock, "Locking two bpf_spin_locks are not allowed".to_owned()),
            (true, None) => {
                state.lock = key;
                Ok(())
            }
            (false, None) => refuse(Why::Lock, format!("{name} without taking a lock")),
            (false, held) if held != key => refuse(Why::Lock, format!("{name} of different lock")),
            (false, _) => {
                state.lock = None;
                Ok(())
            }
        }
    }

    fn release_sock(&mut self, state: &mut State, arg: Reg) -> Step<()> {
        socket(&arg)?;
        match arg {
            Reg::Ptr(p) if matches!(p.target, Target::Sock(_)) && p.reference == 0 => {
                let m = "release helper bpf_sk_release expects referenced PTR_TO_BTF_ID passed to R1";
                refuse(Why::HelperArgument, m.to_owned())
            }
            Reg::Ptr(p) if matches!(p.target, Target::Sock(_)) => self.release(state, arg, "bpf_sk_release"),
            _ => {
                state.refs.clear();
                Ok(())
            }
        }
    }

    fn release(&mut self, state: &mut State, arg: Reg, name: &str) -> Step<()> {
        let Reg::Ptr(p) = arg else { return Ok(()) };
        if p.reference == 0 {
            if matches!(p.target, Target::Kernel) {
                return Ok(());
            }
            let m = format!("R1 must be referenced when passed to release function {name}");
            return refuse(Why::HelperArgument, m);
        }
        if p.fixed() != Some(0) {
            let m = format!("R1 must have zero offset when passed to release func {name}");
            return refuse(Why::HelperArgument, m);
        }
        state.refs.retain(|r| r.id != p.reference);
        state.for_each(|r| {
            if matches!(r, Reg::Ptr(q) if q.reference == p.reference) {
                *r = Reg::any();
            }
        });
        Ok(())
    }

    fn argument(&mut self, state: &mut State, kind: Arg, n: u8, args: &[Reg; 11], id: u32) -> Step<()> {
        let reg = state.read(n)?;
        let fail =
            |want: &str| refuse(Why::HelperArgument, format!("R{n} type={} expected={want}", reg.name()));
        if reg == Reg::Unknown {
            return self.unknown_argument(state, kind);
        }
        let map = map_of(&args[1]).and_then(|m| self.kernel.maps.get(m)).map(|m| m.def.clone());
        let access = |size: u64, write| Access { reg: n, off: 0, size, write, direct: false };
        match kind {
            Arg::Any | Arg::KernelPtr | Arg::KernelPtrOrNull | Arg::Str | Arg::InMapValue => Ok(()),
            Arg::Ctx => match reg {
                Reg::Ptr(p) if p.target == Target::Ctx => match p.fixed() {
                    Some(0) => Ok(()),
                    Some(off) => refuse(
                        Why::HelperArgument,
                        format!("dereference of modified ctx ptr R{n} off={off} disallowed"),
                    ),
                    None => refuse(Why::HelperArgument, "variable ctx access disallowed".to_owned()),
                },
                Reg::Scalar(s, _) if s.known() == Some(0) => Ok(()),
                Reg::Ptr(p) if p.target == Target::Kernel => Ok(()),
                _ => fail("ctx"),
            },
            Arg::Map => match reg {
                Reg::Ptr(p) if matches!(p.target, Target::Map(_) | Target::InnerMap) && !p.or_null => Ok(()),
                Reg::Ptr(p) if p.target == Target::Kernel => Ok(()),
                _ => fail("map_ptr"),
            },
            Arg::MapKey | Arg::MapValue | Arg::MapValueOut => {
                let Some(def) = map else { return Ok(()) };
                let size = if kind == Arg::MapKey { def.key_size } else { def.value_size };
                // Queues and the like have no key; bloom filters and storages have their own rules.
                let plain = matches!(
                    def.map_type,
                    MapType::Hash
                        | MapType::Array
                        | MapType::PercpuHash
                        | MapType::PercpuArray
                        | MapType::LruHash
                        | MapType::LruPercpuHash
                        | MapType::LpmTrie
                        | MapType::Queue
                        | MapType::Stack
                        | MapType::BloomFilter
                );
                if size == 0 || (kind != Arg::MapKey && !plain) {
                    return Ok(());
                }
                if let Reg::Scalar(..) = reg
                    && kind == Arg::MapKey
                    && id != 1
                    && is_zero(&reg)
                {
                    return Ok(());
                }
                pointer(&reg, n)?;
                self.helper_memory(state, reg, access(size.into(), kind == Arg::MapValueOut))
            }
            Arg::Fixed(size) | Arg::FixedOut(size) => {
                if is_zero(&reg) {
                    return Ok(());
                }
                pointer(&reg, n)?;
                if matches!(reg, Reg::Ptr(p) if matches!(p.target, Target::MapValue(_))) {
                    return Ok(());
                }
                self.helper_memory(state, reg, access(size.into(), kind == Arg::FixedOut(size)))
            }
            Arg::Mem | Arg::MemOrNull | Arg::MemOut | Arg::MemOutOrNull => {
                let next = args.get(n as usize + 1).copied().unwrap_or(Reg::Unknown);
                let write = matches!(kind, Arg::MemOut | Arg::MemOutOrNull);
                let nullable = matches!(kind, Arg::MemOrNull | Arg::MemOutOrNull);
                if nullable && is_zero(&reg) {
                    return Ok(());
                }
                let or_null = matches!(reg, Reg::Ptr(p) if p.or_null);
                if nullable && or_null {
                    return Ok(());
                }
                let Reg::Scalar(s, _) = next else {
                    return self.unknown_argument(state, kind);
                };
                // An empty piece of memory may be null, where that is allowed.
                let needed = matches!(id, 4 | 45 | 112..=115);
                if is_zero(&reg) && s.umin == 0 && !needed {
                    return Ok(());
                }
                pointer(&reg, n)?;
                // Helpers that work on the packet itself.
                if matches!(id, 9 | 26 | 68) && matches!(reg, Reg::Ptr(p) if p.is_packet()) {
                    let m = "helper access to the packet is not allowed";
                    return refuse(Why::HelperArgument, m.to_owned());
                }
                if s.smin < 0 || s.umax >= MAX_VAR_OFF as u64 {
                    return Ok(());
                }
                self.helper_memory(state, reg, access(s.umax, write))
            }
            Arg::Size | Arg::SizeOrZero => {
                let Reg::Scalar(s, _) = reg else { return fail("scalar") };
                let memory = args.get(n as usize - 1).copied().unwrap_or(Reg::Unknown);
                if !matches!(memory, Reg::Ptr(_)) {
                    return Ok(());
                }
                if s.smin < 0 {
                    let m = format!("R{n} min value is negative, either use unsigned or 'var &= const'");
                    return refuse(Why::HelperArgument, m);
                }
                if s.umin == 0 && kind == Arg::Size {
                    let m = format!("R{n} invalid zero-sized read: u64=[{},{}]", s.umin, s.umax);
                    return refuse(Why::HelperArgument, m);
                }
                if s.umax >= MAX_VAR_OFF as u64 {
                    let m = format!("R{n} unbounded memory access, use 'var &= const' or 'if (var < const)'");
                    return refuse(Why::HelperArgument, m);
                }
                Ok(())
            }
            Arg::Func => match reg {
                Reg::Ptr(p) if matches!(p.target, Target::Func(_)) => Ok(()),
                _ => fail("func"),
            },
            Arg::Dynptr => {
                let release = matches!(id, 199 | 200);
                self.dynptr(state, &reg, n, release).map(|_| ())
            }
            // Made once all arguments have been looked at.
            Arg::DynptrOut => Ok(()),
        }
    }

    /// `bpf_get_socket_cookie` and `bpf_get_netns_cookie` take the context, the latter of some types also null.
    fn context_argument(&self, reg: &Reg, id: u32) -> Step<()> {
        use bpf_vm_shim::object::ProgType as P;
        if matches!(self.prog.prog_type, P::Tracing | P::Lsm | P::SkReuseport | P::StructOps) {
            return Ok(());
        }
        match reg {
            Reg::Scalar(s, _) if id == 122 && s.known() == Some(0) => Ok(()),
            Reg::Scalar(..) => refuse(Why::HelperArgument, "R1 type=scalar expected=ctx".to_owned()),
            Reg::Ptr(p) if p.target == Target::Ctx && p.fixed() != Some(0) => {
                let m = format!("dereference of modified ctx ptr R1 off={} disallowed", p.off);
                refuse(Why::HelperArgument, m)
            }
            _ => Ok(()),
        }
    }

    fn end_ringbuf_dynptr(&mut self, state: &mut State, arg: &Reg) -> Step<()> {
        match self.dynptr(state, arg, 1, true)? {
            Some(d) if d.kind != DynKind::Ringbuf => {
                refuse(Why::HelperArgument, "Expected a dynptr of type ringbuf as R1".to_owned())
            }
            Some(d) => {
                release_dynptr(state, d);
                Ok(())
            }
            None => {
                state.refs.clear();
                Ok(())
            }
        }
    }

    /// `bpf_dynptr_data`.
    fn data_slice(&mut self, state: &mut State, args: &[Reg; 11]) -> Step<Reg> {
        let dynptr = self.dynptr(state, &args[1], 1, false)?;
        let Reg::Scalar(s, _) = args[3] else { return Ok(Reg::Unknown) };
        let Some(size) = s.known() else {
            return refuse(
                Why::HelperArgument,
                "R3 is not a known constant or is out of range: size of the slice".to_owned(),
            );
        };
        let (id, dynptr) = (self.new_id(), dynptr.map_or(0, |d| d.id));
        let target = Target::Mem { size, writable: true };
        Ok(Reg::Ptr(Ptr { or_null: true, id, dynptr, ..Ptr::to(target) }))
    }

    /// Something not modelled is passed: memory that it may point to is not known any more.
    fn unknown_argument(&mut self, state: &mut State, kind: Arg) -> Step<()> {
        if matches!(
            kind,
            Arg::MemOut
                | Arg::MemOutOrNull
                | Arg::FixedOut(_)
                | Arg::MapValueOut
                | Arg::Dynptr
                | Arg::DynptrOut
                | Arg::Any
        ) {
            state.forget_stacks();
        }
        Ok(())
    }
}

/// A socket argument.
fn socket(reg: &Reg) -> Step<()> {
    match reg {
        Reg::Scalar(..) => refuse(Why::HelperArgument, "R1 type=scalar expected=sock".to_owned()),
        Reg::Ptr(p) if matches!(p.target, Target::Sock(_)) && p.or_null => {
            refuse(Why::HelperArgument, "R1 type=sock_or_null expected=sock".to_owned())
        }
        Reg::Ptr(p) if !matches!(p.target, Target::Sock(_) | Target::Kernel | Target::Obj { .. }) => {
            refuse(Why::HelperArgument, format!("R1 type={} expected=sock", p.name()))
        }
        Reg::NotInit => refuse(Why::UninitRegister, "R1 !read_ok".to_owned()),
        _ => Ok(()),
    }
}

fn is_zero(reg: &Reg) -> bool {
    matches!(reg, Reg::Scalar(s, _) if s.known() == Some(0))
}

/// A memory argument must be a pointer that is not null.
fn pointer(reg: &Reg, n: u8) -> Step<()> {
    match reg {
        Reg::Scalar(..) => refuse(Why::HelperArgument, format!("R{n} type=scalar expected=fp")),
        Reg::Ptr(p) if p.or_null && p.target != Target::Kernel => {
            refuse(Why::HelperArgument, format!("R{n} type={} expected=fp", p.name()))
        }
        _ => Ok(()),
    }
}

/// The map behind a map argument.
pub(super) fn map_of(reg: &Reg) -> Option<MapId> {
    match reg {
        Reg::Ptr(p) => match p.target {
            Target::Map(id) => Some(id),
            _ => None,
        },
        _ => None,
    }
}

/// Pointers into the packet are of no use any more.
pub(super) fn forget_packets(state: &mut State, gone: Reg) {
    state.for_each(|r| {
        if matches!(r, Reg::Ptr(p) if matches!(p.target, Target::Packet | Target::PacketMeta | Target::PacketEnd)) {
            *r = gone;
        }
    });
}

/// `bpf_dynptr_from_mem` takes map values only.
fn from_memory(reg: &Reg) -> Step<()> {
    match reg {
        Reg::Ptr(p) if !matches!(p.target, Target::MapValue(_) | Target::Kernel) => {
            let m = format!("Unsupported reg type {} for bpf_dynptr_from_mem data", p.name());
            refuse(Why::HelperArgument, m)
        }
        _ => Ok(()),
    }
}

/// A number that a helper writes to the stack must be aligned.
fn aligned(reg: &Reg, size: i64) -> Step<()> {
    match reg {
        Reg::Ptr(p) if matches!(p.target, Target::Stack(_)) && p.fixed().is_some_and(|o| o % size != 0) => {
            refuse(Why::MisalignedStack, format!("misaligned stack access off {} size {size}", p.off))
        }
        _ => Ok(()),
    }
}

/// `ARG_PTR_TO_PERCPU_BTF_ID`.
fn percpu(reg: &Reg) -> Step<()> {
    let wrong = |name: &str| refuse(Why::HelperArgument, format!("R1 type={name} expected=percpu_ptr_"));
    match reg {
        // Zero stands for a symbol that the kernel may have.
        Reg::Scalar(s, _) if s.known().is_none() => wrong("scalar"),
        Reg::Ptr(p) => match p.target {
            Target::Obj { trust: Trust::Percpu, .. } if !p.or_null => Ok(()),
            Target::Obj { trust: Trust::Vague, .. } | Target::Kernel => Ok(()),
            _ => wrong(&p.name()),
        },
        _ => Ok(()),
    }
}
