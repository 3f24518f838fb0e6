//! A disk of our own: a file behind a loop device.

use std::fs::File;
use std::os::fd::AsRawFd;
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

/// A loop device; dropping it frees it.
#[derive(Debug)]
struct Disk {
    device: File,
    path: PathBuf,
    backing: PathBuf,
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
        let backing = std::env::temp_dir().join(format!("bpf-disk-{}", std::process::id()));
        let file = File::create(&backing).and_then(|f| f.set_len(SIZE)).and_then(|()| File::open(&backing));
        let file = file.map_err(|e| io(&backing.display().to_string(), e))?;
        let number = ioctl(&control, LOOP_CTL_GET_FREE, 0);
        if number < 0 {
            return Err(failed("LOOP_CTL_GET_FREE", number));
        }
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = File::open(&path).map_err(|e| io(&path.display().to_string(), e))?;
        let set = ioctl(&device, LOOP_SET_FD, file.as_raw_fd().into());
        if set < 0 {
            return Err(failed("LOOP_SET_FD", set));
        }
        Ok(Self { device, path, backing })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        ioctl(&self.device, LOOP_CLR_FD, 0);
        let _ = std::fs::remove_file(&self.backing);
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
