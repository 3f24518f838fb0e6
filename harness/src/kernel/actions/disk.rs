//! Disks of our own: files behind loop devices.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::call::{Word, acted, call, failed, ptr};
use crate::error::Error;
use crate::stimulus::Stimulated;

/// `<linux/loop.h>`
const LOOP_SET_FD: Word = 0x4C00;
const LOOP_CLR_FD: Word = 0x4C01;
const LOOP_SET_STATUS64: Word = 0x4C04;
const LOOP_CTL_GET_FREE: Word = 0x4C82;
/// The words of `struct loop_info64`, which of them has `lo_flags` in its upper half, and `LO_FLAGS_AUTOCLEAR` there.
const INFO: usize = 29;
const FLAGS_WORD: usize = 6;
const AUTOCLEAR: u64 = 4 << 32;
/// How large a disk is.
const SIZE: u64 = 1 << 20;
/// What direct reads want their memory to be aligned to.
const ALIGN: usize = 4096;

/// How often a free device is asked for: between the answer and its use somebody else may take it.
const TRIES: usize = 100;

/// The disks that nobody uses now. They are kept so that reading one is all that happens from the second time on; the kernel
/// frees their devices when this process ends.
static FREE: Mutex<Vec<Disk>> = Mutex::new(Vec::new());

/// A loop device, open for direct reads, and memory for them.
#[derive(Debug)]
struct Disk {
    direct: File,
    memory: Vec<u8>,
}

fn ioctl(file: &File, request: Word, arg: Word) -> i64 {
    // SAFETY: the requests of loop devices that are used here take a number, or a structure that the caller gives them.
    unsafe { call(libc::SYS_ioctl, [file.as_raw_fd().into(), request, arg, 0, 0, 0]) }
}

impl Disk {
    /// One that is free, or a new one.
    fn take() -> Result<Self, Error> {
        match FREE.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(disk) => Ok(disk),
            None => Self::new(),
        }
    }

    fn give_back(self) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }

    fn new() -> Result<Self, Error> {
        let io =
            |what: &str, e: std::io::Error| Error::Invalid(format!("a disk cannot be made: {what}: {e}"));
        let control = File::options().read(true).write(true).open("/dev/loop-control").map_err(|e| {
            Error::Invalid(format!(
                "a disk is a loop device, and there are none (/dev/loop-control: {e}): load the module `loop`, in a virtual \
                 machine by `bpf-vm run --module loop`"
            ))
        })?;
        let backing = backing().map_err(|e| io("its file", e))?;
        for _ in 0..TRIES {
            let number = ioctl(&control, LOOP_CTL_GET_FREE, 0);
            if number < 0 {
                return Err(failed("LOOP_CTL_GET_FREE", number));
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::open(&path).map_err(|e| io(&path.display().to_string(), e))?;
            let set = ioctl(&device, LOOP_SET_FD, backing.as_raw_fd().into());
            if set == 0 {
                return Self::open(&device, &path).inspect_err(|_| {
                    ioctl(&device, LOOP_CLR_FD, 0);
                });
            }
            if set != -i64::from(libc::EBUSY) {
                return Err(failed("LOOP_SET_FD", set));
            }
        }
        Err(failed("LOOP_SET_FD", -i64::from(libc::EBUSY)))
    }

    /// Opens a device, which is freed when it is closed.
    fn open(device: &File, path: &Path) -> Result<Self, Error> {
        let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(path);
        let direct = direct.map_err(|e| Error::Invalid(format!("{}: {e}", path.display())))?;
        let mut info = [0u64; INFO];
        info[FLAGS_WORD] = AUTOCLEAR;
        let set = ioctl(device, LOOP_SET_STATUS64, ptr(info.as_mut_ptr()));
        if set < 0 {
            return Err(failed("LOOP_SET_STATUS64", set));
        }
        Ok(Self { direct, memory: Vec::new() })
    }

    fn read(&mut self, bytes: usize) -> Stimulated {
        if self.memory.len() < bytes + ALIGN {
            self.memory.resize(bytes + ALIGN, 0);
        }
        let start = self.memory.as_ptr().align_offset(ALIGN);
        let mut done = acted();
        let buf = self.memory.get_mut(start..start + bytes).unwrap_or_default();
        let args = [self.direct.as_raw_fd().into(), ptr(buf.as_mut_ptr()), buf.len() as Word, 0, 0, 0];
        // SAFETY: the buffer has this many bytes, and lives until the call returns.
        done.ret = unsafe { call(libc::SYS_read, args) };
        // The next one reads the same.
        let rewind = [self.direct.as_raw_fd().into(), 0, libc::SEEK_SET.into(), 0, 0, 0];
        // SAFETY: the call takes numbers.
        unsafe { call(libc::SYS_lseek, rewind) };
        done.with("fd", self.direct.as_raw_fd() as u64)
    }
}

/// A file that has no name, and goes with its last user (`memfd_create`).
fn backing() -> std::io::Result<File> {
    // SAFETY: the name ends as it must.
    let fd = unsafe { libc::memfd_create(c"bpf-disk".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it, and nobody else knows of it.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(SIZE)?;
    Ok(file)
}

pub(crate) fn read_disk(bytes: usize) -> Result<Stimulated, Error> {
    let mut disk = Disk::take()?;
    let done = disk.read(bytes);
    disk.give_back();
    Ok(done)
}
