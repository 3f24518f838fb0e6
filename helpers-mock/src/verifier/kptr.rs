//! Pointers to kernel objects in map values (`check_map_kptr_access`, `process_kptr_func`, `map_kptr_match_type` in
//! `kernel/bpf/verifier.c`), and walking from one kernel object to another (`check_ptr_to_btf_access`).

use bpf_vm_shim::btf::{Btf, Kind, Type, TypeId};

use super::mem::Access;
use super::state::{Ptr, Ref, Reg, State, Step, Target, Trust, Ty, refuse};
use super::walk::Walk;
use super::why::Why;
use crate::maps::{Field, FieldKind, MapId};

/// Types of the kernel whose objects are freed after a grace period (`rcu_protected_types`).
const RCU_TYPES: &[&str] = &["task_struct", "cgroup", "bpf_cpumask", "bpf_crypto_ctx", "prog_test_ref_kfunc"];

/// Other types of the kernel; what is in neither list may be one of the program's own.
const KERNEL_TYPES: &[&str] = &["prog_test_member", "nf_conn", "file", "sk_buff", "bpf_key"];

/// Members through which trust is handed on, in some kernel (`BTF_TYPE_SAFE_*`).
const SAFE_MEMBERS: &[&str] = &[
    "cpus_ptr",
    "cgroups",
    "real_parent",
    "group_leader",
    "kn",
    "dfl_cgrp",
    "cgroup",
    "exe_file",
    "sk",
    "vm_mm",
    "vm_file",
    "seq",
    "meta",
    "task",
    "file",
    "f_inode",
    "d_inode",
    "d_parent",
    "mm",
];

fn bad<T>(message: String) -> Step<T> {
    refuse(Why::Kptr, message)
}

