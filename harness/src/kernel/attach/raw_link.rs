//! Links that libbpf-rs has no way to make.

use std::ptr::NonNull;

use libbpf_rs::{AsRawLibbpf, ProgramMut};

use super::Refused;

/// A link of libbpf's.
pub(super) struct RawLink(NonNull<libbpf_sys::bpf_link>);

// SAFETY: libbpf's links have no thread of their own, and this one is only ever destroyed.
unsafe impl Send for RawLink {}
// SAFETY: as above.
unsafe impl Sync for RawLink {}

impl RawLink {
    /// A kprobe in the middle of a function.
    pub(super) fn kprobe_at(
        prog: &ProgramMut<'_>,
        name: &str,
        offset: u64,
        cookie: u64,
    ) -> Result<Self, Refused> {
        let name = std::ffi::CString::new(name).map_err(|e| Refused::Here(e.to_string()))?;
        let opts = libbpf_sys::bpf_kprobe_opts {
            sz: size_of::<libbpf_sys::bpf_kprobe_opts>() as libbpf_sys::size_t,
            bpf_cookie: cookie,
            offset: offset as libbpf_sys::size_t,
            ..libbpf_sys::bpf_kprobe_opts::default()
        };
        // SAFETY: the program is loaded and alive, name and options are valid for the call.
        let link = unsafe {
            let prog = prog.as_libbpf_object().as_ptr();
            libbpf_sys::bpf_program__attach_kprobe_opts(prog, name.as_ptr(), &raw const opts)
        };
        Self::made(link)
    }

    /// A kprobe or kretprobe of a system call, with a cookie.
    pub(super) fn ksyscall(
        prog: &ProgramMut<'_>,
        name: &str,
        retprobe: bool,
        cookie: u64,
    ) -> Result<Self, Refused> {
        let name = std::ffi::CString::new(name).map_err(|e| Refused::Here(e.to_string()))?;
        let opts = libbpf_sys::bpf_ksyscall_opts {
            sz: size_of::<libbpf_sys::bpf_ksyscall_opts>() as libbpf_sys::size_t,
            bpf_cookie: cookie,
            retprobe,
            ..libbpf_sys::bpf_ksyscall_opts::default()
        };
        // SAFETY: the program is loaded and alive, name and options are valid for the call.
        Self::made(unsafe {
            let prog = prog.as_libbpf_object().as_ptr();
            libbpf_sys::bpf_program__attach_ksyscall(prog, name.as_ptr(), &raw const opts)
        })
    }

    /// At the function, hook or raw tracepoint that the program was loaded for, with a cookie.
    pub(super) fn trace(prog: &ProgramMut<'_>, cookie: u64) -> Result<Self, Refused> {
        let opts = libbpf_sys::bpf_trace_opts {
            sz: size_of::<libbpf_sys::bpf_trace_opts>() as libbpf_sys::size_t,
            cookie,
        };
        // SAFETY: the program is loaded and alive, the options are valid for the call.
        let made = Self::made(unsafe {
            let prog = prog.as_libbpf_object().as_ptr();
            libbpf_sys::bpf_program__attach_trace_opts(prog, &raw const opts)
        });
        made.map_err(|refused| match refused {
            Refused::Libbpf(e) if e.kind() == libbpf_rs::ErrorKind::InvalidInput => Refused::Here(format!(
                "the kernel does not take its cookie {cookie}: that is Linux 6.0 at functions and security hooks, 6.10 at \
                 raw tracepoints with types"
            )),
            other => other,
        })
    }

    fn made(link: *mut libbpf_sys::bpf_link) -> Result<Self, Refused> {
        match NonNull::new(link) {
            Some(link) => Ok(Self(link)),
            None => Err(Refused::Libbpf(std::io::Error::last_os_error().into())),
        }
    }
}

impl Drop for RawLink {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody uses it afterwards.
        unsafe { libbpf_sys::bpf_link__destroy(self.0.as_ptr()) };
    }
}
