//! Real libraries in this process, for the test programs that have one.

use std::ffi::{CString, c_char, c_int, c_void};

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

const RTLD_NOW: c_int = 2;

/// A library whose file goes with it; it stays mapped.
pub(crate) struct Dynamic {
    _dir: tempfile::TempDir,
    path: String,
    handle: *mut c_void,
}

impl Dynamic {
    /// Maps a library of our own, of which nothing runs when it is opened.
    pub(crate) fn open(file: &str, bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(file).to_string_lossy().into_owned();
        std::fs::write(&path, bytes).expect("room for a file");
        let name = CString::new(path.as_str()).expect("a path without NUL");
        // SAFETY: the library is our own, and nothing of it runs when it is opened.
        let handle = unsafe { dlopen(name.as_ptr(), RTLD_NOW) };
        assert!(!handle.is_null(), "{path} cannot be opened");
        Self { _dir: dir, path, handle }
    }

    /// Where its file is.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Where one of its functions is.
    pub(crate) fn function(&self, name: &str) -> *mut c_void {
        let name = CString::new(name).expect("a name without NUL");
        // SAFETY: the library is open.
        let found = unsafe { dlsym(self.handle, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?} is not there");
        found
    }
}

// SAFETY: the handle is a name for a library that stays open.
unsafe impl Send for Dynamic {}
// SAFETY: as above.
unsafe impl Sync for Dynamic {}
