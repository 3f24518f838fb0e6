//! Functions whose code is chosen when a process starts (`STT_GNU_IFUNC`), as most of a C library's string functions.
//!
//! Their symbol is at a resolver, which runs once in each process: a probe there never sees a call. What the resolver has
//! chosen here it chooses in every process of this machine, since it looks at the processor only.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use goblin::elf::Elf;

/// `STT_GNU_IFUNC`
const INDIRECT: u8 = 10;

/// Where the code of a function is, as an offset into the file; `None` if it is where its symbol says.
///
/// # Errors
/// If it is elsewhere, and where is not known.
pub(super) fn offset_of(path: &str, function: &str) -> Result<Option<u64>, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{path}: {e}"))?;
    let elf = Elf::parse(&bytes).map_err(|e| format!("{path}: {e}"))?;
    let names = |s: &goblin::elf::Sym| elf.dynstrtab.get_at(s.st_name) == Some(function);
    if !elf.dynsyms.iter().any(|s| s.st_type() == INDIRECT && names(&s)) {
        return Ok(None);
    }
    let unknown = || {
        format!(
            "{function} is an indirect function: its code is chosen when a process starts, and this process has not loaded \
             {path}, so that it is not known which; attach to the code itself by its address"
        )
    };
    let name = CString::new(function).map_err(|_| unknown())?;
    // SAFETY: a valid name; the address is looked at, not called.
    let addr = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as u64;
    mapped_offset(path, addr).map(Some).ok_or_else(unknown)
}

/// The offset into a file that is mapped at an address of this process.
fn mapped_offset(path: &str, addr: u64) -> Option<u64> {
    let wanted = std::fs::metadata(path).ok()?;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, _, offset) = (words.next()?, words.next()?, words.next()?);
        let file = words.nth(2).unwrap_or_default();
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        if (start..end).contains(&addr) {
            let same = |m: std::fs::Metadata| (m.dev(), m.ino()) == (wanted.dev(), wanted.ino());
            return std::fs::metadata(Path::new(file))
                .is_ok_and(same)
                .then_some(addr - start + number(offset)?);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::symbols::find_binary;

    #[test]
    fn the_code_of_a_string_function_is_where_calls_of_it_go() {
        let libc = find_binary("c").unwrap();
        let offset = super::offset_of(libc.path(), "strlen").unwrap();
        // A C library without such functions has nothing to find.
        if let Some(offset) = offset {
            assert!(offset > 0 && offset < std::fs::metadata(libc.path()).unwrap().len());
        }
        assert_eq!(super::offset_of(libc.path(), "getpid").unwrap(), None, "a function as any other");
    }
}
