//! Calls of kernel functions (`check_kfunc_call`, `check_kfunc_args` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::btf::{Btf, Kind as BtfKind, Type, TypeId};
use bpf_vm_shim::object::{KfuncDecl, ProgType};

use super::call::forget_packets;
use super::kfunc_args::{KERNEL_STRUCTS, Seen, fail};
use super::kfunc_table::{self, Flags, ITERATORS, Kfunc};
use super::stack_object::{packets_moved, release_dynptr};
use super::state::{DynKind, Ptr, Ref, Reg, State, Step, Stop, Target, Trust, refuse};
use super::walk::Walk;
use super::why::Why;

impl Walk<'_> {
    pub(super) fn kfunc(&mut self, state: &mut State, index: usize) -> Step<()> {
        let decl = self.prog.kfuncs.get(index).ok_or(Stop::Unsure)?;
        let name = decl.name.as_str();
        if name == "__bpf_trap" {
            let m = "unexpected __bpf_trap() due to uninitialized variable?";
            return refuse(Why::UninitVariable, m.to_owned());
        }
        if state.lock.is_some() {
            if allowed_under_lock(name) {
                return Err(Stop::Unsure);
            }
            return refuse(Why::Lock, "function calls are not allowed while holding a lock".to_owned());
        }
        self.kfunc_allowed(name)?;
        if kfunc_table::sleeps(name) {
            self.may_sleep(state, &format!("kernel func {name}"))?;
        }
        if let Some((kind, slots, protected, action)) = iterator(name) {
            return self.iterate(state, decl, (kind, slots, protected), action);
        }
        match kfunc_table::by_name(name) {
            Some(known) => self.known(state, known, decl),
            None => self.unknown(state, decl),
        }
    }

    fn known(&mut self, state: &mut State, kfunc: &Kfunc, decl: &KfuncDecl) -> Step<()> {
        let mut regs = [Reg::NotInit; 11];
        for n in 1..=kfunc.args.len().min(5) as u8 {
            *regs.get_mut(n as usize).ok_or(Stop::Unsure)? = state.read(n)?;
        }
        let mut seen = Seen::default();
        for (i, kind) in kfunc.args.iter().enumerate().take(5) {
            self.kfunc_argument(state, kfunc, decl, *kind, i as u8 + 1, &regs, &mut seen)?;
        }
        match kfunc.name {
            "bpf_throw" => return self.throws(state, regs[1]),
            "bpf_local_irq_save" => self.irq_flag(state, &regs[1], true)?,
            "bpf_local_irq_restore" => self.irq_flag(state, &regs[1], false)?,
            "bpf_rcu_read_lock" | "bpf_rcu_read_unlock" | "bpf_preempt_disable" | "bpf_preempt_enable" => {
                self.region(state, kfunc.name)?;
            }
            _ => {}
        }
        if kfunc.flags.has(Flags::PROTECTED) {
            self.rcu_protected(state, kfunc.name)?;
        }
        self.new_dynptr(state, kfunc.name, &regs, &seen)?;
        if let Some(n) = seen.released {
            self.let_go(state, kfunc, &regs, n, &seen)?;
        }
        let result = self.kfunc_result(state, kfunc, decl, &regs, &seen)?;
        let frame = state.frame()?;
        frame.regs[1..6].fill(Reg::NotInit);
        frame.regs[0] = result;
        Ok(())
    }

    fn let_go(&self, state: &mut State, kfunc: &Kfunc, regs: &[Reg; 11], n: u8, seen: &Seen) -> Step<()> {
        if kfunc.name == "bpf_dynptr_file_discard" {
            match seen.dynptr {
                Some(d) => release_dynptr(state, d),
                None => state.refs.clear(),
            }
            return Ok(());
        }
        match regs.get(n as usize) {
            Some(Reg::Ptr(p)) if p.reference != 0 => {
                if !state.refs.iter().any(|r| r.id == p.reference) {
                    return Err(Stop::Unsure);
                }
                let gone = p.reference;
                // Memory behind a dynptr of it is gone with it.
                state.refs.retain(|r| r.id != gone);
                state.for_each(|r| {
                    if matches!(r, Reg::Ptr(q) if q.reference == gone) {
                        *r = Reg::any();
                    }
                });
            }
            _ => state.refs.clear(),
        }
        Ok(())
    }

    fn new_dynptr(&mut self, state: &mut State, name: &str, regs: &[Reg; 11], seen: &Seen) -> Step<()> {
        let Some(n) = seen.out else { return Ok(()) };
        let (mut kind, mut reference) = match name {
            "bpf_dynptr_from_skb" => (DynKind::Skb, 0),
            "bpf_dynptr_from_skb_meta" => (DynKind::SkbMeta, 0),
            "bpf_dynptr_from_xdp" => (DynKind::Xdp, 0),
            "bpf_dynptr_from_file" => {
                let id = self.new_id();
                state.refs.push(Ref { id, insn: state.pc });
                (DynKind::File, id)
            }
            _ => (DynKind::Local, 0),
        };
        if name == "bpf_dynptr_clone" {
            match seen.dynptr {
                Some(d) => (kind, reference) = (d.kind, d.reference),
                None => {
                    state.forget_stacks();
                    return Ok(());
                }
            }
        }
        let reg = regs.get(n as usize).copied().unwrap_or(Reg::Unknown);
        self.make_dynptr(state, &reg, n, kind, reference)
    }

    fn kfunc_result(
        &mut self,
        state: &mut State,
        kfunc: &Kfunc,
        decl: &KfuncDecl,
        regs: &[Reg; 11],
        seen: &Seen,
    ) -> Step<Reg> {
        let or_null = kfunc.flags.has(Flags::NULL);
        let target = match kfunc.name {
            "bpf_dynptr_slice" | "bpf_dynptr_slice_rdwr" => {
                let Some(size) = seen.size else { return Ok(Reg::Unknown) };
                let writable = kfunc.name.ends_with("rdwr");
                let skb = seen.dynptr.is_some_and(|d| d.kind == DynKind::Skb);
                if writable && skb && !self.writes_packets() {
                    return fail("the prog does not allow writes to packet data".to_owned());
                }
                let dynptr = seen.dynptr.map_or(0, |d| d.id);
                let reference = seen.dynptr.map_or(0, |d| d.reference);
                let ptr =
                    Ptr { or_null, id: self.new_id(), dynptr, ..Ptr::to(Target::Mem { size, writable }) };
                // Null says nothing of the reference.
                let _ = reference;
                return Ok(Reg::Ptr(ptr));
            }
            "bpf_rdonly_cast" => return Ok(self.cast(regs)),
            name if name.starts_with("bpf_obj_new") || name.starts_with("bpf_percpu_obj_new") => {
                self.allocated(name, &regs[1])?
            }
            _ => match self.returned(decl) {
                Returned::Void => return Ok(Reg::NotInit),
                Returned::Number => return Ok(Reg::any()),
                Returned::Struct(ty) => {
                    let trust = if kfunc.flags.has(Flags::ACQUIRE) { Trust::Trusted } else { Trust::Vague };
                    let trust = if kfunc.flags.has(Flags::PROTECTED) { Trust::Rcu } else { trust };
                    Target::Obj { ty: self.ty(&ty), trust }
                }
                Returned::Other if kfunc.flags.has(Flags::ACQUIRE) => Target::Kernel,
                Returned::Other => return Ok(Reg::Unknown),
            },
        };
        let id = self.new_id();
        let mut ptr = Ptr { or_null, id, ..Ptr::to(target) };
        if kfunc.flags.has(Flags::ACQUIRE) {
            state.refs.push(Ref { id, insn: state.pc });
            ptr.reference = id;
        }
        Ok(Reg::Ptr(ptr))
    }

    /// `bpf_rdonly_cast`: to a structure, or to memory without a type.
    fn cast(&mut self, regs: &[Reg; 11]) -> Reg {
        let Reg::Scalar(s, _) = regs[2] else { return Reg::Unknown };
        match s.known() {
            Some(0) => Reg::Ptr(Ptr::to(Target::Faulting)),
            _ => Reg::Unknown,
        }
    }

    /// `bpf_obj_new` and `bpf_percpu_obj_new`: the type is given by its number.
    fn allocated(&mut self, name: &str, id: &Reg) -> Step<Target> {
        let percpu = name.starts_with("bpf_percpu");
        let Reg::Scalar(s, _) = id else { return Ok(Target::Kernel) };
        let (Some(id), Some(btf)) = (s.known(), self.prog.btf) else { return Ok(Target::Kernel) };
        let id = TypeId(id as u32);
        let ty = match btf.resolve(id) {
            Ok((_, Type::Struct(c))) => c.name.to_owned(),
            Ok(_) => return fail(format!("{name} type ID argument must be of a struct")),
            Err(_) => return Ok(Target::Kernel),
        };
        if percpu {
            let size = btf.size_of(id).unwrap_or(0);
            if size > 512 {
                return fail(format!("{name} type size ({size}) is greater than 512"));
            }
            if !crate::maps::Fields::of(btf, id).is_empty() {
                return fail(format!("{name} type ID argument must not contain special fields"));
            }
            if !scalars(btf, id, 0) {
                return fail(format!("{name} type ID argument must be of a struct of scalars"));
            }
        }
        let trust = if percpu { Trust::Percpu } else { Trust::Alloc };
        Ok(Target::Obj { ty: self.ty(&ty), trust })
    }

    /// Iterators: `bpf_iter_KIND_new`, `_next`, `_destroy`.
    fn iterate(
        &mut self,
        state: &mut State,
        decl: &KfuncDecl,
        (kind, slots, protected): (&str, u8, bool),
        action: Action,
    ) -> Step<()> {
        let reg = state.read(1)?;
        let ty = self.ty(kind);
        let mut result = Reg::Unknown;
        match action {
            Action::New => {
                if protected {
                    self.rcu_protected(state, &decl.name)?;
                }
                for n in 2..=self.parameters(decl).min(5) as u8 {
                    let reg = state.read(n)?;
                    if let Some(want) = self.parameter(decl, n)
                        && KERNEL_STRUCTS.contains(&want.as_str())
                        && kind != "task"
                    {
                        let row = Kfunc { name: "bpf_iter_new", flags: Flags::RCU, args: &[] };
                        self.object(&row, decl, n, &reg, &mut Seen::default())?;
                    }
                }
                self.make_iterator(state, &reg, slots, ty)?;
                result = Reg::any();
            }
            Action::Next => {
                let it = self.iterator(state, &reg, 1, slots, ty)?;
                if let Some((_, _, true)) = it
                    && protected
                {
                    return refuse(Why::NotAllowed, format!("expected an RCU CS when using {}", decl.name));
                }
                let frame = state.frame()?;
                frame.regs[1..6].fill(Reg::NotInit);
                if let Some((at, left, _)) = it {
                    // One path goes on with an element, the other is at the end.
                    if left > 1 {
                        let mut other = state.clone();
                        let element = self.element(decl, kind, protected);
                        other.frame()?.regs[0] = element;
                        other.pc += 1;
                        self.set_left(&mut other, at, left - 1);
                        self.todo.push(other);
                    }
                    self.set_left(state, at, 0);
                    state.frame()?.regs[0] = Reg::constant(0);
                    return Ok(());
                }
            }
            Action::Destroy => {
                if let Some((at, ..)) = self.iterator(state, &reg, 1, slots, ty)? {
                    self.end_iterator(state, at, slots);
                } else {
                    state.refs.clear();
                }
                result = Reg::NotInit;
            }
        }
        let frame = state.frame()?;
        frame.regs[1..6].fill(Reg::NotInit);
        frame.regs[0] = result;
        Ok(())
    }

    fn element(&mut self, decl: &KfuncDecl, kind: &str, protected: bool) -> Reg {
        let target = match self.returned(decl) {
            Returned::Struct(name) => {
                let trust = if protected { Trust::Rcu } else { Trust::Trusted };
                let trust = if kind == "css_task" { Trust::Vague } else { trust };
                Target::Obj { ty: self.ty(&name), trust }
            }
            Returned::Other => match self.returned_size(decl) {
                Some(size) => Target::Mem { size, writable: false },
                None => return Reg::Unknown,
            },
            _ => return Reg::Unknown,
        };
        Reg::Ptr(Ptr { id: self.new_id(), ..Ptr::to(target) })
    }

    /// `bpf_throw` ends the program: nothing may be held, and the cookie is the result if there is no callback.
    fn throws(&mut self, state: &mut State, cookie: Reg) -> Step<()> {
        self.nothing_held(state, "bpf_throw")?;
        if self.exceptions.is_empty() {
            self.result_in_range(cookie, "R1")?;
        }
        Err(Stop::Unsure)
    }

    /// Whether programs of this type may change packets (`may_access_direct_pkt_data`).
    fn writes_packets(&self) -> bool {
        use ProgType as P;
        !matches!(
            self.prog.prog_type,
            P::LwtIn
                | P::LwtOut
                | P::SkReuseport
                | P::FlowDissector
                | P::CgroupSkb
                | P::SocketFilter
                | P::Netfilter
                | P::Tracing
        )
    }

    fn func_proto(&self, decl: &KfuncDecl) -> Option<(&Btf, bpf_vm_shim::btf::FuncProto<'_>)> {
        let (btf, proto) = (self.prog.btf?, decl.proto?);
        let proto = match btf.get(proto) {
            Ok(Type::Func { proto, .. }) => proto,
            _ => proto,
        };
        match btf.get(proto) {
            Ok(Type::FuncProto(p)) => Some((btf, p)),
            _ => None,
        }
    }

    fn parameters(&self, decl: &KfuncDecl) -> usize {
        self.func_proto(decl).map_or(0, |(_, p)| p.params().len())
    }

    /// The structure that a parameter points to.
    pub(super) fn parameter(&self, decl: &KfuncDecl, n: u8) -> Option<String> {
        let (btf, p) = self.func_proto(decl)?;
        let param = p.params().nth(n as usize - 1)?;
        struct_behind(btf, param.type_id)
    }

    pub(super) fn pointee_size(&self, decl: &KfuncDecl, n: u8) -> Option<u64> {
        let (btf, p) = self.func_proto(decl)?;
        let param = p.params().nth(n as usize - 1)?;
        match btf.resolve(param.type_id) {
            Ok((_, Type::Ptr(to))) if btf.kind_of(to) != Some(BtfKind::Fwd) => {
                btf.size_of(to).ok().filter(|s| *s > 0)
            }
            _ => None,
        }
    }

    fn returned(&self, decl: &KfuncDecl) -> Returned {
        let Some((btf, p)) = self.func_proto(decl) else { return Returned::Other };
        match btf.resolve(p.ret) {
            Ok((_, Type::Void)) => Returned::Void,
            Ok((_, Type::Int(_) | Type::Enum(_) | Type::Enum64(_))) => Returned::Number,
            _ => struct_behind(btf, p.ret).map_or(Returned::Other, Returned::Struct),
        }
    }

    fn returned_size(&self, decl: &KfuncDecl) -> Option<u64> {
        let (btf, p) = self.func_proto(decl)?;
        match btf.resolve(p.ret) {
            Ok((_, Type::Ptr(to))) => btf.size_of(to).ok().filter(|s| *s > 0),
            _ => None,
        }
    }

    /// Something that the table does not have: it may write to memory, release what it is given, and move packets.
    fn unknown(&mut self, state: &mut State, decl: &KfuncDecl) -> Step<()> {
        let mut result = Reg::Unknown;
        if let Some((btf, p)) = self.func_proto(decl) {
            let kinds: Vec<Type<'_>> =
                p.params().filter_map(|p| btf.resolve(p.type_id).ok()).map(|(_, t)| t).collect();
            let void =
                |t: &Type<'_>| matches!(t, Type::Ptr(to) if matches!(btf.resolve(*to), Ok((_, Type::Void))));
            for n in 1..=p.params().count().min(5) as u8 {
                let reg = state.read(n)?;
                // Memory and its size; casts take anything.
                let sized = !decl.name.contains("cast")
                    && kinds.get(n as usize - 1).is_some_and(void)
                    && matches!(kinds.get(n as usize), Some(Type::Int(_)));
                let ctx = matches!(reg, Reg::Ptr(p) if p.target == Target::Ctx);
                if sized && ctx && self.prog.prog_type != ProgType::Syscall {
                    let m =
                        format!("R{n} type=ctx expected=fp: memory, len pair leads to invalid memory access");
                    return refuse(Why::KfuncArgument, m);
                }
            }
            if let Ok((_, Type::Int(_) | Type::Enum(_) | Type::Enum64(_))) = btf.resolve(p.ret) {
                result = Reg::any();
            }
        }
        if self.may_change_stack(state) {
            state.forget_stacks();
        }
        packets_moved(state);
        if decl.name == "bpf_xdp_pull_data" {
            forget_packets(state, Reg::any());
        }
        let mut taken = Vec::new();
        let args = state.frame()?.regs;
        for r in &args[1..6] {
            if let Reg::Ptr(p) = r
                && p.reference != 0
            {
                taken.push(p.reference);
            }
        }
        if args[1..6].contains(&Reg::Unknown) {
            state.refs.clear();
        }
        state.refs.retain(|r| !taken.contains(&r.id));
        state.for_each(|r| {
            if let Reg::Ptr(p) = r {
                let packet = matches!(p.target, Target::Packet | Target::PacketMeta | Target::PacketEnd);
                if packet || (p.reference != 0 && taken.contains(&p.reference)) {
                    *r = Reg::Unknown;
                }
            }
        });
        let frame = state.frame()?;
        frame.regs[1..6].fill(Reg::NotInit);
        frame.regs[0] = result;
        Ok(())
    }
}

