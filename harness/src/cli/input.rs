//! Objects from files.

use std::path::Path;

use bpf_vm_shim::object::Object;

/// Reads and parses an object; the error says what is wrong and starts with nothing.
pub(super) fn object(path: &Path) -> Result<Object, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read: {e}"))?;
    Object::parse_named(&object_name(path), &bytes).map_err(|e| e.to_string())
}

/// The name that libbpf gives an object: its file's, up to the first dot.
pub(super) fn object_name(path: &Path) -> String {
    let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    file.split('.').next().unwrap_or_default().to_owned()
}
