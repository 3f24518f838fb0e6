//! What a process has mapped, and the symbols in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::binary::Binary;
use super::demangle;
use crate::error::Error;

/// A symbol that an address was found to belong to; what is not known is `None` (bcc's `bcc_symbol`).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Resolved {
    /// The function, not demangled.
    pub name: Option<String>,
    /// Bytes behind the function's start; behind the module's, if only that is known.
    pub offset: u64,
    /// The file, or `kernel`, or the kernel's module.
    pub module: Option<String>,
}

impl Resolved {
    /// As bcc's `sym` writes it: the name or `[unknown]`, `+0x..` if it is asked for and there is a name, and
    /// ` [module]` without its folders if it is asked for and known.
    #[must_use]
    pub fn text(&self, show_module: bool, show_offset: bool, demangled: bool) -> String {
        let mut out = match &self.name {
            Some(name) if demangled => demangle(name),
            Some(name) => name.clone(),
            None => "[unknown]".to_owned(),
        };
        if show_offset && self.name.is_some() {
            out.push_str(&format!("+{:#x}", self.offset));
        }
        if let Some(module) = self.module.as_ref().filter(|_| show_module) {
            out.push_str(&format!(" [{}]", super::base_name(module)));
        }
        out
    }
}

/// A file in a process's memory (one line of `/proc/PID/maps`, without permissions).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file's path, or a name in brackets.
    pub path: String,
}

/// The mapped files of one process.
#[derive(Clone, Default, Debug)]
pub struct Process {
    mappings: Vec<Mapped>,
}

#[derive(Clone, Debug)]
struct Mapped {
    mapping: Mapping,
    binary: Option<Arc<Binary>>,
    /// All segments lie where the file's addresses say, from the mapping's start; else it is a piece of the file.
    image: bool,
}

impl Mapped {
    /// The file's address for one of the process.
    fn to_file(&self, binary: &Binary, addr: u64) -> u64 {
        let inside = addr - self.mapping.start + self.mapping.offset;
        if self.image { inside } else { binary.address_of_offset(inside) }
    }

    /// The process's address for one of the file.
    fn to_process(&self, binary: &Binary, addr: u64) -> Option<u64> {
        let place = if self.image { addr } else { binary.file_offset(addr) };
        let inside = place.checked_sub(self.mapping.offset)?;
        (inside < self.mapping.end - self.mapping.start).then(|| self.mapping.start + inside)
    }
}

impl Process {
    /// A process that has nothing mapped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Maps the whole of a binary at an address: its address 0 is at `start`, and `size` bytes belong to it.
    #[must_use]
    pub fn map(self, binary: impl Into<Arc<Binary>>, start: u64, size: u64) -> Self {
        self.map_shared(binary.into(), start, size)
    }

    fn map_shared(mut self, binary: Arc<Binary>, start: u64, size: u64) -> Self {
        let path = binary.path().to_owned();
        let mapping = Mapping { start, end: start.saturating_add(size), offset: 0, path };
        self.mappings.push(Mapped { mapping, binary: Some(binary), image: true });
        self
    }

    /// Reads the text of `/proc/PID/maps`. Files are not opened: [`Process::load`] does.
    #[must_use]
    pub fn from_maps(text: &str) -> Self {
        let mapped = |mapping| Mapped { mapping, binary: None, image: false };
        Self { mappings: text.lines().filter_map(mapping).map(mapped).collect() }
    }