/// What a prototype says that a function returns.
enum Returned {
    Void,
    Number,
    Struct(String),
    Other,
}

/// What is done to an iterator.
#[derive(Clone, Copy)]
enum Action {
    New,
    Next,
    Destroy,
}

fn iterator(name: &str) -> Option<(&'static str, u8, bool, Action)> {
    let rest = name.strip_prefix("bpf_iter_")?;
    let (kind, action) = if let Some(kind) = rest.strip_suffix("_new") {
        (kind, Action::New)
    } else if let Some(kind) = rest.strip_suffix("_next") {
        (kind, Action::Next)
    } else {
        (rest.strip_suffix("_destroy")?, Action::Destroy)
    };
    let (kind, slots, protected) = ITERATORS.iter().find(|i| i.0 == kind)?;
    Some((kind, *slots, *protected, action))
}

/// `kfunc_spin_allowed`.
fn allowed_under_lock(name: &str) -> bool {
    [
        "bpf_list_",
        "bpf_rbtree_",
        "bpf_refcount_",
        "bpf_iter_num_",
        "bpf_res_spin_",
        "bpf_arena_",
        "bpf_stream_",
    ]
    .iter()
    .any(|p| name.starts_with(p))
}

fn struct_behind(btf: &Btf, id: TypeId) -> Option<String> {
    let Ok((_, Type::Ptr(to))) = btf.resolve(id) else { return None };
    match btf.resolve(to) {
        Ok((id, Type::Struct(_) | Type::Fwd { .. })) => Some(btf.name_of(id).split("___").next()?.to_owned()),
        _ => None,
    }
}

/// A structure of numbers (`__btf_type_is_scalar_struct`).
fn scalars(btf: &Btf, id: TypeId, depth: u32) -> bool {
    match btf.resolve(id) {
        Ok((_, Type::Int(_) | Type::Enum(_) | Type::Enum64(_))) => true,
        Ok((_, Type::Array(a))) if depth < 4 => scalars(btf, a.element, depth + 1),
        Ok((_, Type::Struct(c))) if depth < 4 => c.members().all(|m| scalars(btf, m.type_id, depth + 1)),
        _ => false,
    }
}
