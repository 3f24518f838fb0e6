//! What an ELF file says about its loader and libraries, read without the rest of it: test binaries have hundreds of
//! megabytes.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use goblin::container::Ctx;
use goblin::elf::dynamic::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRTAB};
use goblin::elf::program_header::{PT_DYNAMIC, PT_INTERP, PT_LOAD};
use goblin::elf::{Dynamic, Elf, ProgramHeader};

use super::error::VmError;

/// More than any of the tables that are read has; a damaged file may claim anything.
const MAX: u64 = 16 << 20;
/// Enough for the header of either class.
const HEADER: usize = 64;

/// What is needed to start or load an object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// `e_machine`.
    pub(super) machine: u16,
    /// PT_INTERP.
    pub(super) interpreter: Option<String>,
    /// DT_NEEDED, in order.
    pub(super) libraries: Vec<String>,
    /// DT_RPATH.
    pub(super) rpaths: Vec<String>,
    /// DT_RUNPATH.
    pub(super) runpaths: Vec<String>,
}

/// What a program or library is for: `e_machine` of a little-endian ELF file, read from its first bytes.
pub(super) fn machine(path: &Path) -> Option<u16> {
    let mut head = [0u8; 20];
    File::open(path).and_then(|file| file.read_exact_at(&mut head, 0)).ok()?;
    let [.., low, high] = head;
    head.starts_with(b"\x7fELF").then_some(u16::from_le_bytes([low, high]))
}

/// The same for a program that is to be run or loaded: not being one is an error of its own.
pub(super) fn of(path: &Path) -> Result<Needs, VmError> {
    read(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            let reason = format!("not a program for Linux (ELF): {error}");
            VmError::BadFile { path: path.to_path_buf(), reason }
        }
        _ => VmError::io(format!("read {}", path.display()))(error),
    })
}

/// Reads them; an error that is not of the file system says what is wrong with the file.
pub(super) fn read(path: &Path) -> io::Result<Needs> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let part = |offset: u64, size: u64| -> io::Result<Vec<u8>> {
        if size > MAX || offset.saturating_add(size) > length {
            return Err(bad("it ends before what its headers promise"));
        }
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    };
    let head = part(0, length.min(HEADER as u64))?;
    let header = Elf::parse_header(&head).map_err(bad)?;
    let ctx = Ctx::new(header.container().map_err(bad)?, header.endianness().map_err(bad)?);
    let size = u64::from(header.e_phentsize) * u64::from(header.e_phnum);
    let table = part(header.e_phoff, size)?;
    let headers = ProgramHeader::parse(&table, 0, header.e_phnum.into(), ctx).map_err(bad)?;
    let mut needs = Needs { machine: header.e_machine, ..Needs::default() };
    let find = |kind| headers.iter().find(|header| header.p_type == kind);
    if let Some(header) = find(PT_INTERP) {
        needs.interpreter = Some(text(&part(header.p_offset, header.p_filesz)?, 0)?);
    }
    let Some(header) = find(PT_DYNAMIC) else { return Ok(needs) };
    // Parsed as a file that holds nothing else.
    let mut alone = header.clone();
    alone.p_offset = 0;
    let bytes = part(header.p_offset, header.p_filesz)?;
    let Some(dynamic) = Dynamic::parse(&bytes, &[alone], ctx).map_err(bad)? else { return Ok(needs) };
    let strings = |at: u64, size: u64| {
        let load = headers
            .iter()
            .find(|load| load.p_type == PT_LOAD && at >= load.p_vaddr && at - load.p_vaddr < load.p_filesz);
        let load = load.ok_or_else(|| bad("its strings are nowhere"))?;
        part(load.p_offset.saturating_add(at - load.p_vaddr), size)
    };
    let at = dynamic.dyns.iter().find(|entry| entry.d_tag == DT_STRTAB).map(|entry| entry.d_val);
    let strings = strings(at.unwrap_or_default(), dynamic.info.strsz as u64)?;
    for entry in &dynamic.dyns {
        let list = match entry.d_tag {
            DT_NEEDED => &mut needs.libraries,
            DT_RPATH => &mut needs.rpaths,
            DT_RUNPATH => &mut needs.runpaths,
            _ => continue,
        };
        list.push(text(&strings, entry.d_val)?);
    }
    Ok(needs)
}

fn text(strings: &[u8], at: u64) -> io::Result<String> {
    let rest = usize::try_from(at).ok().and_then(|at| strings.get(at..));
    let text = rest.and_then(|rest| CStr::from_bytes_until_nul(rest).ok());
    let text = text.and_then(|text| text.to_str().ok()).ok_or_else(|| bad("it has a broken name"))?;
    Ok(text.to_owned())
}

fn bad(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_reading_the_whole_file_finds() {
        let this = std::env::current_exe().expect("the test's path");
        for path in [this.as_path(), Path::new("/bin/sh"), Path::new("/bin/true")] {
            let bytes = std::fs::read(path).expect("its bytes");
            let Ok(elf) = Elf::parse(&bytes) else { continue };
            let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let whole = Needs {
                machine: elf.header.e_machine,
                interpreter: elf.interpreter.map(str::to_owned),
                libraries: own(&elf.libraries),
                rpaths: own(&elf.rpaths),
                runpaths: own(&elf.runpaths),
            };
            assert_eq!(read(path).expect("it can be read"), whole, "{}", path.display());
        }
    }

    proptest::proptest! {
        #[test]
        fn damage_is_an_error_and_no_panic(at in 0usize..4096, byte: u8) {
            let mut bytes = std::fs::read("/bin/true")?;
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let dir = tempfile::tempdir()?;
            let path = dir.path().join("damaged");
            std::fs::write(&path, &bytes)?;
            let _ = read(&path);
            std::fs::write(&path, bytes.get(..at).unwrap_or_default())?;
            let _ = read(&path);
        }
    }
}
