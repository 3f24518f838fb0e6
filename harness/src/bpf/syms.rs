//! Symbols by address and by name: rows 46, 47, 48 of the reference guide.

use super::Bpf;
use crate::symbols::{Process, Resolved};

impl Bpf {
    /// The name of the kernel function at an address; `[unknown]` if there is none.
    #[must_use]
    pub fn ksym(&self, addr: u64) -> String {
        self.ksym_with(addr, false, false)
    }

    /// As [`Bpf::ksym`], with the module (` [kernel]`) and the distance from the function's start (`+0x10`) if asked for.
    #[must_use]
    pub fn ksym_with(&self, addr: u64, show_module: bool, show_offset: bool) -> String {
        self.resolve_kernel(addr).text(show_module, show_offset, false)
    }

    /// The address of a kernel symbol; `None` where bcc gives -1.
    #[must_use]
    pub fn ksymname(&mut self, name: &str) -> Option<u64> {
        if let Some(kernel) = &self.kernel {
            return kernel.kernel_address(name);
        }
        let kernel = &mut self.machine.kernel;
        match kernel.state.symbols.addr(name) {
            // What the profile lists has an address as soon as somebody asks for it.
            None if kernel.profile.symbols.contains(name) => Some(kernel.state.symbols.intern(name)),
            known => known,
        }
    }

    /// The symbol at an address of a process, demangled: its name, or `[unknown]`; then, if asked for and known, the
    /// distance from its start (`+0x10`) and the file's name (` [libc.so.6]`). A pid below 0 is the kernel.
    ///
    /// ```
    /// use bpf_harness::Bpf;
    /// use bpf_harness::symbols::{Binary, Process};
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// let libc = Binary::declared("/usr/lib/libc.so.6").symbol("strlen", 0x1000, 64);
    /// bpf.add_process(42, Process::new().map(libc, 0x7000_0000, 0x10_0000));
    /// assert_eq!(bpf.sym(0x7000_1008, 42, true, true), "strlen+0x8 [libc.so.6]");
    /// assert_eq!(bpf.sym(0x10, 42, true, true), "[unknown]");
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    #[must_use]
    pub fn sym(&self, addr: u64, pid: i32, show_module: bool, show_offset: bool) -> String {
        self.resolve(addr, pid).text(show_module, show_offset, true)
    }

    /// What [`Bpf::sym`] makes its text of.
    #[must_use]
    pub fn resolve(&self, addr: u64, pid: i32) -> Resolved {
        match u32::try_from(pid) {
            // What runs on a kernel has processes of its own.
            Ok(pid) if self.kernel.is_some() && !self.host.processes.contains_key(&pid) => {
                Process::from_pid(pid).map_or_else(
                    |_| Resolved { offset: addr, ..Resolved::default() },
                    |mut p| {
                        p.load();
                        p.resolve(addr)
                    },
                )
            }
            Ok(pid) => self.host.resolve(pid, addr),
            Err(_) => self.resolve_kernel(addr),
        }
    }

    fn resolve_kernel(&self, addr: u64) -> Resolved {
        if let Some(kernel) = &self.kernel {
            return kernel.kernel_symbol(addr);
        }
        match self.machine.kernel.state.symbols.lookup(addr) {
            Some((symbol, offset)) => Resolved {
                name: Some(symbol.name.clone()),
                offset,
                module: Some(symbol.module.clone().unwrap_or_else(|| "kernel".to_owned())),
            },
            None => Resolved { offset: addr, ..Resolved::default() },
        }
    }
}
