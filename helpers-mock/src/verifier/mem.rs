//! Loads, stores and the memory behind call arguments (`check_mem_access`, `check_helper_mem_access` in
//! `kernel/bpf/verifier.c`).

use bpf_vm_shim::object::{MapDef, MapType, ProgType};

use super::alu::MAX_VAR_OFF;
use super::scalar::Scalar;
use super::state::{Byte, Ptr, Reg, Slot, State, Step, Stop, Target, refuse};
use super::walk::Walk;
use super::why::Why;
use crate::maps::{Field, FieldKind, MapId, flag};

/// An access: how many bytes, at which displacement, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// The register that holds the pointer.
    pub(super) reg: u8,
    pub(super) off: i64,
    pub(super) size: u64,
    pub(super) write: bool,
    /// By the program itself, not by what it calls.
    pub(super) direct: bool,
}

/// What lies where a map value is accessed.
#[derive(Clone, Copy, Debug)]
enum Bytes {
    Plain,
    /// Constants of a map that programs cannot write.
    Constant,
    /// An address in the program.
    Instruction,
    /// A pointer to a kernel object.
    Kptr(Field),
}

impl Walk<'_> {
    /// A load through a register; what it gives.
    pub(super) fn load(&mut self, state: &mut State, base: Reg, a: Access) -> Step<Reg> {
        let p = deref(&base, a.reg)?;
        let Some(p) = p else { return Ok(unknown(a.size)) };
        match p.target {
            Target::Stack(depth) => self.load_stack(state, &p, depth, a),
            Target::MapValue(map) => {
                match self.check_map_value(&p, map, a)? {
                    Bytes::Instruction => return Ok(Reg::Unknown),
                    Bytes::Kptr(field) => return Ok(self.load_kptr(state, field)),
                    Bytes::Constant => return Ok(self.rodata(&p, map, a)),
                    Bytes::Plain => {}
                }
                Ok(Reg::scalar(Scalar::of_size(a.size as u32)))
            }
            Target::Ctx => self.check_ctx(&p, a),
            Target::Obj { ty, trust } => self.load_object(&p, (ty, trust), a),
            Target::Sock(kind) => super::sock::load(&p, kind, a),
            Target::Faulting => Ok(Reg::scalar(Scalar::of_size(a.size as u32))),
            Target::Kernel | Target::Map(_) | Target::InnerMap => Ok(unknown(a.size)),
            Target::Dynptr => {
                refuse(Why::InvalidMemAccess, format!("R{} invalid mem access 'dynptr_ptr'", a.reg))
            }
            _ => {
                self.check_region(&p, a)?;
                Ok(Reg::scalar(Scalar::of_size(a.size as u32)))
            }
        }
    }

    /// A store through a register.
    pub(super) fn store(&mut self, state: &mut State, base: Reg, a: Access, value: Reg) -> Step<()> {
        let Some(p) = deref(&base, a.reg)? else { return Ok(()) };
        match p.target {
            Target::Stack(depth) => {
                let place = stack_place(&p, a)?;
                let lo = p.off.saturating_add(a.off).saturating_add(p.var.smin);
                let (lo, hi) = match place {
                    Some(at) => (at, at + a.size as i64),
                    None => (lo, p.off + a.off + p.var.smax + a.size as i64),
                };
                self.used(state, depth, lo);
                self.overwrite(state, depth, lo, hi, true)?;
                store_stack(state, &p, depth, a, value)
            }
            Target::MapValue(map) => match self.check_map_value(&p, map, a)? {
                Bytes::Kptr(field) => self.store_kptr(field, &value, false),
                _ => Ok(()),
            },
            Target::Ctx => self.check_ctx(&p, a).map(|_| ()),
            Target::Map(_) | Target::InnerMap => {
                refuse(Why::ReadOnlyWrite, "only read from bpf_map is supported".to_owned())
            }
            Target::Sock(_) | Target::Faulting => {
                refuse(Why::ReadOnlyWrite, format!("R{} cannot write into {}", a.reg, p.name()))
            }
            Target::Kernel | Target::Obj { .. } => Ok(()),
            _ => self.check_region(&p, a),
        }
    }

    /// Memory without types: packets, records, function arguments.
    pub(super) fn check_region(&mut self, p: &Ptr, a: Access) -> Step<()> {
        match p.target {
            Target::Packet | Target::PacketMeta => self.check_packet(p, a),
            Target::Mem { size, writable } => {
                if a.write && !writable {
                    return refuse(Why::ReadOnlyWrite, format!("R{} cannot write into rdonly_mem", a.reg));
                }
                bounds(p, a, size, "memory, mem_size")
            }
            Target::FlowKeys => bounds(p, a, super::sock::FLOW_KEYS, "flow keys, size"),
            Target::PacketEnd | Target::Func(_) | Target::Dynptr => {
                refuse(Why::InvalidMemAccess, format!("R{} invalid mem access '{}'", a.reg, p.name()))
            }
            _ => Ok(()),
        }
    }

    fn check_packet(&mut self, p: &Ptr, a: Access) -> Step<()> {
        let may_write = !matches!(
            self.prog.prog_type,
            ProgType::LwtIn
                | ProgType::LwtOut
                | ProgType::SkReuseport
                | ProgType::FlowDissector
                | ProgType::CgroupSkb
        );
        if a.write && a.direct && !may_write {
            return refuse(Why::ReadOnlyWrite, "cannot write into packet".to_owned());
        }
        if p.var.smin < 0 {
            let m = format!(
                "R{} min value is negative, either use unsigned index or do a if (index >=0) check.",
                a.reg
            );
            return refuse(Why::OutOfBounds, m);
        }
        let (off, range) = (p.off + a.off, p.range.max(0));
        if off < 0 || off + a.size as i64 > range {
            let m = format!(
                "invalid access to packet, off={off} size={}, R{}(id={},off={off},r={range})",
                a.size, a.reg, p.id
            );
            return refuse(Why::OutOfBounds, m);
        }
        Ok(())
    }

    fn check_map_value(&mut self, p: &Ptr, map: MapId, a: Access) -> Step<Bytes> {
        let map = self.kernel.maps.get(map).ok_or(Stop::Unsure)?;
        let def = &map.def;
        if matches!(def.map_type, MapType::InsnArray) {
            return instructions(p, a, def);
        }
        if a.write && def.map_flags & flag::RDONLY_PROG != 0 {
            let m = format!(
                "write into map forbidden, value_size={} off={} size={}",
                def.value_size,
                p.off + a.off,
                a.size
            );
            return refuse(Why::ReadOnlyWrite, m);
        }
        if !a.write && def.map_flags & flag::WRONLY_PROG != 0 {
            return refuse(Why::WriteOnlyRead, "read from map forbidden".to_owned());
        }
        if matches!(def.map_type, MapType::Unknown(_)) {
            return Err(Stop::Unsure);
        }
        bounds(p, a, def.value_size.into(), "map value, value_size")?;
        let lo = p.off + a.off + p.var.smin;
        let hi = p.off + a.off + p.var.umax as i64 + a.size as i64;
        for f in map.fields.iter() {
            let (start, end) = (i64::from(f.offset), i64::from(f.offset) + i64::from(f.size));
            if lo < end && start < hi {
                let kptr = matches!(
                    f.kind,
                    FieldKind::Kptr | FieldKind::KptrUntrusted | FieldKind::KptrPercpu | FieldKind::Uptr
                );
                if !a.direct {
                    let m = "a special field cannot be accessed indirectly by helper".to_owned();
                    return refuse(Why::SpecialField, m);
                }
                if !kptr {
                    let m = "a special field cannot be accessed directly by load/store".to_owned();
                    return refuse(Why::SpecialField, m);
                }
                if p.var.known().is_none() {
                    return refuse(Why::SpecialField, "kptr access cannot have variable offset".to_owned());
                }
                if a.size != 8 {
                    return refuse(Why::SpecialField, "kptr access size must be BPF_DW".to_owned());
                }
                if lo != start {
                    let m = format!("kptr access misaligned expected={start} off={lo}");
                    return refuse(Why::SpecialField, m);
                }
                return Ok(Bytes::Kptr(*f));
            }
        }
        let constant = def.map_flags & flag::RDONLY_PROG != 0 && !a.write;
        Ok(if constant { Bytes::Constant } else { Bytes::Plain })
    }

    /// A constant from a frozen read-only map (`bpf_map_direct_read`).
    fn rodata(&self, p: &Ptr, map: MapId, a: Access) -> Reg {
        let any = Reg::scalar(Scalar::of_size(a.size as u32));
        let Some(map) = self.kernel.maps.get(map) else { return any };
        let Some(off) = p.fixed() else { return any };
        let Some(data) = &map.def.data else { return Reg::Unknown };
        let start = (off + a.off) as usize;
        let byte = |i: usize| u64::from(data.bytes().get(start + i).copied().unwrap_or_default());
        Reg::constant((0..a.size.min(8) as usize).fold(0, |v, i| v | byte(i) << (8 * i)))
    }

    fn load_stack(&mut self, state: &mut State, p: &Ptr, depth: usize, a: Access) -> Step<Reg> {
        let Some(at) = stack_place(p, a)? else { return Ok(self.load_stack_any(state, p, depth, a)) };
        self.used(state, depth, at);
        let frame = state.frames.get(depth).ok_or(Stop::Unsure)?;
        let base = at & !7;
        let first = (at - base) as usize;
        if frame.stack.get(&base).is_some_and(|s| s.special.is_some()) {
            return refuse(Why::StackObject, format!("invalid read from stack off {at} size {}", a.size));
        }
        let Some(slot) = frame.stack.get(&base) else {
            return Ok(Reg::scalar(Scalar::of_size(a.size as u32)));
        };
        let bytes = slot.bytes.get(first..first + a.size as usize).ok_or(Stop::Unsure)?;
        if let Some((reg, n)) = slot.spill {
            let whole = bytes.iter().all(|b| *b == Byte::Spill);
            if whole && first == 0 && u64::from(n) == a.size {
                return Ok(reg);
            }
            if bytes.contains(&Byte::Spill) {
                return match reg {
                    Reg::Ptr(_) => refuse(
                        Why::StackAccess,
                        format!("invalid size of register fill off={at} size={}", a.size),
                    ),
                    Reg::Scalar(s, _) if whole && first == 0 && s.zext(a.size as u32) == s => Ok(reg),
                    Reg::Scalar(s, _) if whole => {
                        let part = super::arith::alu64(
                            super::arith::op::RSH,
                            &s,
                            &Scalar::constant(8 * first as u64),
                            false,
                        );
                        Ok(Reg::scalar(part.zext(a.size as u32)))
                    }
                    Reg::Scalar(..) => Ok(Reg::scalar(Scalar::of_size(a.size as u32))),
                    _ => Ok(Reg::Unknown),
                };
            }
        }
        if bytes.contains(&Byte::Unknown) {
            return Ok(Reg::Unknown);
        }
        if bytes.iter().all(|b| *b == Byte::Zero) {
            return Ok(Reg::constant(0));
        }
        Ok(Reg::scalar(Scalar::of_size(a.size as u32)))
    }

    /// A load from somewhere in a range of the stack.
    fn load_stack_any(&mut self, state: &State, p: &Ptr, depth: usize, a: Access) -> Reg {
        let (lo, hi) = (p.off + a.off + p.var.smin, p.off + a.off + p.var.smax + a.size as i64);
        let Some(frame) = state.frames.get(depth) else { return Reg::Unknown };
        let odd = |s: &Slot| s.bytes.contains(&Byte::Unknown) || matches!(s.spill, Some((Reg::Unknown, _)));
        if frame.stack.range(lo & !7..hi).any(|(_, s)| odd(s)) {
            return Reg::Unknown;
        }
        let zero =
            |b: i64| frame.stack.get(&(b & !7)).is_some_and(|s| s.bytes[(b & 7) as usize] == Byte::Zero);
        if (lo..hi).all(zero) {
            return Reg::constant(0);
        }
        Reg::scalar(Scalar::of_size(a.size as u32))
    }

    /// Memory handed to a helper.
    pub(super) fn helper_memory(&mut self, state: &mut State, base: Reg, a: Access) -> Step<()> {
        let Reg::Ptr(p) = base else { return Ok(()) };
        match p.target {
            Target::Stack(depth) => {
                let whole = p.fixed();
                let (lo, hi) = match whole {
                    Some(off) => (off, off),
                    None if p.var.smin <= -MAX_VAR_OFF || p.var.smax >= MAX_VAR_OFF => {
                        let m =
                            format!("invalid unbounded variable-offset indirect access to stack R{}", a.reg);
                        return refuse(Why::StackAccess, m);
                    }
                    None => (p.off + p.var.smin, p.off + p.var.smax),
                };
                if a.size == 0 && lo >= -512 && hi <= 0 {
                    return Ok(());
                }
                let verb = if a.write { "write to" } else { "read from" };
                if lo < -512 || hi >= 0 && a.size > 0 || hi.saturating_add(a.size as i64) > 0 {
                    let m = format!("invalid {verb} stack R{} off={lo} size={}", a.reg, a.size);
                    return refuse(Why::StackAccess, m);
                }
                self.used(state, depth, lo);
                if a.write {
                    self.overwrite(state, depth, lo, hi + a.size as i64, false)?;
                } else if let Some(frame) = state.frames.get(depth)
                    && frame.stack.range(lo & !7..hi + a.size as i64).any(|(_, s)| s.special.is_some())
                {
                    let m = format!("invalid read from stack R{} off {lo} size {}", a.reg, a.size);
                    return refuse(Why::StackObject, m);
                }
                // Whatever was there may be something else now. Reads turn spilled numbers into bytes, too.
                let frame = state.frames.get_mut(depth).ok_or(Stop::Unsure)?;
                let mut at = lo;
                while at < hi + a.size as i64 {
                    let slot = frame.stack.entry(at & !7).or_insert(Slot::of(Byte::Misc));
                    if a.write {
                        clobber(slot, (at & 7) as usize, 1, Byte::Misc);
                    }
                    at += 1;
                }
                Ok(())
            }
            Target::MapValue(map) => self.check_map_value(&p, map, a).map(|_| ()),
            Target::Packet | Target::PacketMeta | Target::Mem { .. } => self.check_region(&p, a),
            Target::Ctx if self.prog.prog_type == ProgType::Syscall => Ok(()),
            Target::Ctx
            | Target::PacketEnd
            | Target::Map(_)
            | Target::Sock(_)
            | Target::Faulting
            | Target::Dynptr => {
                refuse(Why::HelperArgument, format!("R{} type={} expected=fp", a.reg, p.name()))
            }
            _ => Ok(()),
        }
    }
}

