//! Libraries by short name: `c` is `/lib/x86_64-linux-gnu/libc.so.6`, as the dynamic linker's cache knows it.

use std::path::PathBuf;

/// Whether a file name is that of a library with this short name: `libc.so.6` of `c`.
#[must_use]
pub(crate) fn is_library(file: &str, name: &str) -> bool {
    let rest =
        file.strip_prefix("lib").and_then(|f| f.strip_prefix(name)).and_then(|f| f.strip_prefix(".so"));
    rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
}

/// The dynamic linker's cache.
const CACHE: &str = "/etc/ld.so.cache";
/// Folders that are looked through if the cache has no such library.
const FOLDERS: [&str; 8] = [
    "/lib",
    "/usr/lib",
    "/lib64",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
];

/// The path of a library of this machine by its short name.
#[must_use]
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let cached = std::fs::read(CACHE).ok().and_then(|cache| {
        entries(&cache)
            .into_iter()
            .find(|(file, _)| is_library(file, name))
            .map(|(_, path)| PathBuf::from(path))
    });
    cached.filter(|p| p.exists()).or_else(|| {
        FOLDERS.iter().find_map(|folder| {
            let files = std::fs::read_dir(folder).ok()?;
            let mut found: Vec<PathBuf> = files
                .filter_map(|f| Some(f.ok()?.path()))
                .filter(|p| p.file_name().and_then(|f| f.to_str()).is_some_and(|f| is_library(f, name)))
                .collect();
            found.sort();
            found.into_iter().next()
        })
    })
}

/// Executables that are found whatever `PATH` says.
const EXECUTABLES: [&str; 2] = ["/usr/bin", "/usr/sbin"];

/// The path of a file by its name: of a library in the folders of libraries, of an executable in those of `PATH`.
#[must_use]
pub(super) fn resolve(file: &str) -> Option<PathBuf> {
    let is_library = file.ends_with(".so") || file.contains(".so.");
    let (variable, known) =
        if is_library { ("LD_LIBRARY_PATH", &FOLDERS[..]) } else { ("PATH", &EXECUTABLES[..]) };
    let set = std::env::var_os(variable).unwrap_or_default();
    let folders = std::env::split_paths(&set).filter(|f| !f.as_os_str().is_empty());
    folders.chain(known.iter().map(PathBuf::from)).map(|f| f.join(file)).find(|p| p.is_file())
}

/// The magic of the cache's format (`CACHEMAGIC_VERSION_NEW` of glibc).
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Bytes of its header, and of one entry.
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// File names and paths of the cache, in its order. What is malformed is left out.
fn entries(cache: &[u8]) -> Vec<(String, String)> {
    // An older format may stand before it.
    let start = cache.windows(MAGIC.len()).position(|w| w == MAGIC);
    let Some(cache) = start.and_then(|s| cache.get(s..)) else { return Vec::new() };
    let word = |at: usize| cache.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b) as usize);
    let text = |at: usize| {
        let bytes = cache.get(at..)?.split(|b| *b == 0).next()?;
        String::from_utf8(bytes.to_vec()).ok()
    };
    let room = cache.len().saturating_sub(HEADER) / ENTRY;
    let count = word(MAGIC.len()).unwrap_or(0).min(room);
    let entry = |i: usize| {
        let at = HEADER + i * ENTRY;
        Some((text(word(at + 4)?)?, text(word(at + 8)?)?))
    };
    (0..count).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::{ENTRY, HEADER, MAGIC, entries, is_library};

    #[test]
    fn short_names() {
        for (file, name, expected) in [
            ("libc.so.6", "c", true),
            ("libc.so", "c", true),
            ("libc-2.31.so", "c", false),
            ("libcap.so.2", "c", false),
            ("libpthread.so.0", "pthread", true),
            ("c", "c", false),
        ] {
            assert_eq!(is_library(file, name), expected, "{file} {name}");
        }
    }

    #[test]
    fn the_cache_is_read_behind_whatever_stands_before_it() {
        let mut cache = b"ld.so-1.7.0\0????".to_vec();
        let strings = b"libc.so.6\0/lib/libc.so.6\0";
        let mut new = MAGIC.to_vec();
        new.extend(1u32.to_le_bytes());
        new.resize(HEADER, 0);
        let at = (HEADER + ENTRY) as u32;
        for word in [1u32, at, at + 10, 0, 0, 0] {
            new.extend(word.to_le_bytes());
        }
        new.extend(strings);
        cache.extend(&new);
        assert_eq!(entries(&cache), [("libc.so.6".to_owned(), "/lib/libc.so.6".to_owned())]);
        for cut in 0..cache.len() {
            let _ = entries(&cache[..cut]);
        }
    }
}
