//! A real library with probes, in this process: `data/libserver.so`.

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::OnceLock;

unsafe extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

const RTLD_NOW: c_int = 2;

/// The library, mapped into this process.
pub(crate) struct Server {
    /// Where its file is.
    pub(crate) path: String,
    handle: extern "C" fn(c_int) -> c_int,
    handle_again: extern "C" fn(c_int) -> c_int,
    finish: extern "C" fn(),
}

impl Server {
    /// Passes the first place of `http:request`, and gives its argument back.
    pub(crate) fn handle(&self, fd: i32) -> i32 {
        (self.handle)(fd)
    }

    /// Passes the second place of `http:request`.
    pub(crate) fn handle_again(&self, fd: i32) -> i32 {
        (self.handle_again)(fd)
    }

    /// Passes `http:done`.
    pub(crate) fn finish(&self) {
        (self.finish)();
    }
}

/// The library. All tests share it.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<(tempfile::TempDir, Server)> = OnceLock::new();
    &SERVER.get_or_init(open).1
}

fn open() -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("libserver.so.1").to_string_lossy().into_owned();
    std::fs::write(&path, include_bytes!("data/libserver.so")).expect("room for a file");
    let name = CString::new(path.as_str()).expect("a path without NUL");
    // SAFETY: the library is our own, and nothing of it runs when it is opened; it stays open.
    let library = unsafe { dlopen(name.as_ptr(), RTLD_NOW) };
    assert!(!library.is_null(), "{path} cannot be opened");
    let function = |name: &str| {
        let name = CString::new(name).expect("a name without NUL");
        // SAFETY: the library is open.
        let found = unsafe { dlsym(library, name.as_ptr()) };
        assert!(!found.is_null(), "{name:?} is not there");
        found
    };
    // SAFETY: `data/server.c` says that these are functions of these types.
    let server = unsafe {
        Server {
            path,
            handle: std::mem::transmute::<*mut c_void, extern "C" fn(c_int) -> c_int>(function("handle")),
            handle_again: std::mem::transmute::<*mut c_void, extern "C" fn(c_int) -> c_int>(function(
                "handle_again",
            )),
            finish: std::mem::transmute::<*mut c_void, extern "C" fn()>(function("finish")),
        }
    };
    (dir, server)
}
