//! System calls, with their results as the kernel gives them.

use std::ffi::CString;
use std::path::Path;

use crate::error::Error;
use crate::stimulus::Stimulated;

/// A number that `syscall()` takes.
pub(super) type Word = libc::c_long;

/// A system call: its result, or `-errno`.
///
/// # Safety
/// Its arguments must be what the call expects; pointers must be to memory that it may read or write.
pub(super) unsafe fn call(nr: libc::c_long, args: [Word; 6]) -> i64 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the caller vouches for the arguments.
    let ret = unsafe { libc::syscall(nr, a, b, c, d, e, f) };
    if ret == -1 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { ret }
}

/// A pointer as an argument.
pub(super) fn ptr<T>(p: *const T) -> Word {
    p.expose_provenance().cast_signed() as Word
}

/// A path as an argument.
pub(super) fn c_path(path: &Path) -> Result<CString, Error> {
    use std::os::unix::ffi::OsStrExt;
    let path = path.as_os_str().as_bytes();
    CString::new(path).map_err(|_| Error::Invalid("a path has no NUL in it".to_owned()))
}

/// Who acts. The kernel is asked once in a thread, so that actions do not all begin with calls of their own.
pub(crate) fn acted() -> Stimulated {
    std::thread_local! {
        // SAFETY: the call takes no arguments, and cannot fail.
        static TID: i64 = unsafe { call(libc::SYS_gettid, [0; 6]) };
    }
    static TGID: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    Stimulated {
        pid: u32::try_from(TID.with(|tid| *tid)).unwrap_or_default(),
        tgid: *TGID.get_or_init(std::process::id),
        ..Stimulated::default()
    }
}

/// Closes a descriptor; one that is none is left alone.
pub(super) fn close(fd: i64) {
    if fd >= 0 {
        // SAFETY: takes a number; the descriptor is one of ours.
        unsafe { call(libc::SYS_close, [fd, 0, 0, 0, 0, 0]) };
    }
}

/// What went wrong that was not meant to.
pub(super) fn failed(what: &str, ret: i64) -> Error {
    let errno = i32::try_from(-ret).unwrap_or_default();
    Error::Invalid(format!("{what}: {}", std::io::Error::from_raw_os_error(errno)))
}
