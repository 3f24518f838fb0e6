//! Files: opened, read, written, closed (`fs/open.c`, `fs/read_write.c`, `fs/file_table.c`).

use std::path::PathBuf;

use super::simulation::Simulation;
use super::{Action, Real, Stimulated, real};
use crate::error::Error;

/// `AT_FDCWD`: relative to the working directory.
pub(super) const AT_FDCWD: u64 = (-100i64).cast_unsigned();
pub(super) const O_CLOEXEC: u64 = 0o2_000_000;
const O_WRONLY_CREAT_TRUNC: u64 = 0o1 | 0o100 | 0o1000;
const O_CREAT: u64 = 0o100;
const O_TRUNC: u64 = 0o1000;
/// `__FMODE_EXEC`: the file is opened to be run.
pub(super) const FMODE_EXEC: u64 = 0x20;
/// What counts only until the file is open (`do_dentry_open`): `O_CREAT`, `O_EXCL`, `O_NOCTTY`, `O_TRUNC`.
const ONCE: u64 = 0o1700;
/// What the kernel adds to the flags of a file on 64 bits (`force_o_largefile`).
pub(super) const O_LARGEFILE: u64 = 0o100_000;
const ENOENT: i64 = 2;
/// How much is asked for.
const BUFFER: usize = 4096;
const MAY_EXEC: u64 = 1;
const MAY_WRITE: u64 = 2;
const MAY_READ: u64 = 4;
const LOOKUP_FOLLOW: u64 = 1;
/// `LOOKUP_RCU`, `LOOKUP_OPEN`, `LOOKUP_CREATE` (`include/linux/namei.h`) since some version between
/// 6.12 and 6.16, and before.
const LOOKUPS: [u64; 3] = [0x100, 0x1_0000, 0x2_0000];
const OLD_LOOKUPS: [u64; 3] = [0x40, 0x100, 0x200];
/// `S_IFREG`
const REGULAR: u64 = 0o100_000;
/// The first descriptor of a process that has nothing else open.
pub(super) const FIRST_FD: i64 = 3;

/// A file is opened, read once and closed; see [`Stimulus::read_file`](super::Stimulus::read_file).
#[derive(Clone, Debug)]
pub struct ReadFile {
    path: PathBuf,
    contents: Vec<u8>,
}

/// A file is opened that is not there; see [`Stimulus::open_missing`](super::Stimulus::open_missing).
#[derive(Clone, Debug)]
pub struct OpenMissing {
    path: PathBuf,
}

/// A file is written; see [`Stimulus::write_file`](super::Stimulus::write_file).
#[derive(Clone, Debug)]
pub struct WriteFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl ReadFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, contents: vec![0; BUFFER] }
    }

    /// What the file holds on the simulator, where nothing is read from disk: 4096 zeros if nothing is said. At most
    /// 4096 bytes are read. A kernel reads what is there.
    #[must_use]
    pub fn holding(mut self, contents: impl Into<Vec<u8>>) -> Self {
        self.contents = contents.into();
        self
    }
}

impl OpenMissing {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl WriteFile {
    pub(super) fn new(path: PathBuf, bytes: Vec<u8>) -> Self {
        Self { path, bytes }
    }
}

impl Action for ReadFile {
    /// `ret` is how much was read; the value `fd` is the descriptor.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let path = self.path.to_string_lossy();
        let (fd, file) = open(sim, &path, O_CLOEXEC, 0, Some(self.contents.len() as u64))?;
        if fd < 0 {
            return Ok(Stimulated { ret: fd, ..Stimulated::default() });
        }
        let got = self.contents.get(..BUFFER).unwrap_or(&self.contents).to_vec();
        let buf = sim.user_bytes(&[0; BUFFER])?;
        let descriptor = fd.cast_unsigned();
        let ret = sim.syscall("read", &[descriptor, buf, BUFFER as u64], |sim| {
            transfer(sim, Way::Read, descriptor, file, buf, BUFFER as u64, |sim| {
                if let Some(user) = sim.bpf.machine().kernel.state.current_user_mut() {
                    // A task without memory reads nothing.
                    let _ = user.write(buf, &got);
                }
                Ok(got.len() as i64)
            })
        })?;
        close(sim, descriptor, file)?;
        Ok(Stimulated { ret, ..Stimulated::default() }.with("fd", descriptor))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::read_file(&self.path, BUFFER)
    }
}

impl Action for OpenMissing {
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let (ret, _) = open(sim, &self.path.to_string_lossy(), O_CLOEXEC, 0, None)?;
        Ok(Stimulated { ret, ..Stimulated::default() })
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::open_missing(&self.path)
    }
}

