//! Objects from files.

use std::io::Read;
use std::path::Path;

use bpf_vm_shim::object::Object;

/// Reads and parses an object; the error says what is wrong and starts with nothing.
pub(super) fn object(path: &Path) -> Result<Object, String> {
    let bytes = limited(path).map_err(|e| format!("cannot read: {e}"))?;
    Object::parse_named(&object_name(path), &bytes).map_err(|e| e.to_string())
}

/// Reads any other input file; the error names it.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    limited(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// Reads a file that may be a pipe, or a device without an end.
fn limited(path: &Path) -> std::io::Result<Vec<u8>> {
    const LIMIT: u64 = 1 << 30;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(std::io::Error::other("more than 1 GiB"));
    }
    Ok(bytes)
}

/// The name that libbpf gives an object: its file's, up to the first dot.
pub(super) fn object_name(path: &Path) -> String {
    let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    file.split('.').next().unwrap_or_default().to_owned()
}
