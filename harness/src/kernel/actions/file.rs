//! Files.

use std::path::Path;

use super::call::{Word, acted, c_path, call, close, ptr};
use crate::error::Error;
use crate::stimulus::Stimulated;

fn open(path: &Path, flags: i32, mode: Word) -> Result<i64, Error> {
    let path = c_path(path)?;
    let args = [libc::AT_FDCWD.into(), ptr(path.as_ptr()), flags.into(), mode, 0, 0];
    // SAFETY: the path ends with NUL and lives until the call returns.
    Ok(unsafe { call(libc::SYS_openat, args) })
}

pub(crate) fn read_file(path: &Path, room: usize) -> Result<Stimulated, Error> {
    let mut buf = vec![0u8; room];
    let mut done = acted();
    let fd = open(path, libc::O_RDONLY | libc::O_CLOEXEC, 0)?;
    done.ret = fd;
    if fd >= 0 {
        // SAFETY: the buffer has this many bytes.
        done.ret = unsafe { call(libc::SYS_read, [fd, ptr(buf.as_mut_ptr()), room as Word, 0, 0, 0]) };
        close(fd);
        done = done.with("fd", fd.cast_unsigned());
    }
    Ok(done)
}

pub(crate) fn open_missing(path: &Path) -> Result<Stimulated, Error> {
    let mut done = acted();
    done.ret = open(path, libc::O_RDONLY | libc::O_CLOEXEC, 0)?;
    if done.ret >= 0 {
        close(done.ret);
        return Err(Error::Invalid(format!("'{}' was to be missing, and is there", path.display())));
    }
    Ok(done)
}

pub(crate) fn sync() -> Result<Stimulated, Error> {
    let mut done = acted();
    // SAFETY: the call takes no arguments.
    done.ret = unsafe { call(libc::SYS_sync, [0; 6]) };
    Ok(done)
}

pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<Stimulated, Error> {
    let mut done = acted();
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC;
    let fd = open(path, flags, 0o644)?;
    done.ret = fd;
    if fd >= 0 {
        // SAFETY: the buffer has this many bytes.
        done.ret = unsafe { call(libc::SYS_write, [fd, ptr(bytes.as_ptr()), bytes.len() as Word, 0, 0, 0]) };
        close(fd);
        done = done.with("fd", fd.cast_unsigned());
    }
    Ok(done)
}
