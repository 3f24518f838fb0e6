//! A real library with a function and a statically defined probe, in this process: `data/libprobe.so`.

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::sync::OnceLock;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

const RTLD_NOW: c_int = 2;

type Occurrences = extern "C" fn(*const c_char, c_int, c_ulong) -> c_int;
type Pass = extern "C" fn(c_int, c_long) -> c_int;

/// The library, mapped into this process.
pub(crate) struct Library {
    /// Where its file is.
    pub(crate) path: String,
    occurrences: Occurrences,
    pass: Pass,
}

impl Library {
    /// How many times a character is in the beginning of a text; -1 if there is none.
    pub(crate) fn occurrences(&self, text: &str, wanted: char, limit: u64) -> i32 {
        let text = CString::new(text).unwrap();
        (self.occurrences)(text.as_ptr(), wanted as c_int, limit)
    }

    /// Passes `job:passed`.
    pub(crate) fn pass(&self, code: i32, amount: i64) -> i32 {
        (self.pass)(code, amount)
    }
}

/// The library. All tests share it.
pub(crate) fn library() -> &'static Library {
    static LIBRARY: OnceLock<(tempfile::TempDir, Library)> = OnceLock::new();
    &LIBRARY.get_or_init(open).1
}

fn open() -> (tempfile::TempDir, Library) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libprobe.so.1").to_string_lossy().into_owned();
    std::fs::write(&path, include_bytes!("data/libprobe.so")).unwrap();
    let name = CString::new(path.as_str()).unwrap();
    // SAFETY: the library is our own, and nothing of it runs when it is opened; it stays open.
    let library = unsafe { dlopen(name.as_ptr(), RTLD_NOW) };
    assert!(!library.is_null(), "{path} cannot be opened");
    let function = |name: &str| {
        let name = CString::new(name).unwrap();
        // SAFETY: the library is open.
        let found = unsafe { dlsym(library, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?} is not there");
        found
    };
    // SAFETY: `data/probe.c` says that these are functions of these types.
    let library = unsafe {
        Library {
            path,
            occurrences: std::mem::transmute::<*mut c_void, Occurrences>(function("occurrences")),
            pass: std::mem::transmute::<*mut c_void, Pass>(function("pass")),
        }
    };
    (dir, library)
}
