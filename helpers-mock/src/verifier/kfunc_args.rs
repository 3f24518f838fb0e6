//! Arguments of kernel functions (`check_kfunc_args`, `get_kfunc_ptr_arg_type` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::object::{KfuncDecl, ProgType};

use super::alu::MAX_VAR_OFF;
use super::kfunc_table::{Flags, ITERATORS, Kfunc, Kind};
use super::mem::Access;
use super::stack_object::Dynptr;
use super::state::{DynKind, Ptr, Reg, State, Step, Target, Trust, refuse};
use super::walk::Walk;
use super::why::Why;
use crate::maps::MapId;

/// Structures of the kernel that are not plain memory, and none of which begins with another.
pub(super) const KERNEL_STRUCTS: &[&str] = &[
    "task_struct",
    "cgroup",
    "file",
    "path",
    "bpf_key",
    "nf_conn",
    "bpf_crypto_ctx",
    "vm_area_struct",
    "prog_test_ref_kfunc",
];

/// What a call's arguments told.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) dynptr: Option<Dynptr>,
    pub(super) out: Option<u8>,
    pub(super) size: Option<u64>,
    pub(super) released: Option<u8>,
    pub(super) owned: Option<Ptr>,
    /// The map whose value an argument points into.
    pub(super) map: Option<MapId>,
}

pub(super) fn fail<T>(message: String) -> Step<T> {
    refuse(Why::KfuncArgument, message)
}