impl Action for WriteFile {
    /// `ret` is how much was written; the value `fd` is the descriptor.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let path = self.path.to_string_lossy();
        let (fd, file) = open(sim, &path, O_WRONLY_CREAT_TRUNC | O_CLOEXEC, 0o644, Some(0))?;
        if fd < 0 {
            return Ok(Stimulated { ret: fd, ..Stimulated::default() });
        }
        let (fd, len) = (fd.cast_unsigned(), self.bytes.len());
        let buf = sim.user_bytes(&self.bytes)?;
        let ret = sim.syscall("write", &[fd, buf, len as u64], |sim| {
            transfer(sim, Way::Write, fd, file, buf, len as u64, |sim| {
                // Without memory there is no file to grow.
                let _ = sim.set_object(file, "file", &[("f_inode.i_size", (len as u64).into())]);
                Ok(len as i64)
            })
        })?;
        close(sim, fd, file)?;
        Ok(Stimulated { ret, ..Stimulated::default() }.with("fd", fd))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::write_file(&self.path, &self.bytes)
    }
}

/// `openat`; gives the descriptor or `-errno`, and the file. There is no file without a size.
fn open(
    sim: &mut Simulation<'_>,
    path: &str,
    flags: u64,
    mode: u64,
    size: Option<u64>,
) -> Result<(i64, u64), Error> {
    let name = sim.user_text(path)?;
    let mut file = 0;
    let ret = sim.syscall("openat", &[AT_FDCWD, name, flags, mode], |sim| {
        let flags = flags | O_LARGEFILE;
        // A mode counts only where a file may be made (`build_open_how`).
        let how = sim.object("open_how", &[("flags", flags.into()), ("mode", mode.into())])?;
        let function = sim.named(&[("do_sys_openat2", (5, 6)), ("do_sys_open", (2, 6))]);
        let args = match function {
            "do_sys_open" => vec![AT_FDCWD, name, flags, mode],
            _ => vec![AT_FDCWD, name, how],
        };
        sim.function(function, &args, |sim| {
            let opened = open_file(sim, path, (flags & !O_CLOEXEC, mode), size)?;
            file = opened.unwrap_or(0);
            match opened {
                Err(errno) => Ok(errno),
                Ok(file) => {
                    sim.leaf("fd_install", &[FIRST_FD.cast_unsigned(), file], 0)?;
                    Ok(FIRST_FD)
                }
            }
        })
    })?;
    Ok((ret, file))
}

/// From a path to a file (`fs/namei.c`): the file's address, or `-errno`.
pub(super) fn open_file(
    sim: &mut Simulation<'_>,
    path: &str,
    (flags, mode): (u64, u64),
    size: Option<u64>,
) -> Result<Result<u64, i64>, Error> {
    let text = sim.kernel_bytes(path.as_bytes())?;
    let name = sim.object("filename", &[("name", text.into())])?;
    // As `build_open_flags` does.
    let create = flags & O_CREAT != 0;
    let [rcu, intent_open, intent_create] = if sim.since(6, 16) { LOOKUPS } else { OLD_LOOKUPS };
    let how = sim.object(
        "open_flags",
        &[
            ("open_flag", flags.into()),
            ("mode", if create { mode | REGULAR } else { 0 }.into()),
            ("acc_mode", access(flags).into()),
            ("intent", (intent_open | if create { intent_create } else { 0 }).into()),
            ("lookup_flags", LOOKUP_FOLLOW.into()),
        ],
    )?;
    let file = match size {
        Some(size) => sim.file(path, flags, size)?,
        None => 0,
    };
    let function = sim.named(&[("do_file_open", (7, 0)), ("do_filp_open", (2, 6))]);
    let mut result = Err(-ENOENT);
    let answer = |r: Result<u64, i64>| r.map_or_else(|e| e, u64::cast_signed);
    sim.function(function, &[AT_FDCWD, name, how], |sim| {
        let nameidata = sim.object("nameidata", &[])?;
        sim.function("path_openat", &[nameidata, how, LOOKUP_FOLLOW | rcu], |sim| {
            if size.is_some() {
                let refused = open_entry(sim, file, flags)?;
                result = if refused < 0 { Err(refused) } else { Ok(file) };
            }
            Ok(answer(result))
        })
    })?;
    Ok(result)
}

/// What is to be done with the file (`ACC_MODE`).
fn access(flags: u64) -> u64 {
    let way = match flags & 3 {
        _ if flags & FMODE_EXEC != 0 => MAY_EXEC,
        0 => MAY_READ,
        1 => MAY_WRITE,
        _ => MAY_READ | MAY_WRITE,
    };
    way | if flags & O_TRUNC == 0 { 0 } else { MAY_WRITE }
}

