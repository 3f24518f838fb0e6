//! Makes the machine look like a Linux system that a BPF test expects.

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::protocol::CONFIG;
use crate::sys;

/// What is mounted, where, with which options. The order matters: tracefs and bpffs hang below /sys.
const MOUNTS: &[(&CStr, &str, &CStr, &CStr)] = &[
    (c"proc", "/proc", c"proc", c""),
    (c"sysfs", "/sys", c"sysfs", c""),
    (c"devtmpfs", "/dev", c"devtmpfs", c"mode=0755"),
    (c"devpts", "/dev/pts", c"devpts", c"gid=0,mode=620,ptmxmode=666"),
    (c"tmpfs", "/dev/shm", c"tmpfs", c"mode=1777"),
    (c"debugfs", "/sys/kernel/debug", c"debugfs", c""),
    (c"tracefs", "/sys/kernel/tracing", c"tracefs", c""),
    (c"securityfs", "/sys/kernel/security", c"securityfs", c""),
    (c"bpffs", "/sys/fs/bpf", c"bpf", c"mode=0700"),
    (c"cgroup2", "/sys/fs/cgroup", c"cgroup2", c""),
];

/// Mounts, loopback, limits, device links. Returns what did not work: a kernel without one of these can still run most
/// programs, so it is a note, not an end.
pub(crate) fn prepare() -> Vec<String> {
    let mut notes = Vec::new();
    for (source, at, kind, options) in MOUNTS {
        // Below sysfs the kernel made the folder, or the feature is not there and the mount says so.
        let _ = fs::create_dir_all(at);
        if let Err(error) = sys::mount_at(source, at, kind, options) {
            notes.push(format!("mount {at}: {error}"));
        }
    }
    // Some links that programs expect and devtmpfs does not make.
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ] {
        let _ = std::os::unix::fs::symlink(target, link);
    }
    if fs::exists(CONFIG).unwrap_or(false) {
        let _ = fs::create_dir_all("/boot");
        let _ = std::os::unix::fs::symlink(CONFIG, format!("/boot/config-{}", release()));
    }
    // No mount: the program's files may lie there, and all of the root is memory already.
    for folder in ["/tmp", "/var/tmp"] {
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o1777));
    }
    if let Err(error) = sys::loopback_up() {
        notes.push(format!("bring lo up: {error}"));
    }
    sys::lift_limits();
    sys::set_hostname("bpf-vm");
    notes
}

/// `uname -r`.
pub(crate) fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}
