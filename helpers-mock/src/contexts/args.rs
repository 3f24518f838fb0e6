//! Contexts that are arrays of 64-bit arguments: raw and typed tracepoints, fentry and its kin, LSM hooks, members of
//! structures of function pointers (`btf_ctx_access` in `kernel/bpf/btf.c`, `kernel/bpf/trampoline.c`).

use bpf_vm_shim::btf::{Btf, Kind, Type};
use bpf_vm_shim::mem::Perm;
use bpf_vm_shim::object::{AttachKind, ProgType};

use super::error::ContextError;
use super::place;
use super::sizes::MAX_FUNC_ARGS;
use crate::machine::Machine;
use crate::progs::LoadedProg;
use crate::run::RunInput;

/// A traced function, tracepoint or hook with its arguments, each 64 bits wide.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TypedArgs {
    /// The function, a kernel symbol; gives the address for `bpf_get_func_ip`.
    pub func: Option<String>,
    /// The arguments.
    pub args: Vec<u64>,
    /// The return value, in the slot behind the arguments (fexit, fmod_ret; LSM: of the programs before).
    pub ret: Option<u64>,
    /// The value given at attaching.
    pub cookie: u64,
}

impl TypedArgs {
    /// Zeros for what the program's section names: as many as the function has in the kernel's BTF, else as many as
    /// there can be.
    #[must_use]
    pub fn default_for(machine: &Machine, prog: &LoadedProg) -> Self {
        let attach = &prog.linked.attach;
        let name = attach.name();
        let btf = machine.kernel.profile.btf.as_ref();
        let known = name.zip(btf).and_then(|(name, btf)| arg_count(btf, attach.kind, name));
        let returns = matches!(attach.kind, AttachKind::Fexit | AttachKind::FmodRet | AttachKind::Fsession);
        let has_ret = prog.prog_type == ProgType::Tracing && returns || prog.prog_type == ProgType::Lsm;
        let func = matches!(
            attach.kind,
            AttachKind::Fentry | AttachKind::Fexit | AttachKind::FmodRet | AttachKind::Fsession
        );
        Self {
            func: name.filter(|_| func).map(str::to_owned),
            args: vec![0; known.unwrap_or(MAX_FUNC_ARGS)],
            ret: has_ret.then_some(0),
            cookie: 0,
        }
    }

    /// The context, readable to the program.
    ///
    /// # Errors
    /// If there is no memory or there are more arguments than the kernel passes.
    pub fn build(&self, machine: &mut Machine) -> Result<RunInput, ContextError> {
        if self.args.len() > MAX_FUNC_ARGS {
            return Err(ContextError::TooManyArgs { given: self.args.len(), max: MAX_FUNC_ARGS });
        }
        let words = self.args.iter().copied().chain(self.ret);
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let mut input = place(machine, &bytes, Perm::ReadOnly)?;
        input.func_args.clone_from(&self.args);
        input.func_ret = self.ret;
        input.cookie = self.cookie;
        input.func_ip = self.func.as_ref().map_or(0, |f| machine.kernel.state.symbols.intern(f));
        Ok(input)
    }
}

/// How many arguments a program sees: those of the function, of `bpf_lsm_<hook>`, or of `btf_trace_<event>` without its
/// first (the tracepoint's own data).
fn arg_count(btf: &Btf, kind: AttachKind, name: &str) -> Option<usize> {
    match kind {
        AttachKind::TpBtf => {
            let id = btf.find(Kind::Typedef, &format!("btf_trace_{name}"))?;
            let Type::Ptr(proto) = btf.resolve(id).ok()?.1 else { return None };
            let Type::FuncProto(proto) = btf.get(proto).ok()? else { return None };
            proto.len().checked_sub(1)
        }
        AttachKind::Lsm => func_args(btf, &format!("bpf_lsm_{name}")),
        _ => func_args(btf, name),
    }
}

fn func_args(btf: &Btf, name: &str) -> Option<usize> {
    let Type::Func { proto, .. } = btf.get(btf.find(Kind::Func, name)?).ok()? else { return None };
    let Type::FuncProto(proto) = btf.get(proto).ok()? else { return None };
    Some(proto.len())
}
