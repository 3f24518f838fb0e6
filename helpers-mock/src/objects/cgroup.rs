//! Objects that stand for control groups, and for registers.

use bpf_vm_shim::fault::Trap;
use bpf_vm_shim::mem::Memory;

use super::builder::{Object, set};
use super::error::ObjectError;
use super::{Known, Thing, alloc, alloc_type, find_type};
use crate::kernel::Kernel;

impl Kernel {
    /// The address of a control group's `struct cgroup`, made when it is first asked for; `None` if there is no such
    /// group.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn cgroup_object(&mut self, mem: &mut Memory, id: u64) -> Result<Option<u64>, Trap> {
        Ok(self.make_cgroup(mem, id)?)
    }

    pub(super) fn make_cgroup(&mut self, mem: &mut Memory, id: u64) -> Result<Option<u64>, ObjectError> {
        let Some(cgroup) = self.state.cgroups.get(id).cloned() else { return Ok(None) };
        let types = self.types().cloned();
        let typed = types.as_ref().and_then(|btf| Some((btf, find_type(btf, "struct cgroup")?)));
        let number = typed.map_or(super::UNTYPED, |(btf, _)| self.state.objects.set(btf));
        let key = (Thing::Cgroup(id), number);
        if let Some(known) = self.state.objects.known.get(&key) {
            return Ok(Some(known.addr));
        }
        let addr = match typed {
            Some((btf, id)) => alloc_type(mem, btf, id)?,
            None => alloc(mem, super::OPAQUE_SIZE, "struct cgroup")?,
        };
        self.state.objects.known.insert(key, Known { addr, generation: 0 });
        self.state.cgroups.note_object(addr, id);
        if let Some((btf, type_id)) = typed {
            let object = Object { addr, type_id };
            let name = cgroup.path.rsplit('/').next().unwrap_or_default();
            let fields = [("kn.id", id), ("level", cgroup.level.into()), ("self.cgroup", addr)];
            for (path, value) in fields {
                // Types of objects have only what their programs use.
                let _ = set(btf, mem, object, path, &value.into());
            }
            if super::walk::walk(btf, mem, (addr, type_id), "kn.name", true).is_ok() {
                let text = alloc(mem, name.len() as u32 + 1, "cgroup name")?;
                if mem.poke(text, name.as_bytes()).is_ok() {
                    let _ = set(btf, mem, object, "kn.name", &text.into());
                }
            }
        }
        Ok(Some(addr))
    }

    /// The address of the registers that a task had when it left user space: zeroed unless a test has set them.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn task_user_regs(&mut self, mem: &mut Memory, pid: u32) -> Result<u64, Trap> {
        let key = (Thing::UserRegs(pid), super::UNTYPED);
        if let Some(known) = self.state.objects.known.get(&key) {
            return Ok(known.addr);
        }
        let size = crate::contexts::pt_regs_size(self.profile.arch);
        let addr = alloc(mem, size, "struct pt_regs")?;
        self.state.objects.known.insert(key, Known { addr, generation: 0 });
        Ok(addr)
    }
}
