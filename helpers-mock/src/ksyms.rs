//! Kernel variables that programs refer to (`extern ... __ksym`).

use bpf_vm_shim::btf::{Btf, Kind, Type};
use bpf_vm_shim::mem::{Alloc, Area, MemError, Perm, RegionKind};
use bpf_vm_shim::object::KsymDecl;

use crate::machine::Machine;

/// The size of a variable whose type is only declared.
const OPAQUE_SIZE: u32 = 4096;

impl Machine {
    /// The address of a kernel symbol as an object declares it. A variable with a type gets zeroed memory of its
    /// type's size, one copy per CPU: which of them the kernel has per CPU is not known without its BTF, and what has
    /// one copy only is at the address of CPU 0's.
    pub(crate) fn ksym(&mut self, decl: &KsymDecl, btf: Option<&Btf>) -> Result<u64, MemError> {
        if let Some(addr) = self.kernel.state.symbols.addr(&decl.name) {
            return Ok(addr);
        }
        let size = match (decl.is_func, btf, decl.type_id) {
            (false, Some(btf), Some(id)) => {
                let own = btf.size_of(id).ok();
                self.kernel_size(&decl.name).or(own).unwrap_or(u64::from(OPAQUE_SIZE))
            }
            _ => return Ok(self.kernel.state.symbols.intern(&decl.name)),
        };
        let size = u32::try_from(size).unwrap_or(OPAQUE_SIZE).max(1);
        let mut copies = Vec::new();
        for _ in 0..self.kernel.state.cpus.count {
            let name = format!("kernel variable '{}'", decl.name);
            let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, size, name);
            copies.push(self.mem.alloc(alloc.perm(Perm::ProbeOnly).align(64))?);
        }
        let addr = copies.first().copied().unwrap_or_default();
        self.kernel.state.symbols.define(&decl.name, addr);
        self.kernel.state.symbols.set_percpu(addr, u64::from(size), copies);
        Ok(addr)
    }

    /// The size of a variable in the kernel's own BTF.
    fn kernel_size(&self, name: &str) -> Option<u64> {
        let btf = self.kernel.profile.btf.as_ref()?;
        let Type::Var { target, .. } = btf.get(btf.find(Kind::Var, name)?).ok()? else { return None };
        btf.size_of(target).ok()
    }
}
