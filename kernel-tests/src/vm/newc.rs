//! Writes a cpio archive in the form that the kernel unpacks (`newc`: Documentation/driver-api/early-userspace/buffer-format.rst).
//! Names are bytes, as file names are; the crate `cpio`, which reads these archives in tests, wants text.

use std::io::{self, Write};

/// What an entry says besides its name and content.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    /// A number of its own: equal ones are hard links.
    pub(super) inode: u32,
    /// Kind and permissions.
    pub(super) mode: u32,
    /// Bytes of content that follow.
    pub(super) size: u32,
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
}

impl Entry {
    /// Writes the entry's head; its content and [`pad`] are the caller's to write.
    pub(super) fn write(&self, to: &mut impl Write, name: &[u8]) -> io::Result<()> {
        let length = u32::try_from(name.len() + 1).map_err(|_| io::Error::other("a name is too long"))?;
        let (major, minor) = self.device;
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [self.inode, self.mode, 0, 0, 1, 0, self.size, 0, 0, major, minor, length, 0];
        let mut head = b"070701".to_vec();
        for field in fields {
            head.extend(format!("{field:08x}").bytes());
        }
        head.extend(name);
        head.push(0);
        head.resize(head.len().next_multiple_of(4), 0);
        to.write_all(&head)
    }
}

/// What follows a content of this size.
pub(super) fn pad(to: &mut impl Write, size: u32) -> io::Result<()> {
    let over = size as usize % 4;
    let zeros: &[u8] = &[0; 3];
    to.write_all(if over == 0 { &[] } else { zeros.get(over - 1..).unwrap_or_default() })
}

/// The archive's end.
pub(super) fn trailer(to: &mut impl Write) -> io::Result<()> {
    Entry::default().write(to, b"TRAILER!!!")
}
