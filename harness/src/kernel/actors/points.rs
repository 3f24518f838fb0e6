//! Points: functions of two instructions in this process, each for one program at a time.
//!
//! All actors share this process's memory, and the kernel chooses uprobes by memory (`uprobe_perf_filter()`). So two programs
//! at one point would both run for each event; with a point for each, only the one that is meant runs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::arch::{POINT_STRIDE, POINTS, point_address};
use super::error::ActorError;

static TAKEN: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// A point that is ours until this value goes.
#[derive(Debug)]
pub(super) struct Point(usize);

impl Point {
    /// One that nobody has.
    pub(super) fn take() -> Option<Self> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (0..POINTS).find(|i| !taken.contains(i))?;
        taken.insert(free);
        Some(Self(free))
    }

    /// Its address in this process.
    pub(super) fn address(&self) -> usize {
        point_address(self.0)
    }

    /// Where the kernel finds it: a file, and its place there.
    pub(super) fn place(&self) -> Result<(PathBuf, usize), ActorError> {
        static FILE: OnceLock<Result<(PathBuf, usize), String>> = OnceLock::new();
        let (file, first) = FILE.get_or_init(file).clone().map_err(ActorError::Machine)?;
        Ok((file, first + self.0 * POINT_STRIDE))
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        TAKEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// The file that the points are mapped from, and where the first is in it.
fn file() -> Result<(PathBuf, usize), String> {
    let why = |e: io::Error| format!("/proc/self/maps: {e}");
    let maps = fs::read_to_string("/proc/self/maps").map_err(why)?;
    let exe = fs::read_link("/proc/self/exe").map_err(why)?;
    find(&maps, point_address(0), &exe.to_string_lossy())
        .ok_or_else(|| "the file of this program's own code is not in /proc/self/maps".to_owned())
}

/// The mapping of an address: by the name that works even if the file was replaced or removed since.
fn find(maps: &str, addr: usize, exe: &str) -> Option<(PathBuf, usize)> {
    for line in maps.lines() {
        // start-end access offset device inode path
        let mut fields = line.splitn(6, ' ');
        let range = fields.next()?;
        let (start, end) = range.split_once('-')?;
        let (from, to) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        if !(from..to).contains(&addr) {
            continue;
        }
        let offset = usize::from_str_radix(fields.nth(1)?, 16).ok()?;
        let path = fields.nth(2)?.trim_start();
        let file =
            if path == exe { "/proc/self/exe".to_owned() } else { format!("/proc/self/map_files/{range}") };
        return Some((file.into(), offset + (addr - from)));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Point, find};

    const MAPS: &str = "\
55d0c0000000-55d0c0010000 r--p 00000000 fe:01 77    /opt/a test/run-1f (deleted)
55d0c0010000-55d0c0020000 r-xp 0000f000 fe:01 77    /opt/a test/run-1f (deleted)
7f1200000000-7f1200001000 r-xp 00002000 fe:01 78    /usr/lib/libharness.so
7ffd00000000-7ffd00001000 rw-p 00000000 00:00 0     [stack]
";

    #[test]
    fn the_offset_in_the_file_follows_from_the_mapping_of_an_executable_or_a_library() {
        let exe = "/opt/a test/run-1f (deleted)";
        let found = |addr| find(MAPS, addr, exe);
        assert_eq!(found(0x55d0_c001_0123), Some((PathBuf::from("/proc/self/exe"), 0xf123)));
        let library = PathBuf::from("/proc/self/map_files/7f1200000000-7f1200001000");
        assert_eq!(found(0x7f12_0000_0010), Some((library, 0x2010)));
        assert_eq!(found(0x1000), None);
    }

    #[test]
    fn points_are_apart_and_come_back() {
        let (a, b) = (Point::take().unwrap(), Point::take().unwrap());
        assert_ne!(a.address(), b.address());
        let ((file, one), (_, two)) = (a.place().unwrap(), b.place().unwrap());
        assert_eq!(one.abs_diff(two), a.address().abs_diff(b.address()));
        // What is in the file is what runs: an instruction that does nothing, and a return.
        let bytes = std::fs::read(file).unwrap();
        let code: &[u8] = match cfg!(target_arch = "aarch64") {
            true => &[0x01, 0, 0, 0x14, 0xc0, 0x03, 0x5f, 0xd6],
            false => &[0x90, 0xc3],
        };
        assert!(bytes[one..].starts_with(code));
    }
}
