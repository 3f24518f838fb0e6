//! Loads the kernel modules that came along, in the order of their names.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::protocol::{FromGuest, MODULES_DIR};
use crate::sys;

const EEXIST: i32 = 17;

/// Loads them; says which do not load.
pub(crate) fn load_all() -> Vec<FromGuest> {
    let Ok(entries) = fs::read_dir(MODULES_DIR) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut notes = Vec::new();
    for path in paths {
        match File::open(&path).and_then(|file| sys::load_module(&file)) {
            Ok(()) => {}
            // Built in, or loaded as another module's dependency.
            Err(error) if error.raw_os_error() == Some(EEXIST) => {}
            Err(error) => {
                let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
                notes.push(FromGuest::Unloaded(name, error.to_string().into_bytes()));
            }
        }
        let _ = fs::remove_file(&path);
    }
    notes
}