impl Walk<'_> {
    /// What a load of a kptr or uptr gives.
    pub(super) fn load_kptr(&mut self, state: &State, field: Field) -> Reg {
        let Some((name, size)) = self.field_type(field) else { return Reg::Unknown };
        let id = self.new_id();
        let target = match field.kind {
            FieldKind::Uptr => match size {
                Some(size) => Target::Mem { size, writable: true },
                None => return Reg::Unknown,
            },
            FieldKind::KptrUntrusted => Target::Obj { ty: self.ty(&name), trust: Trust::Untrusted },
            _ => {
                let sleepable = self.sleeps_now(state) && state.rcu == 0 && state.lock.is_none();
                let trust = if sleepable {
                    Trust::Untrusted
                } else if field.kind == FieldKind::KptrPercpu {
                    Trust::Percpu
                } else if RCU_TYPES.contains(&name.as_str()) {
                    Trust::Rcu
                } else {
                    Trust::Vague
                };
                Target::Obj { ty: self.ty(&name), trust }
            }
        };
        Reg::Ptr(Ptr { or_null: true, id, ..Ptr::to(target) })
    }

    /// A store to a kptr or uptr.
    pub(super) fn store_kptr(&mut self, field: Field, value: &Reg, constant: bool) -> Step<()> {
        match field.kind {
            FieldKind::Uptr => return bad("store to uptr disallowed".to_owned()),
            FieldKind::Kptr | FieldKind::KptrPercpu => {
                return bad("store to referenced kptr disallowed".to_owned());
            }
            _ => {}
        }
        let null = matches!(value, Reg::Scalar(s, _) if s.known() == Some(0));
        if constant && !null {
            let m = format!("BPF_ST imm must be 0 when storing to kptr at off={}", field.offset);
            return bad(m);
        }
        if null { Ok(()) } else { self.matches_kptr(field, value, "R") }
    }

    /// `map_kptr_match_type`.
    fn matches_kptr(&mut self, field: Field, value: &Reg, reg: &str) -> Step<()> {
        let Some((want, _)) = self.field_type(field) else { return Ok(()) };
        let wrong = |have: &str| bad(format!("invalid kptr access, {reg} type={have} expected=ptr_{want}"));
        match value {
            Reg::Scalar(..) => wrong("scalar"),
            Reg::Ptr(p) => match p.target {
                Target::Obj { ty, trust } => {
                    if p.fixed().is_none() {
                        return bad(format!("variable {} access disallowed", p.name()));
                    }
                    let have = self.ty_name(ty);
                    let percpu = trust == Trust::Percpu;
                    if field.kind != FieldKind::KptrUntrusted
                        && percpu != (field.kind == FieldKind::KptrPercpu)
                    {
                        return wrong(&format!("{}{have}", trust.name()));
                    }
                    // An offset may lead to another structure inside.
                    let inside = p.fixed() != Some(0);
                    if !inside && have != want {
                        return wrong(&format!("{}{have}", trust.name()));
                    }
                    if inside && field.kind != FieldKind::KptrUntrusted {
                        return wrong(&format!("{}{have}", trust.name()));
                    }
                    Ok(())
                }
                Target::Kernel | Target::Sock(_) | Target::Mem { .. } => Ok(()),
                _ => wrong(&p.name()),
            },
            _ => Ok(()),
        }
    }

    /// `bpf_kptr_xchg`: the old pointer, which the program now owns.
    pub(super) fn exchange(&mut self, state: &mut State, args: &[Reg; 11]) -> Step<Reg> {
        let field = match &args[1] {
            Reg::Scalar(..) => return bad("R1 type=scalar expected=map_value".to_owned()),
            Reg::Ptr(p) => match p.target {
                Target::MapValue(map) => self.kptr_at(p, map)?,
                Target::Obj { .. } | Target::Kernel => None,
                _ => return bad(format!("R1 type={} expected=map_value", p.name())),
            },
            _ => None,
        };
        match &args[2] {
            Reg::Ptr(p) if p.or_null && p.target != Target::Kernel => {
                return bad("Possibly NULL pointer passed to helper R2".to_owned());
            }
            Reg::Ptr(p) if matches!(p.target, Target::Obj { .. }) => {
                if p.reference == 0 || !state.refs.iter().any(|r| r.id == p.reference) {
                    let m = "release helper bpf_kptr_xchg expects referenced PTR_TO_BTF_ID passed to R2";
                    return bad(m.to_owned());
                }
                if let Some(field) = field {
                    self.matches_kptr(field, &args[2], "R2")?;
                }
                state.refs.retain(|r| r.id != p.reference);
            }
            Reg::Ptr(p) => state.refs.retain(|r| r.id != p.reference),
            Reg::Scalar(s, _) if s.known() == Some(0) => {}
            Reg::Scalar(..) => {
                return bad("R2 type=scalar expected=ptr_, trusted_ptr_".to_owned());
            }
            _ => state.refs.clear(),
        }
        let Some(field) = field else { return Ok(Reg::Unknown) };
        let Some((name, _)) = self.field_type(field) else { return Ok(Reg::Unknown) };
        let known = [RCU_TYPES, KERNEL_TYPES].iter().any(|l| l.contains(&name.as_str()));
        let trust = match field.kind {
            FieldKind::KptrPercpu => Trust::Percpu,
            _ if known => Trust::Trusted,
            _ => Trust::Vague,
        };
        let id = self.new_id();
        state.refs.push(Ref { id, insn: state.pc });
        let target = Target::Obj { ty: self.ty(&name), trust };
        Ok(Reg::Ptr(Ptr { or_null: true, id, reference: id, ..Ptr::to(target) }))
    }

    fn kptr_at(&self, p: &Ptr, map: MapId) -> Step<Option<Field>> {
        let Some(map) = self.kernel.maps.get(map) else { return Ok(None) };
        if p.or_null {
            return bad(format!("R1 type={} expected=map_value", p.name()));
        }
        let Some(off) = p.fixed() else {
            let m = "R1 doesn't have constant offset. kptr has to be at the constant offset";
            return bad(m.to_owned());
        };
        if map.fields.is_empty() {
            return Ok(None);
        }
        match map.fields.iter().find(|f| i64::from(f.offset) == off) {
            Some(f) if f.kind == FieldKind::KptrUntrusted => {
                bad(format!("off={off} kptr isn't referenced kptr"))
            }
            Some(f) if matches!(f.kind, FieldKind::Kptr | FieldKind::KptrPercpu) => Ok(Some(*f)),
            _ => bad(format!("off={off} doesn't point to kptr")),
        }
    }

    /// The name and size of the structure that a field points to.
    fn field_type(&self, field: Field) -> Option<(String, Option<u64>)> {
        let (btf, target) = (self.prog.btf?, field.target?);
        let id = match btf.resolve(target) {
            Ok((_, Type::Ptr(to))) => btf.resolve(to).ok()?.0,
            Ok((id, _)) => id,
            Err(_) => return None,
        };
        let name = btf.name_of(id).split("___").next()?.to_owned();
        (!name.is_empty()).then(|| (name, btf.size_of(id).ok()))
    }

    /// A load from a kernel object.
    pub(super) fn load_object(&mut self, p: &Ptr, (ty, trust): (Ty, Trust), a: Access) -> Step<Reg> {
        let unknown = super::mem::unknown(a.size);
        // The program's own types are laid out as the kernel's where there is nothing better.
        let own = matches!(trust, Trust::Alloc | Trust::Percpu);
        let kernel = self.kernel.profile.btf.as_ref().filter(|_| !own);
        if trust == Trust::Vague && kernel.is_some() {
            return Ok(unknown);
        }
        let Some(btf) = kernel.or(self.prog.btf) else { return Ok(unknown) };
        let Some(off) = p.fixed() else {
            return refuse(Why::PointerArithmetic, format!("variable {} access disallowed", p.name()));
        };
        let off = off + a.off;
        let name = self.ty_name(ty).to_owned();
        let Some(id) = btf.find(Kind::Struct, &name) else { return Ok(unknown) };
        let size = btf.size_of(id).unwrap_or(u64::MAX);
        if off < 0 {
            return refuse(
                Why::InvalidMemAccess,
                format!("R{} is ptr_{name} invalid negative access: off={off}", a.reg),
            );
        }
        if off as u64 + a.size > size && !ends_open(btf, id) {
            let m = format!("access beyond struct {name} at off {off} size {}", a.size);
            return refuse(Why::OutOfBounds, m);
        }
        if a.size != 8 {
            return Ok(unknown);
        }
        if trust == Trust::Alloc && plain_pointer_at(btf, id, off as u64) {
            return Ok(Reg::any());
        }
        let Some((member, to)) = pointer_at(btf, id, off as u64, 0) else { return Ok(unknown) };
        let trust = match trust {
            Trust::Untrusted => Trust::Untrusted,
            Trust::Plain if !SAFE_MEMBERS.contains(&member) => Trust::Plain,
            Trust::Trusted | Trust::Rcu if !SAFE_MEMBERS.contains(&member) => Trust::Plain,
            _ => Trust::Vague,
        };
        let target = Target::Obj { ty: self.ty(&to), trust };
        Ok(Reg::Ptr(Ptr::to(target)))
    }
}

