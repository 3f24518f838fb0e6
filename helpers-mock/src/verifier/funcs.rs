//! Functions of the program by themselves: global ones are looked at apart from their callers
//! (`do_check_common`, `btf_prepare_func_args`, `btf_check_func_arg_match`).

use bpf_vm_shim::btf::{Btf, FuncProto, Type, TypeId};
use bpf_vm_shim::object::FuncLinkage;

use super::mem::Access;
use super::state::{Frame, Ptr, Reg, State, Step, Target, Trust, refuse};
use super::walk::{Found, Walk};
use super::why::Why;

/// Structures that are the context of some program type: a pointer to one may be the context.
const CONTEXTS: &[&str] = &[
    "__sk_buff",
    "xdp_md",
    "bpf_sock",
    "bpf_sock_addr",
    "bpf_sock_ops",
    "sk_msg_md",
    "bpf_cgroup_dev_ctx",
    "bpf_sysctl",
    "bpf_sockopt",
    "sk_reuseport_md",
    "bpf_sk_lookup",
    "bpf_nf_ctx",
    "pt_regs",
    "user_pt_regs",
    "bpf_user_pt_regs_t",
    "bpf_perf_event_data",
    "bpf_raw_tracepoint_args",
];

/// What a parameter of a global function is (`enum bpf_arg_type` of `struct bpf_subprog_arg_info`).
#[derive(Clone, PartialEq, Eq, Debug)]
enum Param {
    Number,
    /// Memory of this size.
    Memory {
        size: u64,
        or_null: bool,
    },
    Dynptr,
    Context,
    /// A trusted kernel object.
    Object {
        name: String,
        or_null: bool,
    },
    Unknown,
}