/// Jump tables: addresses of instructions, read whole (`check_map_access` of `BPF_MAP_TYPE_INSN_ARRAY`).
fn instructions(p: &Ptr, a: Access, def: &MapDef) -> Step<Bytes> {
    let size = 8 * u64::from(def.max_entries);
    if a.write {
        let m = format!("write into map forbidden, value_size={size} off={} size={}", p.off + a.off, a.size);
        return refuse(Why::ReadOnlyWrite, m);
    }
    if a.size != 8 {
        return refuse(Why::OutOfBounds, format!("Invalid read of {} bytes from insn_array", a.size));
    }
    bounds(p, a, size, "map value, value_size")?;
    if p.fixed().is_some_and(|off| (off + a.off) % 8 != 0) {
        let m = format!("misaligned value access off {} size {}", p.off + a.off, a.size);
        return refuse(Why::OutOfBounds, m);
    }
    Ok(Bytes::Instruction)
}

/// The pointer in a base register; none if it is not modelled.
fn deref(base: &Reg, reg: u8) -> Step<Option<Ptr>> {
    match base {
        Reg::Ptr(p) if p.or_null => {
            refuse(Why::NullDeref, format!("R{reg} invalid mem access '{}'", p.name()))
        }
        Reg::Ptr(p) => Ok(Some(*p)),
        Reg::Scalar(..) => refuse(Why::InvalidMemAccess, format!("R{reg} invalid mem access 'scalar'")),
        _ => Ok(None),
    }
}

