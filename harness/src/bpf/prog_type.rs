//! What type of program a place takes. A program whose section names no type gets it when it is attached.

use bpf_helpers_mock::ProgId;
use bpf_vm_shim::object::{AttachKind, AttachTarget, ProgType};

use super::Bpf;
use crate::error::Error;
use crate::value::Value;

/// A loaded program, to be put into an array of programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Func {
    id: ProgId,
}

impl Func {
    /// Its number in the machine.
    #[must_use]
    pub fn id(self) -> ProgId {
        self.id
    }
}

impl From<Func> for Value {
    fn from(func: Func) -> Self {
        Self::Uint(func.id.0.into())
    }
}

/// The type of the programs that are attached this way, where there is only one.
pub(super) const fn of_kind(kind: AttachKind) -> Option<ProgType> {
    use AttachKind as K;
    Some(match kind {
        K::Kprobe | K::Kretprobe | K::KprobeMulti | K::KretprobeMulti | K::KprobeSession => ProgType::Kprobe,
        K::Ksyscall | K::Kretsyscall | K::Usdt => ProgType::Kprobe,
        K::Uprobe | K::Uretprobe | K::UprobeMulti | K::UretprobeMulti | K::UprobeSession => ProgType::Kprobe,
        K::Tracepoint => ProgType::Tracepoint,
        K::RawTracepoint => ProgType::RawTracepoint,
        K::TpBtf | K::Fentry | K::Fexit | K::FmodRet => ProgType::Tracing,
        K::Lsm => ProgType::Lsm,
        K::PerfEvent => ProgType::PerfEvent,
        K::Xdp => ProgType::Xdp,
        K::Tc | K::Netkit => ProgType::SchedCls,
        K::Socket => ProgType::SocketFilter,
        K::Cgroup => ProgType::CgroupSkb,
        K::Syscall => ProgType::Syscall,
        _ => return None,
    })
}

impl Bpf {
    /// Loads a program as one of a type (bcc's `load_func`), so that it can be put into an array of programs:
    ///
    /// ```
    /// use bpf_harness::Bpf;
    /// use bpf_vm_shim::object::ProgType;
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// let tail = bpf.load_func("jumped", ProgType::Kprobe)?;
    /// bpf.get_table("jumps")?.update(3u32, tail)?;
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such program, or it has another type.
    pub fn load_func(&mut self, fn_name: &str, prog_type: ProgType) -> Result<Func, Error> {
        let target = self.loaded_program(fn_name)?.linked.attach.clone();
        let id = self.typed_program(fn_name, prog_type, &target, "it is asked for as one")?;
        Ok(Func { id })
    }

    /// Gives a program that has no type the one of the place where it is to be attached.
    pub(super) fn set_prog_type(
        &mut self,
        prog: ProgId,
        prog_type: ProgType,
        target: &AttachTarget,
    ) -> Result<(), Error> {
        self.machine.set_prog_type(prog, prog_type, target.clone())?;
        match &mut self.kernel {
            Some(kernel) => kernel.set_prog_type(prog, prog_type, target),
            None => Ok(()),
        }
    }

    /// A program that is about to be attached somewhere: of the type that belongs there, or made so.
    pub(super) fn typed_program(
        &mut self,
        fn_name: &str,
        wanted: ProgType,
        target: &AttachTarget,
        place: &str,
    ) -> Result<ProgId, Error> {
        let prog = self.loaded_program(fn_name)?;
        let (id, known) = (prog.id, prog.prog_type);
        if known == ProgType::Unspec {
            self.set_prog_type(id, wanted, target)?;
        } else if known != wanted {
            let (program, place) = (fn_name.to_owned(), place.to_owned());
            return Err(Error::WrongKind { program, place, is: known, wanted });
        }
        Ok(id)
    }
}
