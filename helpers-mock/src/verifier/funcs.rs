//! Functions of the program by themselves: global ones are looked at apart from their callers
//! (`do_check_common`, `btf_prepare_func_args`).

use bpf_vm_shim::btf::{Btf, Type};
use bpf_vm_shim::object::FuncLinkage;

use super::state::{Frame, Ptr, Reg, State, Target};
use super::walk::Walk;

impl Walk<'_> {
    pub(super) fn proto(
        &self,
        at: usize,
    ) -> Option<(&Btf, bpf_vm_shim::btf::TypeId, bpf_vm_shim::btf::FuncProto<'_>)> {
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

    pub(super) fn params(&self, at: usize) -> usize {
        self.proto(at).map_or(0, |(_, _, p)| p.params().count())
    }

    /// The state at the beginning of a global function.
    pub(super) fn global_entry(&mut self, at: usize) -> Option<State> {
        let mut kinds = Vec::new();
        {
            let (btf, func, proto) = self.proto(at)?;
            for (i, param) in proto.params().enumerate().take(5) {
                let tagged = btf.decl_tags(func).any(|t| t.component == i as i32);
                let kind = match btf.resolve(param.type_id) {
                    _ if tagged => Reg::Unknown,
                    Ok((_, Type::Int(_) | Type::Enum(_) | Type::Enum64(_))) => Reg::any(),
                    Ok((_, Type::Ptr(to))) => pointee(btf, to),
                    _ => Reg::Unknown,
                };
                kinds.push(kind);
            }
        }
        let mut frame = Frame::new(0, 0, at);
        for (i, mut reg) in kinds.into_iter().enumerate() {
            if let Reg::Ptr(p) = &mut reg {
                p.id = self.new_id();
            }
            *frame.regs.get_mut(i + 1)? = reg;
        }
        Some(State::at(at, vec![frame], Some(at)))
    }
}

/// An argument that points to something of a plain type is memory of its size, or null.
fn pointee(btf: &Btf, to: bpf_vm_shim::btf::TypeId) -> Reg {
    let plain = match btf.resolve(to) {
        Ok((_, Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Array(_))) => true,
        // Structures of the kernel may be the context.
        _ => false,
    };
    match btf.size_of(to) {
        Ok(size) if plain && !matches!(btf.get(to), Ok(Type::TypeTag { .. })) => {
            Reg::Ptr(Ptr { or_null: true, ..Ptr::to(Target::Mem { size, writable: true }) })
        }
        _ => Reg::Unknown,
    }
}
