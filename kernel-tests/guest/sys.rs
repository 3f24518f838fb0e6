//! The C functions and port writes that the standard library does not offer.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void};
use std::io;
use std::os::fd::AsRawFd;

unsafe extern "C" {
    fn mount(
        src: *const c_char,
        at: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn reboot(how: c_int) -> c_int;
    fn clock_settime(clock: c_int, time: *const Timespec) -> c_int;
    fn setrlimit(resource: c_int, limit: *const [u64; 2]) -> c_int;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    #[link_name = "kill"]
    fn c_kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn sethostname(name: *const c_char, len: usize) -> c_int;
    fn setsid() -> c_int;
    fn sync();
}

#[repr(C)]
struct Timespec {
    secs: i64,
    nanos: c_long,
}

const UNLIMITED: u64 = u64::MAX;

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn mount_at(source: &CStr, at: &str, kind: &CStr, data: &CStr) -> io::Result<()> {
    let at = CString::new(at)?;
    // SAFETY: four NUL-terminated strings that outlive the call.
    check(unsafe { mount(source.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, data.as_ptr().cast()) })
}

pub(crate) fn set_clock(secs: u64, nanos: u32) {
    let time = Timespec { secs: secs as i64, nanos: nanos as c_long };
    // SAFETY: `time` has the layout of `struct timespec` on 64-bit Linux. 0 is CLOCK_REALTIME.
    if unsafe { clock_settime(0, &time) } < 0 {
        eprintln!("bpf-vm agent: clock_settime: {}", io::Error::last_os_error());
    }
}

/// Mixes the host's bytes into the kernel's random numbers and has them used at once: machines restored from one snapshot
/// would draw the same ones.
pub(crate) fn reseed(seed: &[u8]) {
    use std::io::Write;
    const RNDRESEEDCRNG: c_ulong = 0x5207;
    let result = std::fs::OpenOptions::new().write(true).open("/dev/urandom").and_then(|mut file| {
        file.write_all(seed)?;
        // SAFETY: the request takes no argument.
        check(unsafe { ioctl(file.as_raw_fd(), RNDRESEEDCRNG) })
    });
    if let Err(error) = result {
        eprintln!("bpf-vm agent: reseed: {error}");
    }
}

/// Lifts what would surprise a test: open files, locked memory, processes; no core files.
pub(crate) fn lift_limits() {
    // RLIMIT_CORE 4, RLIMIT_NPROC 6, RLIMIT_NOFILE 7, RLIMIT_MEMLOCK 8 (asm-generic/resource.h).
    for (resource, limit) in [(4, [0, 0]), (6, [UNLIMITED; 2]), (7, [1 << 20; 2]), (8, [UNLIMITED; 2])] {
        // SAFETY: two u64 are `struct rlimit` on 64-bit Linux.
        if unsafe { setrlimit(resource, &limit) } < 0 {
            eprintln!("bpf-vm agent: setrlimit({resource}): {}", io::Error::last_os_error());
        }
    }
}

pub(crate) fn set_hostname(name: &str) {
    // SAFETY: pointer and length of one string.
    unsafe { sethostname(name.as_ptr().cast(), name.len()) };
}

/// Sets IFF_UP on `lo`; its address comes with it.
pub(crate) fn loopback_up() -> io::Result<()> {
    #[repr(C)]
    struct Ifreq {
        name: [u8; 16],
        flags: i16,
        rest: [u8; 22],
    }
    const SIOCSIFFLAGS: c_ulong = 0x8914;
    let mut name = [0; 16];
    name[..2].copy_from_slice(b"lo");
    let request = Ifreq { name, flags: 1, rest: [0; 22] };
    // SAFETY: AF_INET datagram socket; `request` has the 40 bytes of `struct ifreq`; the descriptor is closed once.
    unsafe {
        let fd = socket(2, 2, 0);
        check(fd)?;
        let result = check(ioctl(fd, SIOCSIFFLAGS, &request));
        close(fd);
        result
    }
}

pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: no memory is involved.
    unsafe { c_kill(pid, signal) };
}