/// What a load of something not modelled gives: pointers are 8 bytes wide, so less is a number.
pub(super) fn unknown(size: u64) -> Reg {
    if size < 8 { Reg::scalar(Scalar::of_size(size as u32)) } else { Reg::Unknown }
}

/// `check_mem_region_access`.
fn bounds(p: &Ptr, a: Access, limit: u64, what: &str) -> Step<()> {
    let off = p.off + a.off;
    let here = |off: i64| {
        if off < 0 || (off as u64).saturating_add(a.size) > limit {
            return Some(format!("invalid access to {what}={limit} off={off} size={}", a.size));
        }
        None
    };
    if let Some(v) = p.var.known() {
        return match here(off.wrapping_add(v as i64)) {
            Some(m) => refuse(Why::OutOfBounds, m),
            None => Ok(()),
        };
    }
    if p.var.smin < 0 && (p.var.smin == i64::MIN || off.saturating_add(p.var.smin) < 0) {
        let m = format!(
            "R{} min value is negative, either use unsigned index or do a if (index >=0) check.",
            a.reg
        );
        return refuse(Why::OutOfBounds, m);
    }
    if let Some(m) = here(p.var.smin.saturating_add(off)) {
        return refuse(
            Why::OutOfBounds,
            format!("{m}; R{} min value is outside of the allowed memory range", a.reg),
        );
    }
    if p.var.umax >= MAX_VAR_OFF as u64 {
        let m = format!("R{} unbounded memory access, make sure to bounds check any such access", a.reg);
        return refuse(Why::OutOfBounds, m);
    }
    if let Some(m) = here((p.var.umax as i64).saturating_add(off)) {
        return refuse(
            Why::OutOfBounds,
            format!("{m}; R{} max value is outside of the allowed memory range", a.reg),
        );
    }
    Ok(())
}

