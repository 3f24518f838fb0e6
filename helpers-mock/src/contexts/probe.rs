//! Kprobes, uprobes and their returns: registers from arguments (`kernel/trace/trace_kprobe.c`, `trace_uprobe.c`).

use bpf_vm_shim::mem::Perm;
use bpf_vm_shim::object::{Arch, AttachKind, AttachPoint};

use super::error::ContextError;
use super::regs::{PtRegs, register_args};
use super::{place, place_kernel};
use crate::machine::Machine;
use crate::progs::LoadedProg;
use crate::run::RunInput;
use crate::state::TASK_SIZE;

/// A function is entered or left under a kprobe or uprobe.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Probe {
    /// The function, a kernel symbol; gives the address if `addr` does not.
    pub func: Option<String>,
    /// The probed address; for a uprobe a user address.
    pub addr: Option<u64>,
    /// Bytes from the function's start to the probed instruction.
    pub offset: u64,
    /// The function's arguments.
    pub args: Vec<u64>,
    /// It returns, with this.
    pub ret: Option<u64>,
    /// It is user space's function.
    pub user: bool,
    /// Through ftrace and not a breakpoint (multi and session probes): the instruction pointer is exact.
    pub multi: bool,
    /// The value given at attaching.
    pub cookie: u64,
    /// The user stack pointer, for a uprobe; its memory is the test's.
    pub sp: Option<u64>,
    /// Registers by their place in `struct pt_regs`, over what the rest says (USDT arguments are anywhere).
    pub registers: Vec<(u16, u64)>,
}

/// Where user code lies if nothing says otherwise: the start of a position-independent executable.
const USER_TEXT: u64 = 0x5555_5555_5000;
/// Where user stacks end if nothing says otherwise.
const USER_STACK: u64 = 0x7fff_ffff_e000;

impl Probe {
    /// Entry of a kernel function with these arguments.
    #[must_use]
    pub fn entry(func: &str, args: &[u64]) -> Self {
        Self { func: Some(func.to_owned()), args: args.to_vec(), ..Self::default() }
    }

    /// Return of a kernel function with this value.
    #[must_use]
    pub fn ret(func: &str, value: u64) -> Self {
        Self { func: Some(func.to_owned()), ret: Some(value), ..Self::default() }
    }

    /// What the program's section names, with zeros for arguments and return value.
    #[must_use]
    pub fn default_for(prog: &LoadedProg) -> Self {
        use AttachKind as K;
        let attach = &prog.linked.attach;
        let user = matches!(
            attach.kind,
            K::Uprobe | K::Uretprobe | K::UprobeMulti | K::UretprobeMulti | K::UprobeSession | K::Usdt
        );
        let multi = matches!(
            attach.kind,
            K::KprobeMulti
                | K::KretprobeMulti
                | K::KprobeSession
                | K::UprobeMulti
                | K::UretprobeMulti
                | K::UprobeSession
        );
        let (func, offset) = match &attach.point {
            AttachPoint::Symbol { name, offset } => (Some(name.clone()), *offset),
            AttachPoint::Binary { function, offset, .. } => (function.clone(), *offset),
            _ => (attach.name().map(str::to_owned), 0),
        };
        let ret = attach.kind.is_return().then_some(0);
        Self { func, offset, ret, user, multi, ..Self::default() }
    }

    /// The context, `struct pt_regs`, readable to the program.
    ///
    /// # Errors
    /// If there is no memory or there are too many arguments.
    pub fn build(&self, machine: &mut Machine) -> Result<RunInput, ContextError> {
        let arch = machine.kernel.profile.arch;
        let max = register_args(arch) + MAX_STACK_ARGS;
        if self.args.len() > max {
            return Err(ContextError::TooManyArgs { given: self.args.len(), max });
        }
        let func_ip = self.func_ip(machine);
        let at = func_ip.wrapping_add(self.offset);
        let mut scratch = Vec::new();
        let caller = if self.user { USER_TEXT } else { machine.kernel.state.symbols.intern("do_syscall_64") };
        let sp = match self.sp {
            Some(sp) => sp,
            None => self.stack(machine, &mut scratch, arch, caller)?,
        };
        // A breakpoint is one byte long, and the registers point behind it; ftrace and uprobes say where it is.
        let breakpoint = u64::from(arch == Arch::X86_64 && !self.user && !self.multi && self.ret.is_none());
        let ip = if self.ret.is_some() { caller } else { at.wrapping_add(breakpoint) };
        let regs = PtRegs {
            args: self.args.clone(),
            ret: self.ret,
            ip,
            sp,
            fp: sp,
            lr: caller,
            user: self.user,
            ..PtRegs::default()
        };
        let mut bytes = regs.encode(arch);
        for (offset, value) in &self.registers {
            if let Some(to) = bytes.get_mut(usize::from(*offset)..).and_then(|b| b.first_chunk_mut::<8>()) {
                *to = value.to_le_bytes();
            }
        }
        let mut input = place(machine, &bytes, Perm::ReadOnly)?;
        input.scratch.append(&mut scratch);
        input.cookie = self.cookie;
        // A probe inside a function gives no function address.
        input.func_ip = if self.offset == 0 || self.multi { func_ip } else { 0 };
        Ok(input)
    }

