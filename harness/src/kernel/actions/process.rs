//! Processes, threads and time.

use std::ffi::CString;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use super::call::{Word, acted, c_path, call, failed, ptr};
use super::shared::Told;
use crate::error::Error;
use crate::stimulus::Stimulated;
use crate::stimulus::{DEFAULT_PROGRAM, THREAD_FLAGS};

/// The status of a child that could not run its program, as shells have it. Programs may have it too.
const NOT_RUN: Word = 127;

pub(crate) fn sleep(time: Duration) -> Result<Stimulated, Error> {
    let mut done = acted();
    let request = [time.as_secs(), time.subsec_nanos().into()];
    // SAFETY: a `timespec` of 64 bits is two words, which live until the call returns.
    let ret = unsafe { call(libc::SYS_nanosleep, [ptr(request.as_ptr()), 0, 0, 0, 0, 0]) };
    done.ret = ret;
    Ok(done)
}

pub(crate) fn busy(time: Duration) -> Result<Stimulated, Error> {
    let used = || {
        let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the structure is the call's to write, and lives until it returns.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut ts) };
        let (sec, nsec) = (u64::try_from(ts.tv_sec).unwrap_or(0), u32::try_from(ts.tv_nsec).unwrap_or(0));
        Duration::new(sec, nsec)
    };
    let done = acted();
    let end = used() + time;
    while used() < end {
        // Most of the time is to be spent here, not in the kernel's clock.
        for i in 0..100_000u32 {
            std::hint::black_box(i);
        }
    }
    Ok(done)
}

/// Makes a child that does what it is told, with system calls only, and waits for it; gives its id and wait status.
fn child(in_child: impl FnOnce()) -> Result<(i64, i32), Error> {
    let mut status: i32 = 0;
    // SAFETY: without CLONE_VM the child has a copy of everything. It makes system calls on memory that was made before,
    // takes no lock and allocates nothing, and ends.
    let pid = unsafe { call(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0, 0, 0]) };
    if pid == 0 {
        in_child();
        loop {
            // SAFETY: takes a number, and does not return.
            unsafe { call(libc::SYS_exit_group, [NOT_RUN, 0, 0, 0, 0, 0]) };
        }
    }
    if pid < 0 {
        return Err(failed("clone", pid));
    }
    loop {
        // SAFETY: the status lives until the call returns.
        let got = unsafe { call(libc::SYS_wait4, [pid, ptr(&raw mut status), 0, 0, 0, 0]) };
        match got {
            -4 => {} // -EINTR
            got if got == pid => return Ok((pid, status)),
            got => return Err(failed("wait4", got)),
        }
    }
}

fn made(pid: i64) -> Stimulated {
    let mut done = acted();
    done.ret = pid;
    done.child = u32::try_from(pid).ok();
    done
}

pub(crate) fn fork(status: u8) -> Result<Stimulated, Error> {
    let (pid, _) = child(|| {
        // SAFETY: takes a number, and does not return.
        unsafe { call(libc::SYS_exit_group, [status.into(), 0, 0, 0, 0, 0]) };
    })?;
    Ok(made(pid))
}

pub(crate) fn exec(program: Option<&Path>, args: &[String]) -> Result<Stimulated, Error> {
    let path = match program {
        Some(path) => path,
        None => {
            // Once, so that later actions do not begin with it.
            static PUT: OnceLock<Result<(), Error>> = OnceLock::new();
            PUT.get_or_init(|| put_program(Path::new(DEFAULT_PROGRAM))).clone()?;
            Path::new(DEFAULT_PROGRAM)
        }
    };
    let c = |text: &str| {
        CString::new(text).map_err(|_| Error::Invalid("an argument has no NUL in it".to_owned()))
    };
    let base = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let mut texts = vec![c(&base)?];
    for arg in args {
        texts.push(c(arg)?);
    }
    let path = c_path(path)?;
    let mut argv: Vec<*const libc::c_char> = texts.iter().map(|t| t.as_ptr()).collect();
    argv.push(std::ptr::null());
    let envp: [*const libc::c_char; 1] = [std::ptr::null()];
    let told = Told::new()?;
    let (pid, _) = child(|| {
        // SAFETY: path, arguments and environment end as they must, and were made before the child was.
        let ret = unsafe {
            call(libc::SYS_execve, [ptr(path.as_ptr()), ptr(argv.as_ptr()), ptr(envp.as_ptr()), 0, 0, 0])
        };
        told.tell(ret);
    })?;
    Ok(made(pid).with("exec", told.told().cast_unsigned()))
}

/// The code of the smallest program there is: `exit_group(0)`.
#[cfg(target_arch = "x86_64")]
const CODE: [u8; 12] = [0xb8, 231, 0, 0, 0, 0xbf, 0, 0, 0, 0, 0x0f, 0x05];
#[cfg(target_arch = "aarch64")]
const CODE: [u8; 12] = [0xc8, 0x0b, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];
#[cfg(target_arch = "x86_64")]
const MACHINE: u8 = 62;
#[cfg(target_arch = "aarch64")]
const MACHINE: u8 = 183;
/// Where it is loaded.
const BASE: u64 = 0x40_0000;
/// The sizes of an ELF header and a program header.
const HEADERS: u64 = 64 + 56;

/// An ELF file of one segment, which needs no libraries.
fn program() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    elf.extend([2, 0, MACHINE, 0, 1, 0, 0, 0]); // ET_EXEC
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes()); // entry, program headers, section headers
    }
    for half in [0u16, 0, 64, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes()); // flags (two halves), sizes and counts of headers
    }
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, readable and executable
    for word in [0, BASE, BASE, size, size, 4096] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(CODE);
    elf
}

/// Puts the program at its place, whole at once, unless it is there.
fn put_program(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let wanted = program();
    if std::fs::read(path).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let new = path.with_extension(std::process::id().to_string());
    let put = || {
        std::fs::write(&new, &wanted)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755))?;
        std::fs::rename(&new, path)
    };
    put().map_err(|e| Error::Invalid(format!("{}: {e}", path.display())))
}

/// The stack of a thread that does next to nothing, aligned as the ABI wants it.
#[repr(align(16))]
struct Stack([u8; 16384]);

pub(crate) fn thread() -> Result<Stimulated, Error> {
    extern "C" fn nothing(_: *mut libc::c_void) -> libc::c_int {
        0
    }
    let mut stack = Box::new(Stack([0; 16384]));
    let tid = AtomicI32::new(-1);
    let flags = THREAD_FLAGS as i32;
    let top = stack.0.as_mut_ptr_range().end;
    // SAFETY: the stack is the thread's alone, and lives until the thread has ended: the kernel clears `tid` after its
    // last use of the thread's memory (CLONE_CHILD_CLEARTID), and it is waited for below. The thread touches nothing of
    // libc's.
    let pid = unsafe {
        libc::clone(
            nothing,
            top.cast(),
            flags,
            std::ptr::null_mut(),
            std::ptr::null_mut::<libc::pid_t>(),
            std::ptr::null_mut::<libc::c_void>(),
            tid.as_ptr(),
        )
    };
    if pid < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        return Err(failed("clone", -i64::from(errno)));
    }
    loop {
        // SAFETY: the word lives until the call returns. It is asked once even if the thread has ended already, so that
        // the calls are always the same.
        unsafe { call(libc::SYS_futex, [ptr(tid.as_ptr()), libc::FUTEX_WAIT.into(), -1, 0, 0, 0]) };
        if tid.load(Ordering::Acquire) == 0 {
            break;
        }
    }
    drop(stack);
    Ok(made(pid.into()))
}