/// Waits for any child, as process 1 must: orphans end up here too.
pub(crate) fn wait_any() -> io::Result<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int.
    let pid = unsafe { waitpid(-1, &mut status, 0) };
    check(pid)?;
    Ok((pid, status))
}

pub(crate) fn load_module(file: &std::fs::File) -> io::Result<()> {
    const FINIT_MODULE: c_long = if cfg!(target_arch = "x86_64") { 313 } else { 273 };
    // SAFETY: a descriptor, a NUL-terminated string of parameters, flags.
    let result = unsafe { syscall(FINIT_MODULE, file.as_raw_fd() as c_long, c"".as_ptr(), 0 as c_long) };
    check(result as c_int)
}

/// Makes a serial line carry bytes as they are: `cfmakeraw` through TCGETS/TCSETS.
pub(crate) fn raw_terminal(file: &std::fs::File) -> io::Result<()> {
    #[repr(C)]
    struct Termios {
        iflag: u32,
        oflag: u32,
        cflag: u32,
        lflag: u32,
        line: u8,
        cc: [u8; 19],
    }
    const TCGETS: c_ulong = 0x5401;
    const TCSETS: c_ulong = 0x5402;
    let mut settings = Termios { iflag: 0, oflag: 0, cflag: 0, lflag: 0, line: 0, cc: [0; 19] };
    // SAFETY: `settings` has the layout of the kernel's `struct termios` (36 bytes).
    unsafe {
        check(ioctl(file.as_raw_fd(), TCGETS, &mut settings))?;
        settings.iflag = 0;
        settings.oflag &= !1;
        settings.lflag = 0;
        settings.cflag |= 0x30 | 0x80 | 0x800;
        // VTIME 0, VMIN 1: a read waits for one byte.
        settings.cc[5] = 0;
        settings.cc[6] = 1;
        check(ioctl(file.as_raw_fd(), TCSETS, &settings))
    }
}

/// Lets the far end of a new terminal be opened; gives its number.
pub(crate) fn unlock_terminal(near: &std::fs::File) -> io::Result<u32> {
    const TIOCSPTLCK: c_ulong = 0x4004_5431;
    const TIOCGPTN: c_ulong = 0x8004_5430;
    let (mut number, unlocked) = (0u32, 0 as c_int);
    // SAFETY: both requests take a pointer to an int that outlives the call.
    unsafe {
        check(ioctl(near.as_raw_fd(), TIOCSPTLCK, &unlocked))?;
        check(ioctl(near.as_raw_fd(), TIOCGPTN, &mut number))?;
    }
    Ok(number)
}

/// Sets the size of a terminal; its programs get SIGWINCH.
pub(crate) fn set_window(terminal: &std::fs::File, rows: u16, columns: u16) -> io::Result<()> {
    const TIOCSWINSZ: c_ulong = 0x5414;
    let size = [rows, columns, 0, 0];
    // SAFETY: four u16 are `struct winsize`.
    check(unsafe { ioctl(terminal.as_raw_fd(), TIOCSWINSZ, &size) })
}

/// Makes a program the leader of a session that the terminal at its standard input controls, so that Ctrl-C is its SIGINT.
pub(crate) fn on_its_own_terminal(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    const TIOCSCTTY: c_ulong = 0x540e;
    // SAFETY: between fork and exec there are only two system calls. Standard input is in its place by then.
    unsafe {
        command.pre_exec(move || {
            check(setsid())?;
            check(ioctl(0, TIOCSCTTY, 0 as c_int))
        });
    }
}

/// Powers the machine off. Does not return.
pub(crate) fn power_off() -> ! {
    // SAFETY: no memory is involved; 0x4321fedc is LINUX_REBOOT_CMD_POWER_OFF.
    unsafe {
        sync();
        reboot(0x4321_fedc);
    }
    loop {
        std::thread::park();
    }
}
