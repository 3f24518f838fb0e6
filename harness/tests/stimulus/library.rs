//! A real library with a function and a statically defined probe, in this process: `data/libprobe.so`.

use std::ffi::{CString, c_char, c_int, c_long, c_ulong, c_void};
use std::sync::OnceLock;

use crate::dynamic::Dynamic;

type Occurrences = extern "C" fn(*const c_char, c_int, c_ulong) -> c_int;
type Pass = extern "C" fn(c_int, c_long) -> c_int;

/// The library, mapped into this process.
pub(crate) struct Library {
    file: Dynamic,
    occurrences: Occurrences,
    pass: Pass,
}

impl Library {
    /// Where its file is.
    pub(crate) fn path(&self) -> &str {
        self.file.path()
    }

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
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let file = Dynamic::open("libprobe.so.1", include_bytes!("data/libprobe.so"));
        // SAFETY: `data/probe.c` says that these are functions of these types.
        let (occurrences, pass) = unsafe {
            (
                std::mem::transmute::<*mut c_void, Occurrences>(file.function("occurrences")),
                std::mem::transmute::<*mut c_void, Pass>(file.function("pass")),
            )
        };
        Library { file, occurrences, pass }
    })
}
