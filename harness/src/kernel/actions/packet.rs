//! A packet, sent through a device as it is.

use std::ffi::CString;

use super::call::{Word, acted, call, close, failed, ptr};
use crate::error::Error;
use crate::stimulus::Stimulated;

pub(crate) fn packet(device: &str, bytes: &[u8]) -> Result<Stimulated, Error> {
    let mut done = acted();
    let name = CString::new(device).map_err(|_| Error::Invalid("a device's name has no NUL".to_owned()))?;
    // SAFETY: the name ends with NUL.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(Error::Invalid(format!("there is no network device '{device}'")));
    }
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: takes numbers.
    let fd = unsafe { call(libc::SYS_socket, [libc::AF_PACKET.into(), kind.into(), 0, 0, 0, 0]) };
    if fd < 0 {
        return Err(failed("socket(AF_PACKET)", fd));
    }
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    let size = size_of::<libc::sockaddr_ll>() as Word;
    let args = [fd, ptr(bytes.as_ptr()), bytes.len() as Word, 0, ptr(&raw const address), size];
    // SAFETY: bytes and address have these lengths.
    let sent = unsafe { call(libc::SYS_sendto, args) };
    close(fd);
    if sent < 0 {
        return Err(failed("sendto", sent));
    }
    done.ret = 1;
    Ok(done)
}