    /// A process of this machine, with the files that it has mapped.
    ///
    /// # Errors
    /// If there is no such process, or it may not be looked at.
    pub fn from_pid(pid: u32) -> Result<Self, Error> {
        let path = format!("/proc/{pid}/maps");
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Error::Read { path: path.as_str().into(), why: e.to_string() })?;
        let mut process = Self::from_maps(&text);
        process.load();
        Ok(process)
    }

    /// Opens the mapped files; those that are no readable ELF files have no symbols.
    pub fn load(&mut self) {
        // A file is mapped in several pieces, and read once.
        let mut read: BTreeMap<String, Option<Arc<Binary>>> = BTreeMap::new();
        for m in self.mappings.iter_mut().filter(|m| m.binary.is_none() && m.mapping.path.starts_with('/')) {
            let path = &m.mapping.path;
            let load = || Binary::from_path(path).ok().map(Arc::new);
            m.binary = read.entry(path.clone()).or_insert_with(load).clone();
        }
    }

    /// What is mapped.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter().map(|m| &m.mapping)
    }

    /// The binaries that are mapped.
    pub fn binaries(&self) -> impl Iterator<Item = &Binary> {
        self.mappings.iter().filter_map(|m| m.binary.as_deref())
    }

    pub(crate) fn shared_binaries(&self) -> impl Iterator<Item = &Arc<Binary>> {
        self.mappings.iter().filter_map(|m| m.binary.as_ref())
    }

    /// Where in this process an address of a file is.
    #[must_use]
    pub fn address(&self, path: &str, addr: u64) -> Option<u64> {
        self.mappings.iter().find_map(|m| {
            let binary = m.binary.as_ref().filter(|b| b.path() == path)?;
            m.to_process(binary, addr)
        })
    }

    /// What an address belongs to.
    #[must_use]
    pub fn resolve(&self, addr: u64) -> Resolved {
        let inside = |m: &&Mapped| (m.mapping.start..m.mapping.end).contains(&addr);
        let Some(m) = self.mappings.iter().find(inside) else {
            return Resolved { offset: addr, ..Resolved::default() };
        };
        let module = Some(m.mapping.path.clone());
        match m.binary.as_ref().and_then(|b| b.symbols().at(m.to_file(b, addr))) {
            Some((symbol, offset)) => Resolved { name: Some(symbol.name.clone()), offset, module },
            None => Resolved { name: None, offset: addr - m.mapping.start + m.mapping.offset, module },
        }
    }
}

/// `5555-5556 r-xp 00001000 08:01 123  /bin/cat`.
fn mapping(line: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut word = || {
        let text = rest.trim_start();
        let (word, after) = text.split_once(' ').unwrap_or((text, ""));
        rest = after;
        Some(word).filter(|w| !w.is_empty())
    };
    let (start, end) = word()?.split_once('-')?;
    let hex = |s: &str| u64::from_str_radix(s, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    let (_, offset, _, _) = (word()?, hex(word()?)?, word()?, word()?);
    // The path is the rest of the line, blanks and all.
    let path = rest.trim().to_owned();
    (start < end && !path.is_empty()).then_some(Mapping { start, end, offset, path })
}

#[cfg(test)]
mod tests {
    use super::{Process, Resolved};
    use crate::symbols::Binary;

    #[test]
    fn maps_are_read() {
        let text = "555500000000-555500002000 r-xp 00001000 08:01 123    /opt/my app/bin\n\
                    7fff00000000-7fff00021000 rw-p 00000000 00:00 0                          [stack]\n\
                    7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \nnonsense\n";
        let process = Process::from_maps(text);
        let found: Vec<_> = process.mappings().map(|m| (m.start, m.offset, m.path.as_str())).collect();
        assert_eq!(found, [(0x5555_0000_0000, 0x1000, "/opt/my app/bin"), (0x7fff_0000_0000, 0, "[stack]")]);
    }

    #[test]
    fn addresses_are_found_where_files_are_mapped() {
        let lib = Binary::declared("/lib/libx.so.1").symbol("run", 0x1100, 0x20);
        let process = Process::new().map(lib, 0x7000_0000, 0x3000);
        for (addr, module, offset, expected) in [
            (0x7000_1100, false, false, "run"),
            (0x7000_1104, true, true, "run+0x4 [libx.so.1]"),
            (0x7000_2000, true, true, "[unknown] [libx.so.1]"),
            (0x10, true, true, "[unknown]"),
        ] {
            assert_eq!(process.resolve(addr).text(module, offset, true), expected, "{addr:#x}");
        }
        assert_eq!(process.address("/lib/libx.so.1", 0x1100), Some(0x7000_1100));
        assert_eq!(process.address("/lib/other", 0x1100), None);
    }

    #[test]
    fn names_are_demangled_when_asked() {
        let r = Resolved { name: Some("_ZN1a1bEv".into()), offset: 0, module: None };
        assert_eq!(r.text(false, false, true), "a::b()");
        assert_eq!(r.text(true, true, false), "_ZN1a1bEv+0x0");
    }
}