impl Walk<'_> {
    pub(super) fn proto(&self, at: usize) -> Option<(&Btf, TypeId, FuncProto<'_>)> {
        let func = self.prog.subprogs.iter().find(|s| s.start == at)?.func?;
        let btf = self.prog.btf?;
        let Ok(Type::Func { proto, .. }) = btf.get(func) else { return None };
        let Ok(Type::FuncProto(proto)) = btf.get(proto) else { return None };
        Some((btf, func, proto))
    }

    pub(super) fn is_global(&self, at: usize) -> bool {
        let sub = self.prog.subprogs.iter().find(|s| s.start == at);
        // Weak functions may be hidden, which makes them static for the kernel (libbpf's `bpf_object__fixup_btf`):
        // they are followed from each caller, which finds no more than looking at them apart would.
        sub.is_some_and(|s| match s.linkage {
            FuncLinkage::Weak => self.has_tags(at),
            other => other == FuncLinkage::Global,
        })
    }

    /// Whether arguments are tagged: then the function is looked at apart, with other types than its callers pass.
    pub(super) fn has_tags(&self, at: usize) -> bool {
        self.proto(at).is_some_and(|(btf, func, _)| btf.decl_tags(func).any(|t| t.component >= 0))
    }

    pub(super) fn returns_void(&self, at: usize) -> bool {
        self.proto(at).is_none_or(|(btf, _, p)| matches!(btf.resolve(p.ret), Ok((_, Type::Void)) | Err(_)))
    }

    /// Whether a function certainly gives something else than a number.
    pub(super) fn returns_no_number(&self, at: usize) -> bool {
        self.proto(at).is_some_and(|(btf, _, p)| {
            matches!(
                btf.resolve(p.ret),
                Ok((_, Type::Void | Type::Ptr(_) | Type::Struct(_) | Type::Union(_)))
            )
        })
    }

    pub(super) fn params(&self, at: usize) -> usize {
        self.proto(at).map_or(0, |(_, _, p)| p.params().count())
    }

    /// What the parameters of a global function are.
    fn parameters_of(&self, at: usize) -> Vec<Param> {
        let Some((btf, func, proto)) = self.proto(at) else { return Vec::new() };
        let kind = |(i, param): (usize, bpf_vm_shim::btf::Param<'_>)| {
            let tags = btf.decl_tags(func).filter(|t| t.component == i as i32);
            let tags: Vec<&str> = tags.map(|t| t.tag.strip_prefix("arg:").unwrap_or(t.tag)).collect();
            match btf.resolve(param.type_id) {
                Ok((_, Type::Int(_) | Type::Enum(_) | Type::Enum64(_))) if tags.is_empty() => Param::Number,
                Ok((_, Type::Ptr(to))) => pointee(btf, to, &tags),
                _ => Param::Unknown,
            }
        };
        proto.params().enumerate().take(5).map(kind).collect()
    }

    /// Parameters that no kernel takes, of functions that are looked at apart.
    pub(super) fn bad_parameters(&self, at: usize) -> Option<Found> {
        let (btf, func, proto) = self.proto(at)?;
        for (i, param) in proto.params().enumerate() {
            let mut tags = btf.decl_tags(func).filter(|t| t.component == i as i32);
            let Ok((_, Type::Ptr(to))) = btf.resolve(param.type_id) else { continue };
            if let Ok((id, Type::Fwd { .. })) = btf.resolve(to)
                && tags.next().is_none()
                && !CONTEXTS.contains(&btf.name_of(id))
            {
                let m =
                    format!("arg#{i} reference type('FWD {}') size cannot be determined", btf.name_of(id));
                return Some((at, Why::FunctionArgument, m));
            }
            let tags: Vec<&str> =
                btf.decl_tags(func).filter(|t| t.component == i as i32).map(|t| t.tag).collect();
            if tags.contains(&"arg:untrusted") && tags.iter().any(|t| *t != "arg:untrusted") {
                let m = format!("arg#{i} untrusted cannot be combined with any other tags");
                return Some((at, Why::FunctionArgument, m));
            }
        }
        None
    }

    /// The state at the beginning of a global function.
    pub(super) fn global_entry(&mut self, at: usize) -> Option<State> {
        let params = self.parameters_of(at);
        self.proto(at)?;
        let mut frame = Frame::new(0, 0, at);
        for (i, param) in params.into_iter().enumerate() {
            let id = self.new_id();
            let reg = match param {
                Param::Number => Reg::any(),
                Param::Memory { size, or_null } => {
                    Reg::Ptr(Ptr { or_null, id, ..Ptr::to(Target::Mem { size, writable: true }) })
                }
                Param::Dynptr => Reg::Ptr(Ptr::to(Target::Dynptr)),
                Param::Context => Reg::Ptr(Ptr::to(Target::Ctx)),
                Param::Object { name, or_null } => {
                    let target = Target::Obj { ty: self.ty(&name), trust: Trust::Trusted };
                    Reg::Ptr(Ptr { or_null, id, ..Ptr::to(target) })
                }
                Param::Unknown => Reg::Unknown,
            };
            *frame.regs.get_mut(i + 1)? = reg;
        }
        Some(State::at(at, vec![frame], Some(at)))
    }

    /// What a caller passes to a global function.
    ///
    /// Whether it is known what the function may write to.
    pub(super) fn global_arguments(&mut self, state: &mut State, at: usize) -> Step<bool> {
        let mut known = true;
        for (i, param) in self.parameters_of(at).into_iter().enumerate() {
            let n = i as u8 + 1;
            let reg = state.read(n)?;
            let wrong = |why: &str| {
                let m = format!("Caller passes invalid args into func at {at}: R{n} {why}");
                refuse(Why::FunctionArgument, m)
            };
            let null = matches!(reg, Reg::Scalar(s, _) if s.known() == Some(0));
            match param {
                Param::Number => {
                    if let Reg::Ptr(p) = reg {
                        return wrong(&format!("is a pointer ({})", p.name()));
                    }
                }
                Param::Memory { size, or_null } => match reg {
                    Reg::Scalar(..) if null && or_null => {}
                    Reg::Scalar(..) => return wrong("is not a pointer"),
                    Reg::Ptr(p) if p.or_null && !or_null => return wrong("may be null"),
                    Reg::Ptr(p) => {
                        let whole = Ptr { or_null: false, ..p };
                        if matches!(p.target, Target::Ctx | Target::Map(_) | Target::Sock(_) | Target::Dynptr)
                        {
                            return wrong(&format!("type={} expected=fp", p.name()));
                        }
                        let access = Access { reg: n, off: 0, size, write: false, direct: false };
                        self.helper_memory(state, Reg::Ptr(whole), access)?;
                        if let Target::Stack(_) = p.target {
                            self.helper_memory(state, Reg::Ptr(whole), Access { write: true, ..access })?;
                        }
                    }
                    _ => {}
                },
                Param::Dynptr => {
                    self.dynptr(state, &reg, n, false)?;
                }
                Param::Object { or_null, .. } => match reg {
                    Reg::Scalar(..) if null && or_null => {}
                    Reg::Scalar(..) => return wrong("is not a trusted pointer"),
                    Reg::Ptr(p) if p.or_null && !or_null => return wrong("may be null"),
                    Reg::Ptr(p) => match p.target {
                        Target::Obj { trust: Trust::Untrusted | Trust::Plain, .. } if p.reference == 0 => {
                            return wrong(&format!("type={} expected=trusted_ptr_", p.name()));
                        }
                        Target::Stack(_) | Target::MapValue(_) | Target::Ctx | Target::Mem { .. } => {
                            return wrong(&format!("type={} expected=trusted_ptr_", p.name()));
                        }
                        _ => {}
                    },
                    _ => {}
                },
                Param::Context => {}
                Param::Unknown => known = false,
            }
        }
        Ok(known)
    }
}

/// What a pointer parameter is.
fn pointee(btf: &Btf, to: TypeId, tags: &[&str]) -> Param {
    if matches!(btf.get(to), Ok(Type::TypeTag { .. })) {
        return Param::Unknown;
    }
    let Ok((id, t)) = btf.resolve(to) else { return Param::Unknown };
    let or_null = match tags {
        [] => true,
        ["nonnull"] => false,
        ["ctx"] => return Param::Context,
        _ if tags.contains(&"trusted") => {
            let name = btf.name_of(id).split("___").next().unwrap_or_default().to_owned();
            return Param::Object { name, or_null: tags.contains(&"nullable") };
        }
        _ => return Param::Unknown,
    };
    match t {
        Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Array(_) => {}
        Type::Struct(_) if btf.name_of(id) == "bpf_dynptr" => return Param::Dynptr,
        Type::Struct(_) if !CONTEXTS.contains(&btf.name_of(id)) => {}
        _ => return Param::Unknown,
    }
    match btf.size_of(to) {
        Ok(size) => Param::Memory { size, or_null },
        Err(_) => Param::Unknown,
    }
}