impl Walk<'_> {
    #[expect(clippy::too_many_arguments, reason = "everything about one argument")]
    pub(super) fn kfunc_argument(
        &mut self,
        state: &mut State,
        kfunc: &Kfunc,
        decl: &KfuncDecl,
        kind: Kind,
        n: u8,
        regs: &[Reg; 11],
        seen: &mut Seen,
    ) -> Step<()> {
        let reg = regs.get(n as usize).copied().unwrap_or(Reg::Unknown);
        let next = regs.get(n as usize + 1).copied().unwrap_or(Reg::Unknown);
        match kind {
            Kind::Any => Ok(()),
            Kind::Scalar | Kind::Size => match reg {
                Reg::Ptr(_) => fail(format!("R{n} is not a scalar")),
                _ => Ok(()),
            },
            Kind::Const => match reg {
                Reg::Ptr(_) => fail(format!("R{n} is not a scalar")),
                Reg::Scalar(s, _) if s.known().is_none() => fail(format!("R{n} must be a known constant")),
                Reg::Scalar(s, _) => {
                    seen.size = s.known();
                    Ok(())
                }
                _ => Ok(()),
            },
            Kind::Object | Kind::NewObject => self.object(kfunc, decl, n, &reg, seen),
            Kind::Owned | Kind::OwnedPercpu => self.owned(state, kfunc, n, &reg, kind, seen),
            Kind::Dynptr => {
                let release = kfunc.flags.has(Flags::RELEASE);
                let dynptr = self.dynptr(state, &reg, n, release)?;
                if release {
                    if let Some(d) = dynptr
                        && d.kind != DynKind::File
                    {
                        return fail(format!("Expected a dynptr of type file as R{n}"));
                    }
                    seen.released = Some(n);
                }
                seen.dynptr = seen.dynptr.or(dynptr);
                Ok(())
            }
            Kind::DynptrOut => {
                seen.out = Some(n);
                Ok(())
            }
            Kind::Mem | Kind::MemOrNull => {
                let null = matches!(reg, Reg::Scalar(s, _) if s.known() == Some(0));
                if null && kind == Kind::MemOrNull {
                    return Ok(());
                }
                let Reg::Scalar(s, _) = next else { return Ok(()) };
                match reg {
                    Reg::Scalar(..) if null && s.umin == 0 && !kfunc.name.starts_with("bpf_stream") => {
                        return Ok(());
                    }
                    Reg::Scalar(..) => return fail(format!("R{n} type=scalar expected=fp")),
                    Reg::Ptr(p) if p.or_null => {
                        return fail(format!("Possibly NULL pointer passed to R{n}: type={}", p.name()));
                    }
                    _ => {}
                }
                if s.smin < 0 {
                    return fail(format!("R{} min value is negative", n + 1));
                }
                if s.umax >= MAX_VAR_OFF as u64 {
                    return fail(format!("R{} unbounded memory access", n + 1));
                }
                let access = Access { reg: n, off: 0, size: s.umax, write: false, direct: false };
                self.kfunc_memory(state, reg, access)
            }
            Kind::Plain => match reg {
                Reg::Scalar(..) => fail(format!("Possibly NULL pointer passed to trusted R{n}")),
                Reg::Ptr(p) if p.or_null => fail(format!("Possibly NULL pointer passed to trusted R{n}")),
                _ => {
                    let Some(size) = self.pointee_size(decl, n) else { return Ok(()) };
                    let access = Access { reg: n, off: 0, size, write: false, direct: false };
                    self.kfunc_memory(state, reg, access)
                }
            },
            Kind::DynptrOrNull => match reg {
                Reg::Scalar(s, _) if s.known() == Some(0) => Ok(()),
                _ => self.dynptr(state, &reg, n, false).map(|_| ()),
            },
            Kind::Iterator(kind) => {
                let ty = self.ty(kind);
                let slots = ITERATORS.iter().find(|i| i.0 == kind).map_or(1, |i| i.1);
                self.iterator(state, &reg, n, slots, ty).map(|_| ())
            }
            Kind::InMapValue => match reg {
                Reg::Scalar(..) => fail(format!("Possibly NULL pointer passed to trusted R{n}")),
                Reg::Ptr(p) if p.or_null => fail(format!("Possibly NULL pointer passed to trusted R{n}")),
                Reg::Ptr(p) => match p.target {
                    Target::MapValue(_) if p.fixed().is_none() => fail(format!(
                        "R{n} doesn't have constant offset. It has to be at the constant offset"
                    )),
                    Target::MapValue(map) => {
                        seen.map = Some(map);
                        Ok(())
                    }
                    Target::Obj { .. } | Target::Kernel => Ok(()),
                    _ => fail(format!("R{n} doesn't point to a map value")),
                },
                _ => Ok(()),
            },
            Kind::Map => match reg {
                Reg::Ptr(Ptr { target: Target::Map(map), .. }) if seen.map.is_some_and(|m| m != map) => {
                    fail(format!("the map of the value in R{} doesn't match map pointer in R{n}", n - 1))
                }
                Reg::Scalar(..) => fail(format!("Possibly NULL pointer passed to trusted R{n}")),
                Reg::Ptr(p) if matches!(p.target, Target::MapValue(_) | Target::Stack(_) | Target::Ctx) => {
                    fail(format!("R{n} expected pointer to STRUCT bpf_map"))
                }
                _ => Ok(()),
            },
            Kind::Str => match reg {
                Reg::Scalar(..) => fail(format!("R{n} type=scalar expected=map_value")),
                Reg::Ptr(p) if p.or_null => fail(format!("Possibly NULL pointer passed to trusted R{n}")),
                _ => Ok(()),
            },
        }
    }

    /// Memory that a kernel function reads or writes: it may hold something else afterwards.
    fn kfunc_memory(&mut self, state: &mut State, reg: Reg, access: Access) -> Step<()> {
        let Reg::Ptr(p) = reg else { return Ok(()) };
        match p.target {
            Target::Stack(_) | Target::MapValue(_) | Target::Mem { .. } => {
                self.helper_memory(state, reg, access)?;
                if let Target::Stack(_) = p.target {
                    return self.helper_memory(state, reg, Access { write: true, ..access });
                }
                Ok(())
            }
            Target::Packet | Target::PacketMeta => self.check_region(&p, access),
            Target::Ctx if self.prog.prog_type == ProgType::Syscall => {
                let most = p.off.saturating_add(p.var.smax).saturating_add(access.size as i64);
                if p.off.saturating_add(p.var.smin) < 0 || most > 0xffff {
                    let m = format!("R{} offset is outside of the allowed memory range", access.reg);
                    return refuse(Why::CtxAccess, m);
                }
                Ok(())
            }
            Target::Faulting => fail(format!("R{} type=rdonly_untrusted_mem expected=fp", access.reg)),
            Target::Ctx => fail(format!(
                "R{} type=ctx expected=fp: memory, len pair leads to invalid memory access",
                access.reg
            )),
            _ => Ok(()),
        }
    }

    /// `KF_ARG_PTR_TO_BTF_ID`.
    pub(super) fn object(
        &mut self,
        kfunc: &Kfunc,
        decl: &KfuncDecl,
        n: u8,
        reg: &Reg,
        seen: &mut Seen,
    ) -> Step<()> {
        let release = kfunc.flags.has(Flags::RELEASE) && seen.released.is_none();
        let p = match reg {
            Reg::Scalar(s, _) if s.known() == Some(0) => {
                return fail(format!("Possibly NULL pointer passed to trusted R{n}"));
            }
            Reg::Scalar(..) => return fail(format!("R{n} must be referenced or trusted")),
            Reg::Ptr(p) => p,
            _ => {
                seen.released = release.then_some(n);
                return Ok(());
            }
        };
        let want = self.parameter(decl, n);
        if p.or_null && !matches!(p.target, Target::Kernel) {
            return fail(format!("Possibly NULL pointer passed to trusted R{n}"));
        }
        match p.target {
            Target::Obj { ty, trust } => {
                let have = self.ty_name(ty);
                if release && p.reference == 0 {
                    let m = format!(
                        "release kfunc {} expects referenced PTR_TO_BTF_ID passed to R{n}",
                        kfunc.name
                    );
                    return fail(m);
                }
                if release && p.fixed() != Some(0) {
                    let m = format!("R{n} must have zero offset when passed to release func {}", kfunc.name);
                    return fail(m);
                }
                if let Some(want) = want
                    && p.fixed() == Some(0)
                    && have != want
                    && KERNEL_STRUCTS.contains(&have)
                    && KERNEL_STRUCTS.contains(&want.as_str())
                {
                    let m = format!(
                        "kernel function {} R{n} expected pointer to STRUCT {want} but R{n} has a pointer to STRUCT {have}",
                        kfunc.name
                    );
                    return fail(m);
                }
                let protected = kfunc.flags.has(Flags::RCU);
                match trust {
                    _ if p.reference != 0 => {}
                    Trust::Untrusted | Trust::Plain if protected => {
                        return fail(format!("R{n} must be a rcu pointer"));
                    }
                    Trust::Untrusted | Trust::Plain => {
                        return fail(format!("R{n} must be referenced or trusted"));
                    }
                    Trust::Rcu if !protected => {
                        return fail(format!("R{n} must be referenced or trusted"));
                    }
                    _ => {}
                }
            }
            Target::Kernel | Target::Sock(_) | Target::Map(_) => {}
            _ => {
                let Some(want) = want else { return Ok(()) };
                if KERNEL_STRUCTS.contains(&want.as_str()) {
                    let m = format!(
                        "R{n} pointer type STRUCT {want} must point to scalar, or struct with scalar"
                    );
                    return fail(m);
                }
            }
        }
        if release {
            seen.released = Some(n);
        }
        Ok(())
    }

    /// `KF_ARG_PTR_TO_ALLOC_BTF_ID`.
    fn owned(&self, state: &State, kfunc: &Kfunc, n: u8, reg: &Reg, kind: Kind, seen: &mut Seen) -> Step<()> {
        let p = match reg {
            Reg::Scalar(..) => return fail(format!("Possibly NULL pointer passed to trusted R{n}")),
            Reg::Ptr(p) => p,
            _ => {
                seen.released = Some(n);
                return Ok(());
            }
        };
        if p.or_null {
            return fail(format!("Possibly NULL pointer passed to trusted R{n}"));
        }
        match (p.target, kind) {
            (Target::Obj { trust: Trust::Alloc, .. }, Kind::Owned)
            | (Target::Obj { trust: Trust::Percpu, .. }, Kind::OwnedPercpu) => {}
            (Target::Obj { trust: Trust::Alloc, .. }, _) => {
                return fail(format!("R{n} expected for {}()", kfunc.name));
            }
            (Target::Obj { trust: Trust::Percpu, .. }, _) => {
                return fail(format!("R{n} expected for {}()", kfunc.name));
            }
            (Target::Obj { trust: Trust::Vague, .. } | Target::Kernel, _) => {
                seen.released = Some(n);
                return Ok(());
            }
            _ => return fail(format!("R{n} expected pointer to allocated object")),
        }
        if p.reference == 0 || !state.refs.iter().any(|r| r.id == p.reference) {
            return fail(format!("R{n} allocated object must be referenced"));
        }
        if p.fixed() != Some(0) {
            return fail(format!("R{n} must have zero offset when passed to release func {}", kfunc.name));
        }
        seen.owned = Some(*p);
        seen.released = Some(n);
        Ok(())
    }
}
