//! Automatic arguments: `int kprobe__f(struct pt_regs *ctx, T1 a1, ...)` is compiled to code that wants `a1` in R2;
//! loads from `struct pt_regs` put it there.

use bpf_vm_shim::btf::{Btf, Type, TypeId};
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::object::Arch;

use super::splice::{Edit, Edits};
use super::{Options, PassError};
use crate::flow::Subject;

/// How a parameter is read from its register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Bytes: 1, 2, 4 or 8. What the register holds beyond them is undefined.
    pub size: u8,
    /// The value is extended with its sign.
    pub signed: bool,
}

/// Parameters in registers, the context among them.
const MAX: usize = 5;
/// The first register that a callee preserves, which the start of a program may use.
const CTX: u8 = 6;
const INNER: u8 = 7;
const FP: u8 = 10;

/// The parameters of a function behind its first.
///
/// # Errors
/// If there are more than registers, or one is of a type that no register holds.
pub fn of_function(btf: &Btf, function: TypeId, program: &str) -> Result<Vec<Argument>, PassError> {
    let proto = match btf.get(function) {
        Ok(Type::Func { proto, .. }) => btf.get(proto),
        other => other,
    };
    let Ok(Type::FuncProto(proto)) = proto else { return Ok(Vec::new()) };
    let count = proto.params().len();
    if count > MAX {
        return Err(PassError::TooManyParameters { program: program.to_owned(), count });
    }
    let argument = |(i, id): (usize, TypeId)| {
        of_type(btf, id).ok_or_else(|| PassError::Parameter {
            program: program.to_owned(),
            parameter: i + 1,
            type_name: btf.type_name(id),
        })
    };
    proto.params().map(|p| p.type_id).enumerate().skip(1).map(argument).collect()
}

fn of_type(btf: &Btf, id: TypeId) -> Option<Argument> {
    let size =
        btf.size_of(id).ok().and_then(|s| u8::try_from(s).ok()).filter(|s| matches!(s, 1 | 2 | 4 | 8))?;
    let signed = match btf.resolve(id).ok()?.1 {
        Type::Int(int) => int.encoding.is_signed(),
        Type::Enum(e) | Type::Enum64(e) => e.signed,
        Type::Ptr(_) => false,
        _ => return None,
    };
    Some(Argument { size, signed })
}

/// Byte offsets in `struct pt_regs` of the first arguments of a function, or of a system call.
fn offsets(arch: Arch, syscall: bool) -> [i16; 4] {
    match arch {
        Arch::Arm64 => [0, 8, 16, 24],
        // di, si, dx, r10
        _ if syscall => [112, 104, 96, 56],
        // di, si, dx, cx
        _ => [112, 104, 96, 88],
    }
}

/// Whether a handler's name says that its arguments are a system call's.
fn is_syscall(name: &str, arch: Arch) -> bool {
    let wrapped = name.strip_prefix("kprobe__").and_then(|f| f.strip_prefix(arch.syscall_prefix()));
    name.starts_with("syscall__") || wrapped.is_some_and(|f| f.starts_with("sys_"))
}

/// The code to be run first.
pub(super) fn edits(
    program: &str,
    subject: &Subject<'_>,
    arguments: &[Argument],
    options: &Options,
) -> Result<Edits, PassError> {
    if arguments.is_empty() {
        return Ok(Edits::new());
    }
    let code = if options.syscall_wrapper && is_syscall(program, options.arch) {
        inner(arguments, options)
    } else {
        plain(arguments, options)
    };
    // It is there already.
    if subject.insns.starts_with(&code) {
        return Ok(Edits::new());
    }
    Ok(Edits::from([(0, Edit::Enter(code))]))
}

const fn load_opcode(size: u8) -> u8 {
    match size {
        1 => 0x71,
        2 => 0x69,
        4 => 0x61,
        _ => 0x79,
    }
}

fn load(out: &mut Vec<Insn>, argument: Argument, dst: u8, src: u8, off: i16) {
    out.push(Insn { opcode: load_opcode(argument.size), dst, src, off, imm: 0 });
    if argument.signed && argument.size < 8 {
        let imm = 64 - 8 * i32::from(argument.size);
        out.push(Insn { opcode: 0x67, dst, imm, ..Insn::default() });
        out.push(Insn { opcode: 0xc7, dst, imm, ..Insn::default() });
    }
}

fn plain(arguments: &[Argument], options: &Options) -> Vec<Insn> {
    let mut out = Vec::new();
    for ((i, argument), off) in arguments.iter().enumerate().zip(offsets(options.arch, false)) {
        load(&mut out, *argument, i as u8 + 2, 1, off);
    }
    out
}

/// The registers of the system call are kernel memory, to which the wrapper's only argument points.
fn inner(arguments: &[Argument], options: &Options) -> Vec<Insn> {
    let [first, ..] = offsets(options.arch, false);
    let mov = |dst, src| Insn { opcode: 0xbf, dst, src, ..Insn::default() };
    let add = |dst, imm| Insn { opcode: 0x07, dst, imm, ..Insn::default() };
    let mut out = vec![mov(CTX, 1), Insn { opcode: 0x79, dst: INNER, src: CTX, off: first, imm: 0 }];
    // Nothing is on the stack yet.
    let place = |i: usize| -8 * (i as i16 + 1);
    let all = || arguments.iter().enumerate().zip(offsets(options.arch, true));
    for ((i, _), off) in all() {
        out.extend([mov(3, INNER), add(3, off.into()), mov(1, FP), add(1, place(i).into())]);
        out.push(Insn { opcode: 0xb7, dst: 2, imm: 8, ..Insn::default() });
        out.push(Insn { opcode: 0x85, imm: options.helper(), ..Insn::default() });
    }
    for ((i, argument), _) in all() {
        load(&mut out, *argument, i as u8 + 2, FP, place(i));
    }
    out.push(mov(1, CTX));
    out
}