/// Whether a structure ends in an array of no fixed length.
fn ends_open(btf: &Btf, id: TypeId) -> bool {
    let Ok((_, Type::Struct(c))) = btf.resolve(id) else { return true };
    c.members().last().is_some_and(|m| matches!(btf.resolve(m.type_id), Ok((_, Type::Array(_)))))
}

/// Whether a pointer lies at an offset that is no kptr: in memory of the program it is a number.
fn plain_pointer_at(btf: &Btf, id: TypeId, off: u64) -> bool {
    let Ok((_, Type::Struct(c))) = btf.resolve(id) else { return false };
    let here = |m: &bpf_vm_shim::btf::Member<'_>| u64::from(m.bit_offset) == off * 8;
    c.members().find(here).is_some_and(|m| match btf.resolve(m.type_id) {
        Ok((_, Type::Ptr(to))) => match btf.get(to) {
            Ok(Type::TypeTag { tag, .. }) => tag == "uptr",
            _ => true,
        },
        _ => false,
    })
}

/// The member at an offset that points to a structure: its name, and the structure's.
fn pointer_at(btf: &Btf, id: TypeId, off: u64, depth: u32) -> Option<(&str, String)> {
    let Ok((_, Type::Struct(c))) = btf.resolve(id) else { return None };
    for m in c.members() {
        let (start, plain) = (u64::from(m.bit_offset) / 8, m.bitfield_size == 0);
        let Ok((inner, t)) = btf.resolve(m.type_id) else { continue };
        match t {
            Type::Ptr(to) if start == off && plain => {
                if !matches!(btf.get(to), Ok(Type::Struct(_))) {
                    return None;
                }
                let name = btf.name_of(to).split("___").next()?;
                return Some((m.name, name.to_owned()));
            }
            Type::Struct(_) if depth < 8 => {
                let size = btf.size_of(inner).unwrap_or(0);
                if (start..start + size).contains(&off) {
                    return pointer_at(btf, inner, off - start, depth + 1);
                }
            }
            _ => {}
        }
    }
    None
}