/// Where on the stack an access lies; none if that varies.
fn stack_place(p: &Ptr, a: Access) -> Step<Option<i64>> {
    let verb = if a.write { "write to" } else { "read from" };
    let off = p.off + a.off;
    let Some(v) = p.var.known() else {
        if p.var.smin <= -MAX_VAR_OFF || p.var.smax >= MAX_VAR_OFF {
            return refuse(
                Why::StackAccess,
                format!("invalid unbounded variable-offset {verb} stack R{}", a.reg),
            );
        }
        let whole = p.var.t.add(super::tnum::Tnum::constant(off as u64));
        if a.direct && a.size > 1 && !whole.aligned(a.size) {
            let m = format!("misaligned stack access off {off} size {}", a.size);
            return refuse(Why::MisalignedStack, m);
        }
        if off + p.var.smin < -512 || off + p.var.smax + a.size as i64 > 0 {
            let m = format!("invalid variable-offset {verb} stack R{} off={off} size={}", a.reg, a.size);
            return refuse(Why::StackAccess, m);
        }
        return Ok(None);
    };
    let at = off.wrapping_add(v as i64);
    if a.direct && a.size > 1 && at.rem_euclid(a.size as i64) != 0 {
        let m = format!("misaligned stack access off {at} size {}", a.size);
        return refuse(Why::MisalignedStack, m);
    }
    if at < -512 || at + a.size as i64 > 0 {
        return refuse(Why::StackAccess, format!("invalid {verb} stack R{} off={at} size={}", a.reg, a.size));
    }
    Ok(Some(at))
}

