//! A disk of our own: a file behind a loop device.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::call::{Word, acted, call, failed, ptr};
use crate::error::Error;
use crate::stimulus::Stimulated;

/// `<linux/loop.h>`
const LOOP_SET_FD: Word = 0x4C00;
const LOOP_CLR_FD: Word = 0x4C01;
const LOOP_CTL_GET_FREE: Word = 0x4C82;
/// How large the disk is.
const SIZE: u64 = 1 << 20;
/// What direct reads want their memory to be aligned to.
const ALIGN: usize = 4096;

/// How often a free device is asked for: between the answer and its use somebody else may take it.
const TRIES: usize = 100;

/// A loop device; dropping it frees it.
#[derive(Debug)]
struct Disk {
    device: File,
    path: PathBuf,
}

fn ioctl(file: &File, request: Word, arg: Word) -> i64 {
    // SAFETY: the requests of loop devices that are used here take a number.
    unsafe { call(libc::SYS_ioctl, [file.as_raw_fd().into(), request, arg, 0, 0, 0]) }
}

impl Disk {
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
                return Ok(Self { device, path });
            }
            if set != -i64::from(libc::EBUSY) {
                return Err(failed("LOOP_SET_FD", set));
            }
        }
        Err(failed("LOOP_SET_FD", -i64::from(libc::EBUSY)))
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

impl Drop for Disk {
    fn drop(&mut self) {
        ioctl(&self.device, LOOP_CLR_FD, 0);
    }
}

pub(crate) fn read_disk(bytes: usize) -> Result<Stimulated, Error> {
    let disk = Disk::new()?;
    let direct = File::options().read(true).custom_flags(libc::O_DIRECT).open(&disk.path);
    let direct = direct.map_err(|e| Error::Invalid(format!("{}: {e}", disk.path.display())))?;
    let mut memory = vec![0u8; bytes + ALIGN];
    let start = memory.as_ptr().align_offset(ALIGN);
    let mut done = acted();
    let buf = memory.get_mut(start..start + bytes).unwrap_or_default();
    let args = [direct.as_raw_fd().into(), ptr(buf.as_mut_ptr()), buf.len() as Word, 0, 0, 0];
    // SAFETY: the buffer has this many bytes, and lives until the call returns.
    done.ret = unsafe { call(libc::SYS_read, args) };
    Ok(done)
}
