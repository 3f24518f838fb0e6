//! Files that kernel objects stand for: which path an object has.

use std::collections::BTreeMap;

/// Kernel objects with a path: `struct file`, and `struct path` by itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Files {
    /// By the object's address: its size and its path.
    paths: BTreeMap<u64, (u64, String)>,
    /// The file that a task runs, by thread id.
    pub(crate) exe: BTreeMap<u32, u64>,
}

impl Files {
    /// Says which path an object of `size` bytes at an address stands for.
    pub fn set_path(&mut self, addr: u64, size: u64, path: impl Into<String>) {
        self.paths.insert(addr, (size, path.into()));
    }

    /// The path of the object that an address lies in.
    #[must_use]
    pub fn path_at(&self, addr: u64) -> Option<&str> {
        let (start, (size, path)) = self.paths.range(..=addr).next_back()?;
        (addr - start < *size).then_some(path.as_str())
    }

    /// Forgets an object.
    pub(crate) fn remove(&mut self, addr: u64) {
        self.paths.remove(&addr);
    }
}

#[cfg(test)]
mod tests {
    use super::Files;

    #[test]
    fn a_path_belongs_to_all_bytes_of_its_object() {
        let mut files = Files::default();
        files.set_path(0x1000, 0x20, "/etc/passwd");
        let found = [0xfff, 0x1000, 0x101f, 0x1020].map(|a| files.path_at(a).is_some());
        assert_eq!(found, [false, true, true, false]);
        files.remove(0x1000);
        assert_eq!(files.path_at(0x1000), None);
    }
}
