//! From what a package has (vmlinuz) to what boots fastest (vmlinux): the kernel without its own decompressor.
//!
//! x86 bzImage: Documentation/arch/x86/boot.rst; arm64 `Image`: Documentation/arch/arm64/booting.rst; EFI zboot:
//! `drivers/firmware/efi/libstub/zboot-header.S`.

use super::elf;
use super::unpack;
use super::version::Arch;

/// A taken-apart kernel image.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Unpacked {
    /// What to boot.
    pub(super) vmlinux: Vec<u8>,
    /// The machine that it is for.
    pub(super) arch: Arch,
    /// "6.1.0-37-cloud-amd64 (builder@host) #1 SMP ... Debian 6.1.140-1 (date)", if it says.
    pub(super) banner: Option<String>,
}

/// Takes an image apart: a bzImage, an ELF vmlinux, an arm64 `Image`, plain or packed.
pub(super) fn open(bytes: &[u8]) -> Result<Unpacked, String> {
    open_at(bytes, 0)
}

fn open_at(bytes: &[u8], depth: u8) -> Result<Unpacked, String> {
    let finish = |vmlinux: Vec<u8>, arch, banner: Option<String>| {
        let banner = banner.or_else(|| banner_in(&vmlinux));
        Unpacked { vmlinux, arch, banner }
    };
    if bytes.starts_with(b"\x7fELF") {
        let arch = elf::bootable(bytes)?;
        return Ok(finish(bytes.to_vec(), arch, None));
    }
    // Before bzImage: an EFI image of either kind starts with "MZ".
    if bytes.get(0x38..0x3c) == Some(b"ARM\x64") {
        return Ok(finish(bytes.to_vec(), Arch::Arm64, None));
    }
    if bytes.get(4..8) == Some(b"zimg") {
        let (at, len) = (word(bytes, 8)? as usize, word(bytes, 12)? as usize);
        let packed =
            bytes.get(at..at.saturating_add(len)).ok_or("the EFI zboot payload lies outside the file")?;
        return nested(packed, depth);
    }
    if bytes.get(0x202..0x206) == Some(b"HdrS") && bytes.get(0x1fe..0x200) == Some(&[0x55, 0xaa]) {
        let packed = payload(bytes)?;
        let vmlinux = unpack_payload(packed)?;
        let arch = elf::bootable(&vmlinux)?;
        return Ok(finish(vmlinux, arch, header_banner(bytes)));
    }
    if unpack::is_packed(bytes) {
        return nested(bytes, depth);
    }
    Err("it is neither a bzImage, an ELF vmlinux nor an arm64 Image".to_owned())
}

/// An image in a compressed stream.
fn nested(packed: &[u8], depth: u8) -> Result<Unpacked, String> {
    // Nothing is packed more than twice.
    if depth > 1 {
        return Err("it is packed more than twice".to_owned());
    }
    let inner = unpack::all(packed).map_err(|e| format!("its payload does not unpack: {e}"))?;
    open_at(&inner, depth + 1)
}

/// A bzImage's compressed kernel.
fn payload(bytes: &[u8]) -> Result<&[u8], String> {
    let version = u16::try_from(word(bytes, 0x206)? & 0xffff).unwrap_or(0);
    if version < 0x208 {
        return Err(format!("its boot protocol {version:#x} is older than 2.08 and names no payload"));
    }
    // 0 sectors means 4, for images of the last century.
    let sectors = match bytes.get(0x1f1) {
        Some(0) | None => 4,
        Some(n) => usize::from(*n),
    };
    let start = (sectors + 1) * 512 + word(bytes, 0x248)? as usize;
    let len = word(bytes, 0x24c)? as usize;
    bytes
        .get(start..start.saturating_add(len))
        .ok_or_else(|| format!("it is cut short: the payload ({len} bytes at {start}) lies outside the file"))
}

/// Unpacks a payload, whose last four bytes are the unpacked size (for gzip, part of its format).
fn unpack_payload(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (stream, size) = packed.split_last_chunk::<4>().ok_or("its payload is empty")?;
    if !unpack::is_packed(packed) {
        return Err("its payload is in no known compression".to_owned());
    }
    let stream = if packed.starts_with(&[0x1f, 0x8b]) { packed } else { stream };
    let vmlinux = unpack::all(stream).map_err(|e| format!("its payload does not unpack: {e}"))?;
    let size = u32::from_le_bytes(*size) as usize;
    if vmlinux.len() != size {
        return Err(format!("its payload unpacks to {} bytes, {size} announced", vmlinux.len()));
    }
    Ok(vmlinux)
}

