//! A real library with probes, in this process: `data/libserver.so`.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use crate::dynamic::Dynamic;

/// The library, mapped into this process.
pub(crate) struct Server {
    file: Dynamic,
    handle: extern "C" fn(c_int) -> c_int,
    handle_again: extern "C" fn(c_int) -> c_int,
    finish: extern "C" fn(),
}

impl Server {
    /// Where its file is.
    pub(crate) fn path(&self) -> &str {
        self.file.path()
    }

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
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let file = Dynamic::open("libserver.so.1", include_bytes!("data/libserver.so"));
        let passing = |name| {
            // SAFETY: `data/server.c` says that these are functions of this type.
            unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_int) -> c_int>(file.function(name)) }
        };
        let (handle, handle_again) = (passing("handle"), passing("handle_again"));
        // SAFETY: as above, of this type.
        let finish = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn()>(file.function("finish")) };
        Server { file, handle, handle_again, finish }
    })
}
