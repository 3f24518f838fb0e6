//! Memory that is touched, and a function of libc that reads some.

use std::ffi::CString;

use super::call::{acted, call, failed};
use crate::error::Error;
use crate::stimulus::Stimulated;

const PAGE: libc::c_long = 4096;

pub(crate) fn page_fault() -> Result<Stimulated, Error> {
    let done = acted();
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new memory at an address of the kernel's choice touches nothing that is there.
    let addr = unsafe { call(libc::SYS_mmap, [0, PAGE, prot.into(), flags.into(), -1, 0]) };
    if (-4095..0).contains(&addr) {
        return Err(failed("mmap", addr));
    }
    let page = std::ptr::with_exposed_provenance_mut::<u8>(addr.cast_unsigned() as usize);
    // SAFETY: the page was mapped for writing just now, and nobody else knows of it.
    unsafe { page.write_volatile(1) };
    // SAFETY: the page is ours, and is not used any more.
    unsafe { call(libc::SYS_munmap, [addr, PAGE, 0, 0, 0, 0]) };
    Ok(done.with("addr", addr.cast_unsigned()))
}

pub(crate) fn strlen(text: &str) -> Result<i64, Error> {
    let text = CString::new(text).map_err(|_| Error::Invalid("a text of C has no NUL in it".to_owned()))?;
    // SAFETY: the text ends with NUL. `black_box` keeps the compiler from knowing the length itself.
    let len = unsafe { libc::strlen(std::hint::black_box(text.as_ptr())) };
    Ok(len as i64)
}
