//! What of a program file is debug information: most of the bytes of a test binary, and read by nothing but a backtrace.

use std::ops::Range;

const SECTION_HEADER: usize = 64;
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;
const SH_LINK_NAME_SECTION: usize = 62;

/// Empties the `.debug_*` sections of a 64-bit little-endian ELF file: their headers say size 0 from then on, and the
/// returned ranges of the file mean nothing any more. Symbols, notes and code stay, all at their places.
pub(super) fn empty(file: &mut [u8]) -> Vec<Range<usize>> {
    // A header that makes no sense leaves the file as it is: the guest's kernel will say so.
    sections(file)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(at, range)| blank(file, at).map(|()| range))
        .collect()
}

fn blank(file: &mut [u8], header: usize) -> Option<()> {
    file.get_mut(header + SH_SIZE..header + SH_SIZE + 8)?.fill(0);
    Some(())
}

/// The places of the section headers and the bytes of the sections.
fn sections(file: &[u8]) -> Option<Vec<(usize, Range<usize>)>> {
    if file.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table = u64_at(file, 40)?;
    let count = usize::from(u16_at(file, 60)?);
    let header = |index: usize| table.checked_add(index.checked_mul(SECTION_HEADER)?);
    let strings =
        u64_at(file, header(usize::from(u16_at(file, SH_LINK_NAME_SECTION)?))?.checked_add(SH_OFFSET)?)?;
    let mut found = Vec::new();
    for index in 0..count {
        let at = header(index)?;
        let name = file.get(strings.checked_add(u32_at(file, at)? as usize)?..)?;
        let start = u64_at(file, at.checked_add(SH_OFFSET)?)?;
        let end = start.checked_add(u64_at(file, at.checked_add(SH_SIZE)?)?)?;
        if name.starts_with(b".debug_") && end <= file.len() {
            found.push((at, start..end));
        }
    }
    Some(found)
}

fn u16_at(file: &[u8], at: usize) -> Option<u16> {
    file.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(file: &[u8], at: usize) -> Option<u32> {
    file.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(file: &[u8], at: usize) -> Option<usize> {
    file.get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
        .and_then(|value| usize::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_its_debug_information_still_runs() {
        use std::os::unix::fs::PermissionsExt;
        let mut file = std::fs::read(std::env::current_exe().expect("the test's path")).expect("its bytes");
        let holes = empty(&mut file);
        assert!(!holes.is_empty(), "tests are built with debug information");
        for hole in &holes {
            file.get_mut(hole.clone()).expect("inside the file").fill(0);
        }
        assert!(empty(&mut file).iter().all(Range::is_empty), "nothing is left to be emptied");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("slim");
        std::fs::write(&path, &file).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let output = std::process::Command::new(&path).arg("--list").output();
        // Another test's child may hold the file open for a moment; then nothing was learnt.
        if let Ok(output) = output {
            assert!(String::from_utf8_lossy(&output.stdout).contains("debug_info"), "{output:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_fail(noise: Vec<u8>) {
            let mut file = b"\x7fELF\x02\x01".to_vec();
            file.extend(noise);
            let length = file.len();
            for hole in empty(&mut file) {
                proptest::prop_assert!(hole.end <= length);
            }
        }
    }
}
