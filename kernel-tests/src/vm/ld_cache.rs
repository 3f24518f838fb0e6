//! `/etc/ld.so.cache`: from a library's name to its paths (glibc: sysdeps/generic/dl-cache.h, `struct cache_file_new`).

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// The paths the cache has for `library`, in its order. A cache that cannot be read has none: the loader, too, goes on
/// to its default folders then.
pub(super) fn lookup(cache: &[u8], library: &str) -> Vec<String> {
    parse(cache, library).unwrap_or_default()
}

fn parse(cache: &[u8], library: &str) -> Option<Vec<String>> {
    // Old caches hold an older table first; offsets count from the magic of the newer one.
    let start = cache.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let cache = cache.get(start..)?;
    let count = u32_at(cache, MAGIC.len())? as usize;
    let mut paths = Vec::new();
    for index in 0..count {
        let entry = HEADER.checked_add(index.checked_mul(ENTRY)?)?;
        let key = u32_at(cache, entry.checked_add(4)?)? as usize;
        if string_at(cache, key)? == library.as_bytes() {
            let value = u32_at(cache, entry.checked_add(8)?)? as usize;
            paths.push(String::from_utf8(string_at(cache, value)?.to_vec()).ok()?);
        }
    }
    Some(paths)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn string_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    bytes.get(at..)?.split(|byte| *byte == 0).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let mut table = Vec::new();
        let base = HEADER + entries.len() * ENTRY;
        for (key, value) in entries {
            table.extend_from_slice(&0x0303u32.to_le_bytes());
            for text in [key, value] {
                table.extend_from_slice(&((base + strings.len()) as u32).to_le_bytes());
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
            }
            table.extend_from_slice(&[0; 12]);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(strings.len() as u32).to_le_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(table);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn a_name_gives_all_its_paths_in_order() {
        let bytes =
            cache(&[("libb.so.1", "/x/libb.so.1"), ("liba.so", "/x/liba.so"), ("libb.so.1", "/y/libb.so.1")]);
        assert_eq!(lookup(&bytes, "libb.so.1"), ["/x/libb.so.1", "/y/libb.so.1"]);
        assert!(lookup(&bytes, "libb.so").is_empty());
        // The same behind an older table.
        let mut old = b"ld.so-1.7.0\0 old entries ".to_vec();
        old.extend(bytes);
        assert_eq!(lookup(&old, "liba.so"), ["/x/liba.so"]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_fail(noise: Vec<u8>, cut in 0usize..200) {
            let mut bytes = cache(&[("liba.so", "/x/liba.so")]);
            bytes.truncate(cut);
            bytes.extend(noise);
            let _ = lookup(&bytes, "liba.so");
        }
    }
}