    fn func_ip(&self, machine: &mut Machine) -> u64 {
        match (self.addr, &self.func) {
            (Some(addr), _) => addr,
            (None, Some(name)) if !self.user => machine.kernel.state.symbols.intern(name),
            (None, _) if self.user => USER_TEXT,
            (None, _) => machine.kernel.state.symbols.intern("_stext"),
        }
    }

    /// The top of the stack: on x86-64 the return address; then the arguments that no register has.
    fn stack(
        &self,
        machine: &mut Machine,
        scratch: &mut Vec<u64>,
        arch: Arch,
        caller: u64,
    ) -> Result<u64, ContextError> {
        let mut words = Vec::new();
        if arch == Arch::X86_64 && self.ret.is_none() {
            words.push(caller);
        }
        words.extend(self.args.iter().skip(register_args(arch)));
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        if self.user {
            let sp = USER_STACK - 8 * bytes.len() as u64;
            debug_assert!(sp < TASK_SIZE);
            if let Some(user) = machine.kernel.state.current_user_mut().filter(|_| !bytes.is_empty()) {
                // The address is a fixed user address, which can always be mapped.
                let _ = user.write(sp, &bytes);
            }
            return Ok(sp);
        }
        bytes.resize(bytes.len().max(64), 0);
        place_kernel(machine, scratch, &bytes, "kernel stack")
    }
}

/// Arguments that are passed on the stack.
const MAX_STACK_ARGS: usize = 6;

/// A system call is entered or left under a kprobe on its function.
///
/// Where system calls have wrappers (`CONFIG_ARCH_HAS_SYSCALL_WRAPPER`), the function gets one argument: a pointer to
/// the registers of user space, which have the call's arguments.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Syscall {
    /// The call's name, without prefix (`openat`).
    pub name: String,
    /// Its number.
    pub nr: u64,
    /// Its arguments, up to six.
    pub args: Vec<u64>,
    /// It returns, with this.
    pub ret: Option<i64>,
    /// The value given at attaching.
    pub cookie: u64,
}

impl Syscall {
    /// The context, `struct pt_regs`, readable to the program.
    ///
    /// # Errors
    /// If there is no memory or there are too many arguments.
    pub fn build(&self, machine: &mut Machine) -> Result<RunInput, ContextError> {
        let profile = &machine.kernel.profile;
        let (arch, wrapped) = (profile.arch, profile.syscall_wrapper);
        if self.args.len() > 6 {
            return Err(ContextError::TooManyArgs { given: self.args.len(), max: 6 });
        }
        let prefix = if wrapped { arch.syscall_prefix() } else { "" };
        let func = format!("{prefix}sys_{}", self.name);
        let ret = self.ret.map(i64::cast_unsigned);
        let mut scratch = Vec::new();
        let args = if wrapped {
            let user = PtRegs {
                args: self.args.clone(),
                syscall_args: true,
                syscall: Some(self.nr),
                ip: USER_TEXT,
                sp: USER_STACK,
                user: true,
                ..PtRegs::default()
            };
            vec![place_kernel(
                machine,
                &mut scratch,
                &user.encode(arch),
                "user registers of the system call",
            )?]
        } else {
            self.args.clone()
        };
        let probe = Probe { func: Some(func), args, ret, cookie: self.cookie, ..Probe::default() };
        let mut input = probe.build(machine)?;
        input.scratch.append(&mut scratch);
        Ok(input)
    }
}