/// The part that knows the file: `vfs_open` and the hooks. The file gets its place on the way.
fn open_entry(sim: &mut Simulation<'_>, file: u64, flags: u64) -> Result<i64, Error> {
    let (inode, dentry) = (sim.member(file, "file", "f_inode"), sim.member(file, "file", "f_path.dentry"));
    let path = sim.object("path", &[("dentry", dentry.into())])?;
    sim.set_object(file, "file", &[("f_path.dentry", 0.into()), ("f_inode", 0.into())])?;
    let opened = sim.function("vfs_open", &[path, file], |sim| {
        sim.set_object(file, "file", &[("f_path.dentry", dentry.into())])?;
        // Since 6.10 it finds the inode itself.
        let args = if sim.since(6, 10) { vec![file, 0] } else { vec![file, inode, 0] };
        sim.function("do_dentry_open", &args, |sim| {
            sim.set_object(file, "file", &[("f_inode", inode.into())])?;
            let refused = sim.hook("file_open", &[file])?;
            sim.set_object(file, "file", &[("f_flags", (flags & !ONCE).into())])?;
            Ok(refused)
        })
    })?;
    if opened < 0 || !sim.since(6, 9) {
        return Ok(opened);
    }
    sim.hook("file_post_open", &[file, access(flags)])
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Read,
    Write,
}

/// `ksys_read` or `ksys_write`, down to where the file system begins.
pub(super) fn transfer(
    sim: &mut Simulation<'_>,
    way: Way,
    fd: u64,
    file: u64,
    buf: u64,
    count: u64,
    done: impl FnOnce(&mut Simulation<'_>) -> Result<i64, Error>,
) -> Result<i64, Error> {
    let (ksys, vfs, mask) = match way {
        Way::Read => ("ksys_read", "vfs_read", MAY_READ),
        Way::Write => ("ksys_write", "vfs_write", MAY_WRITE),
    };
    let pos = sim.kernel_bytes(&[0; 8])?;
    sim.function(ksys, &[fd, buf, count], |sim| {
        sim.function(vfs, &[file, buf, count, pos], |sim| {
            let which = u64::from(way == Way::Write);
            let allowed = sim.function("rw_verify_area", &[which, file, pos, count], |sim| {
                sim.hook("file_permission", &[file, mask])
            })?;
            if allowed < 0 { Ok(allowed) } else { done(sim) }
        })
    })
}

/// `close`, with the end of the file: on the way in since 6.6, on the way back to user space before.
pub(super) fn close(sim: &mut Simulation<'_>, fd: u64, file: u64) -> Result<(), Error> {
    closing(sim, fd, file, |_| Ok(()))
}

/// As [`close`], for a file whose end is something: a socket's.
pub(super) fn closing(
    sim: &mut Simulation<'_>,
    fd: u64,
    file: u64,
    end: impl FnOnce(&mut Simulation<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let files = sim.object("files_struct", &[])?;
    if sim.since(6, 6) {
        sim.syscall("close", &[fd], |sim| {
            let take = sim.named(&[("file_close_fd", (6, 8)), ("close_fd_get_file", (5, 16))]);
            sim.leaf(take, &[fd], file.cast_signed())?;
            sim.leaf("filp_flush", &[file, files], 0)?;
            let put = sim.named(&[("fput_close_sync", (6, 15)), ("__fput_sync", (2, 6))]);
            sim.function(put, &[file], |sim| last_put(sim, file, end))?;
            Ok(0)
        })?;
        return Ok(());
    }
    sim.syscall("close", &[fd], |sim| {
        let function = sim.named(&[("close_fd", (5, 10)), ("__close_fd", (2, 6))]);
        sim.function(function, &[fd], |sim| {
            // Not `fput`: in a process with threads every call on a descriptor makes one.
            sim.leaf("filp_close", &[file, files], 0)
        })
    })?;
    let work = file; // the work lies in the file
    sim.function("____fput", &[work], |sim| last_put(sim, file, end))?;
    Ok(())
}

fn last_put(
    sim: &mut Simulation<'_>,
    file: u64,
    end: impl FnOnce(&mut Simulation<'_>) -> Result<(), Error>,
) -> Result<i64, Error> {
    sim.function("__fput", &[file], |sim| {
        if sim.since(6, 9) {
            sim.hook("file_release", &[file])?;
        }
        end(sim)?;
        sim.leaf("security_file_free", &[file], 0)
    })
}
