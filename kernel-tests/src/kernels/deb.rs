//! Debian's package files: an `ar` archive that holds a compressed `tar` of the files.
//!
//! Read here and not by `dpkg-deb`, so that a package also opens where dpkg is not installed and nothing is unpacked that
//! is not wanted. Format: deb(5); ar(5) as far as deb uses it (no long names).

use std::io::{self, Read};
use std::path::Path;

use super::error::KernelsError;
use super::unpack;

/// A member's header in an `ar` archive.
const HEADER: usize = 60;

/// No file of a kernel package is larger; what claims to be is damaged.
const LARGEST: u64 = 1 << 30;

/// Calls `take` with the path (no leading `./`) and the content of each regular file for which `wanted` holds.
pub(super) fn each_file(
    path: &Path,
    wanted: &dyn Fn(&str) -> bool,
    take: &mut dyn FnMut(&str, Vec<u8>),
) -> Result<(), KernelsError> {
    let bytes = std::fs::read(path).map_err(KernelsError::io("read", path))?;
    let bad = |what: String| KernelsError::BadPackage { path: path.to_owned(), what };
    let (name, data) = data_member(&bytes).map_err(&bad)?;
    let stream = unpack::stream(data).map_err(|e| bad(format!("{name}: {e}")))?;
    let mut archive = tar::Archive::new(stream);
    let torn = |e: io::Error| bad(format!("{name} is damaged: {e}"));
    for entry in archive.entries().map_err(torn)? {
        let mut entry = entry.map_err(torn)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let inner = entry.path().map_err(torn)?.to_string_lossy().into_owned();
        let inner = inner.strip_prefix("./").unwrap_or(&inner);
        if !wanted(inner) {
            continue;
        }
        if entry.size() > LARGEST {
            return Err(bad(format!("{inner} claims {} bytes", entry.size())));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(torn)?;
        take(inner, content);
    }
    Ok(())
}

/// The member `data.tar*` of a package, and its name.
fn data_member(bytes: &[u8]) -> Result<(&str, &[u8]), String> {
    let mut rest = bytes.strip_prefix(b"!<arch>\n").ok_or("it is not a Debian package (no ar archive)")?;
    while let Some((header, after)) = rest.split_at_checked(HEADER) {
        let field =
            |range| header.get(range).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or("").trim_end();
        let name = field(0..16).trim_end_matches('/');
        let size: usize = field(48..58).parse().map_err(|_| "the ar archive is damaged")?;
        let data = after.get(..size).ok_or_else(|| format!("it is cut short in {name}"))?;
        if name.starts_with("data.tar") {
            return Ok((name, data));
        }
        // Members start at even offsets.
        rest = after.get(size + (size & 1)..).unwrap_or_default();
    }
    Err("it has no member data.tar".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing;

    fn names(bytes: &[u8]) -> Result<Vec<String>, KernelsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.deb");
        std::fs::write(&path, bytes).unwrap();
        let mut names = Vec::new();
        each_file(&path, &|n| n.ends_with('b'), &mut |name, data| {
            names.push(format!("{name}={}", String::from_utf8_lossy(&data)));
        })?;
        Ok(names)
    }

    #[test]
    fn files_come_out_of_every_compression() {
        for suffix in ["", ".gz", ".xz"] {
            let deb = testing::deb(&[("a/b", b"one"), ("c", b"two"), ("d/eb", b"three")], suffix);
            assert_eq!(names(&deb).unwrap(), ["a/b=one", "d/eb=three"], "{suffix}");
        }
    }

    #[test]
    fn damage_is_named() {
        let whole = testing::deb(&[("a/b", &[7; 4000])], ".xz");
        let text = |bytes: &[u8]| names(bytes).unwrap_err().to_string();
        assert!(text(b"hello").contains("not a Debian package"));
        assert!(text(&whole[..8]).contains("no member data.tar"));
        assert!(text(&whole[..whole.len() - 20]).contains("cut short in data.tar.xz"));
        let mut torn = whole.clone();
        let at = torn.len() - 40;
        torn[at] ^= 0xff;
        assert!(text(&torn).contains("damaged"), "{}", text(&torn));
    }
}