/// Overwrites bytes of a slot; what was spilled there is no register any more.
fn clobber(slot: &mut Slot, first: usize, len: usize, byte: Byte) {
    if let Some((reg, _)) = slot.spill.take() {
        let rest = match reg {
            Reg::Unknown => Byte::Unknown,
            _ => Byte::Misc,
        };
        slot.bytes.iter_mut().filter(|b| **b == Byte::Spill).for_each(|b| *b = rest);
    }
    slot.bytes.iter_mut().skip(first).take(len).for_each(|b| *b = byte);
}

fn store_stack(state: &mut State, p: &Ptr, depth: usize, a: Access, value: Reg) -> Step<()> {
    let place = stack_place(p, a)?;
    let frame = state.frames.get_mut(depth).ok_or(Stop::Unsure)?;
    let Some(at) = place else {
        let (lo, hi) = (p.off + a.off + p.var.smin, p.off + a.off + p.var.smax + a.size as i64);
        let zero = matches!(value, Reg::Scalar(s, _) if s.known() == Some(0));
        for at in lo..hi {
            let slot = frame.stack.entry(at & !7).or_insert(Slot::of(Byte::Misc));
            let i = (at & 7) as usize;
            let keep = zero && slot.bytes[i] == Byte::Zero;
            let byte = match (slot.bytes[i], value) {
                _ if keep => Byte::Zero,
                (Byte::Unknown, _) | (_, Reg::Unknown) => Byte::Unknown,
                _ => Byte::Misc,
            };
            clobber(slot, i, 1, byte);
        }
        return Ok(());
    };
    let base = at & !7;
    let first = (at - base) as usize;
    let slot = frame.stack.entry(base).or_insert(Slot::of(Byte::Misc));
    let byte = match value {
        Reg::Scalar(s, _) if s.known().is_some_and(|v| a.size == 8 && v == 0) => Byte::Zero,
        Reg::Scalar(s, _) if s.zext(a.size as u32).known() == Some(0) => Byte::Zero,
        Reg::Unknown => Byte::Unknown,
        _ => Byte::Misc,
    };
    clobber(slot, first, a.size as usize, byte);
    if first == 0 && byte != Byte::Zero && a.size >= 1 {
        let kept = match value {
            Reg::Scalar(s, link) if a.size == 8 || s.umax < 1 << (8 * a.size) => Reg::Scalar(s, link),
            Reg::Scalar(s, _) => Reg::scalar(s.zext(a.size as u32)),
            Reg::Ptr(_) if a.size != 8 => return Ok(()),
            other => other,
        };
        slot.spill = Some((kept, a.size as u8));
        slot.bytes.iter_mut().take(a.size as usize).for_each(|b| *b = Byte::Spill);
    }
    Ok(())
}