/// The version text that the setup header points to.
fn header_banner(bytes: &[u8]) -> Option<String> {
    let at = usize::try_from(word(bytes, 0x20e).ok()? & 0xffff).ok()?;
    if at == 0 { None } else { text_at(bytes.get(at + 0x200..)?) }
}

/// The version text behind "Linux version " (`linux_banner`, init/version.c).
fn banner_in(vmlinux: &[u8]) -> Option<String> {
    let mark = b"Linux version ";
    let mut rest = vmlinux;
    loop {
        let at = rest.windows(mark.len()).position(|w| w == mark)? + mark.len();
        rest = rest.get(at..)?;
        // Also the format "Linux version %s" is there.
        if rest.first().is_some_and(u8::is_ascii_digit) {
            return text_at(rest);
        }
    }
}

/// Printable text up to a NUL, a line's end, or 300 bytes.
fn text_at(bytes: &[u8]) -> Option<String> {
    let text: Vec<u8> = bytes.iter().take(300).take_while(|b| (b' '..=b'~').contains(*b)).copied().collect();
    String::from_utf8(text).ok().filter(|t| !t.is_empty())
}

fn word(bytes: &[u8], at: usize) -> Result<u32, String> {
    let word = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or("its header is cut short")?;
    Ok(u32::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{self, Packing};

    #[test]
    fn a_bzimage_gives_its_vmlinux_whatever_it_is_packed_with() {
        let vmlinux = testing::vmlinux(b"btf");
        for packing in [Packing::Lz4, Packing::Zstd, Packing::Xz, Packing::Gzip] {
            let unpacked = open(&testing::bzimage(&vmlinux, packing, "6.1.0-37-cloud-amd64 (x)")).unwrap();
            assert_eq!(unpacked.vmlinux, vmlinux, "{packing:?}");
            assert_eq!(unpacked.arch, Arch::Amd64);
            assert_eq!(unpacked.banner.as_deref(), Some("6.1.0-37-cloud-amd64 (x)"));
        }
    }

    #[test]
    fn an_elf_and_an_arm64_image_are_taken_as_they_are() {
        let mut vmlinux = testing::vmlinux(b"");
        vmlinux.extend(b"Linux version %s\0Linux version 6.12.3-x (y)\n\0");
        let unpacked = open(&vmlinux).unwrap();
        assert_eq!(unpacked.banner.as_deref(), Some("6.12.3-x (y)"));
        assert_eq!(unpacked.vmlinux, vmlinux);

        let mut image = vec![0; 0x40];
        image[0x38..0x3c].copy_from_slice(b"ARM\x64");
        image.extend(b"Linux version 7.3.4+deb13-cloud-arm64 (y)\n\0");
        for bytes in [image.clone(), testing::gzip(&image), testing::zboot(&testing::gzip(&image))] {
            let unpacked = open(&bytes).unwrap();
            assert_eq!((unpacked.arch, &unpacked.vmlinux), (Arch::Arm64, &image));
            assert_eq!(unpacked.banner.as_deref(), Some("7.3.4+deb13-cloud-arm64 (y)"));
        }
    }

    #[test]
    fn a_broken_image_is_named() {
        let whole = testing::bzimage(&testing::vmlinux(b""), Packing::Lz4, "6.1");
        let no_note = testing::bzimage(&testing::elf(&[], &[(".x", b"")]), Packing::Lz4, "6.1");
        let mut size = whole.clone();
        *size.last_mut().unwrap() ^= 1;
        let mut unknown = whole.clone();
        let at = testing::PAYLOAD;
        unknown[at] ^= 0xff;
        let mut old = whole.clone();
        old[0x206] = 2;
        for (bytes, expected) in [
            (&b"#!/bin/sh"[..], "neither a bzImage"),
            (&whole[..0x300], "cut short"),
            (&whole[..whole.len() - 1], "cut short"),
            (&size, "announced"),
            (&unknown, "no known compression"),
            (&old, "older than 2.08"),
            (&no_note, "PVH"),
            (&testing::gzip(&testing::gzip(&testing::gzip(b"x"))), "more than twice"),
        ] {
            let error = open(bytes).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
