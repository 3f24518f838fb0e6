//! Kernel objects that expansions pass around, with as much in them as the machine's types have.

use bpf_helpers_mock::objects::{ObjectError, Value};
use bpf_vm_shim::mem::{Alloc, Area, Perm, RegionKind};

use super::simulation::Simulation;
use crate::error::Error;

/// The size of an object of which no type is known, and of a text with what lies behind it.
const PAGE: u32 = 4096;
/// `S_IFREG | 0644`
const REGULAR: u64 = 0o100_644;

impl Simulation<'_> {
    /// A kernel object of a type, and its address. Members that the machine's types do not have are left out, since
    /// they differ from kernel to kernel; without the type it is a block of zeros.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn object(&mut self, type_name: &str, members: &[(&str, Value)]) -> Result<u64, Error> {
        let machine = self.bpf.machine();
        let addr = match machine.object(type_name).build() {
            Ok(object) => object.addr,
            Err(ObjectError::NoTypes { .. } | ObjectError::NoType { .. }) => self.kernel_bytes(&[])?,
            Err(e) => return Err(Error::Invalid(e.to_string())),
        };
        self.set_object(addr, type_name, members)?;
        Ok(addr)
    }

    /// Changes members of an object that is at an address, as far as the machine's types have them.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn set_object(&mut self, addr: u64, type_name: &str, members: &[(&str, Value)]) -> Result<(), Error> {
        let machine = self.bpf.machine();
        let Ok(object) = machine.object_at(addr, type_name) else { return Ok(()) };
        for (path, value) in members {
            let set = machine.edit_object(object).set(path, value.clone()).build();
            if let Err(e @ ObjectError::Memory(_)) = set {
                return Err(Error::Invalid(e.to_string()));
            }
        }
        Ok(())
    }

    /// What a member of an object holds; 0 if the machine's types do not have it.
    pub(super) fn member(&mut self, addr: u64, type_name: &str, path: &str) -> u64 {
        let machine = self.bpf.machine();
        let Ok(object) = machine.object_at(addr, type_name) else { return 0 };
        machine.read_object(object, path).ok().and_then(|v| u64::try_from(v).ok()).unwrap_or(0)
    }

    /// The object of a task.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn task(&mut self, pid: u32) -> Result<u64, Error> {
        let machine = self.bpf.machine();
        let task = machine.kernel.task_object(&mut machine.mem, pid);
        task.map_err(|e| Error::Invalid(format!("the object of task {pid}: {e:?}")))
    }

    /// Bytes in kernel memory that no program may read directly, with zeros behind them.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn kernel_bytes(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let machine = self.bpf.machine();
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX / 2).max(1).next_multiple_of(PAGE);
        let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, size, String::new()).perm(Perm::ProbeOnly);
        let addr = machine.mem.alloc(alloc).map_err(|e| Error::Invalid(e.to_string()))?;
        machine.mem.poke(addr, bytes).map_err(|_| Error::Invalid("no memory".to_owned()))?;
        Ok(addr)
    }

    /// Bytes in the memory of the running task; 0 for a kernel thread.
    ///
    /// # Errors
    /// If there is no room.
    pub fn user_bytes(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        if self.bpf.machine().kernel.state.current().kthread {
            return Ok(0);
        }
        self.bpf.user_memory(bytes)
    }

    /// Text in the memory of the running task.
    ///
    /// # Errors
    /// If there is no room.
    pub fn user_text(&mut self, text: &str) -> Result<u64, Error> {
        self.user_bytes(&[text.as_bytes(), &[0]].concat())
    }

    /// An open file: `struct file` with its inode, and its directory entries up to the root.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn file(&mut self, path: &str, flags: u64, size: u64) -> Result<u64, Error> {
        // FMODE_READ and FMODE_WRITE are the access mode plus one (`OPEN_FMODE`).
        let mode = (flags & 3) + 1;
        let file = self.object(
            "file",
            &[
                ("f_flags", flags.into()),
                ("f_mode", mode.into()),
                ("f_inode.i_ino", inode_number(path).into()),
                ("f_inode.i_mode", REGULAR.into()),
                ("f_inode.i_size", size.into()),
            ],
        )?;
        let entry = self.directory_entry(path)?;
        self.set_object(file, "file", &[("f_path.dentry", entry.into())])?;
        let machine = self.bpf.machine();
        if let Ok(object) = machine.object_at(file, "file")
            && let Ok(inode) = machine.read_object(object, "f_inode")
        {
            self.set_object(entry, "dentry", &[("d_inode", Value::Int(inode))])?;
        }
        self.bpf.machine().kernel.state.files.set_path(file, u64::from(PAGE), path);
        Ok(file)
    }

    /// A path's `struct dentry`, with its parents; the root is its own parent.
    fn directory_entry(&mut self, path: &str) -> Result<u64, Error> {
        let mut parent = 0;
        let names = std::iter::once("/").chain(path.split('/').filter(|n| !n.is_empty()));
        for name in names {
            let text = self.kernel_bytes(name.as_bytes())?;
            let entry = self.object(
                "dentry",
                &[("d_name.name", text.into()), ("d_name.len", (name.len() as u64).into())],
            )?;
            let parent_of = if parent == 0 { entry } else { parent };
            self.set_object(entry, "dentry", &[("d_parent", parent_of.into())])?;
            if name.len() < 32 {
                self.set_object(entry, "dentry", &[("d_iname", name.into())])?;
            }
            parent = entry;
        }
        Ok(parent)
    }
}

/// Always the same for a path, and no small number.
fn inode_number(path: &str) -> u64 {
    path.bytes().fold(0x1000, |n: u64, b| (n.wrapping_mul(31) + u64::from(b)) & 0xff_ffff)
}
