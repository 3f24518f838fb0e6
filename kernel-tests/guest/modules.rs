//! Loads the kernel modules that came along, in the order of their names.

use std::fs::{self, File};
use std::path::PathBuf;

use crate::{protocol, sys};

const EEXIST: i32 = 17;

pub(crate) fn load_all() -> Vec<String> {
    let Ok(entries) = fs::read_dir(protocol::MODULES_DIR) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut notes = Vec::new();
    for path in paths {
        match File::open(&path).and_then(|file| sys::load_module(&file)) {
            Ok(()) => {}
            // Built in, or loaded as another module's dependency.
            Err(error) if error.raw_os_error() == Some(EEXIST) => {}
            Err(error) => notes.push(format!("load module {}: {error}", path.display())),
        }
        let _ = fs::remove_file(&path);
    }
    notes
}
