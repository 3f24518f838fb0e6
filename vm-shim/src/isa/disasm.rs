//! Instructions as text, in the notation of the kernel's verifier log and of llvm-objdump.

use super::insn::{Insn, pseudo};
use super::op::{Form, Width, lookup};

/// A signed immediate or offset in hexadecimal with its sign before the prefix (`-0x8`).
fn hex(v: i64) -> String {
    if v < 0 { format!("-{:#x}", v.unsigned_abs()) } else { format!("{v:#x}") }
}

/// A jump distance or displacement, always with its sign (`+0x8`).
fn signed_hex(v: i64) -> String {
    if v < 0 { hex(v) } else { format!("+{v:#x}") }
}

fn reg(width: Width, r: u8) -> String {
    match width {
        Width::W32 => format!("w{r}"),
        Width::W64 => format!("r{r}"),
    }
}

/// A memory operand: base register and displacement (`r10 - 0x8`).
fn place(base: u8, off: i16) -> String {
    let sign = if off < 0 { '-' } else { '+' };
    format!("r{base} {sign} {:#x}", off.unsigned_abs())
}

/// The register name that llvm uses for a value of this type: `w` for what fits 32 bits, else `r`.
fn value_reg(ty: &str, r: u8) -> String {
    reg(if matches!(ty, "u8" | "u16" | "u32") { Width::W32 } else { Width::W64 }, r)
}

/// One instruction as text; `next` is the following slot, which holds the upper half of `ld_imm64`.
///
/// An unknown encoding is written as `<unknown>` with its bytes.
///
/// ```
/// use bpf_vm_shim::isa::{Insn, disassemble};
/// let insn = Insn { opcode: 0x7b, dst: 10, src: 1, off: -8, imm: 0 };
/// assert_eq!(disassemble(&insn, None), "*(u64 *)(r10 - 0x8) = r1");
/// ```
#[must_use]
pub fn disassemble(insn: &Insn, next: Option<&Insn>) -> String {
    let Some(row) = lookup(insn) else {
        return format!("<unknown {:02x?}>", insn.to_bytes());
    };
    let (dst, src, off) = (insn.dst, insn.src, insn.off);
    let (imm, token) = (i64::from(insn.imm), row.token);
    let operand = |w| if row.uses.src() { reg(w, src) } else { hex(imm) };
    let fetch_reg = |ty: Width| reg(ty, src);
    let size32 = insn.opcode & 0x18 == 0;
    let (ty, width) = if size32 { ("u32", Width::W32) } else { ("u64", Width::W64) };
    match row.form {
        Form::Alu(w) => format!("{} {token} {}", reg(w, dst), operand(w)),
        Form::Neg(w) => format!("{} = -{}", reg(w, dst), reg(w, dst)),
        Form::Movsx(w) => format!("{} = {token}{}", reg(w, dst), reg(w, src)),
        Form::End => format!("r{dst} = {token} r{dst}"),
        Form::Jump(w) => {
            format!("if {} {token} {} goto {}", reg(w, dst), operand(w), signed_hex(off.into()))
        }
        Form::Goto => {
            let distance = if row.uses.imm() { imm } else { off.into() };
            format!("{token} {}", signed_hex(distance))
        }
        Form::Call if src == pseudo::CALL_HELPER => format!("call {}", hex(imm)),
        Form::Call if src == pseudo::CALL_LOCAL => format!("call {}", signed_hex(imm)),
        Form::Call => format!("call kfunc#{imm}"),
        Form::Cast => {
            format!("r{dst} = {token}(r{src}, {:#x}, {:#x})", insn.imm as u32 >> 16, insn.imm & 0xffff)
        }
        Form::Gotox => format!("gotox r{dst}"),
        Form::Callx => format!("callx r{dst}"),
        Form::Exit => "exit".to_owned(),
        Form::LdImm64 => {
            let high = next.map_or(0, |n| n.imm as u32);
            let value = (u64::from(high) << 32) | u64::from(insn.imm as u32);
            format!("r{dst} = {value:#x} ll")
        }
        Form::LdAbs => format!("r0 = *({token} *)skb[{}]", hex(imm)),
        Form::LdInd if imm == 0 => format!("r0 = *({token} *)skb[r{src}]"),
        Form::LdInd => format!("r0 = *({token} *)skb[r{src} + {}]", hex(imm)),
        Form::Load => format!("{} = *({token} *)({})", value_reg(token, dst), place(src, off)),
        Form::StoreImm => format!("*({token} *)({}) = {}", place(dst, off), hex(imm)),
        Form::StoreReg => format!("*({token} *)({}) = {}", place(dst, off), value_reg(token, src)),
        Form::Lock => format!("lock *({ty} *)({}) {token} {}", place(dst, off), fetch_reg(width)),
        Form::Fetch => {
            let r = fetch_reg(width);
            format!("{r} = {token}(({ty} *)({}), {r})", place(dst, off))
        }
        Form::Xchg => {
            let r = fetch_reg(width);
            let name = if size32 { "xchg32_32" } else { "xchg_64" };
            format!("{r} = {name}({}, {r})", place(dst, off))
        }
        Form::Cmpxchg => {
            let r0 = reg(width, 0);
            let name = if size32 { "cmpxchg32_32" } else { "cmpxchg_64" };
            format!("{r0} = {name}({}, {r0}, {})", place(dst, off), fetch_reg(width))
        }
        Form::LoadAcquire => {
            format!("{} = load_acquire(({token} *)({}))", value_reg(token, dst), place(src, off))
        }
        Form::StoreRelease => {
            format!("store_release(({token} *)({}), {})", place(dst, off), value_reg(token, src))
        }
    }
}

/// A whole program, one line per instruction, each with its slot number.
#[must_use]
pub fn disassemble_all(insns: &[Insn]) -> String {
    let mut out = String::new();
    let mut slot = 0;
    while let Some(insn) = insns.get(slot) {
        out.push_str(&format!("{slot:4}: {}\n", disassemble(insn, insns.get(slot + 1))));
        slot += if insn.is_ld_imm64() { 2 } else { 1 };
    }
    out
}
