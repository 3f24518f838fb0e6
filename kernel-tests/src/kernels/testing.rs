//! Tiny packages and images for tests: no network, no real kernel.

use std::io::Write;

/// How a bzImage's payload is packed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packing {
    /// A legacy frame.
    Lz4,
    /// A frame.
    Zstd,
    /// With the kernel's settings.
    Xz,
    /// gzip.
    Gzip,
}

/// Where the payload of [`bzimage`] starts.
pub(super) const PAYLOAD: usize = 1024 + 64;

/// An ELF file of x86-64 with notes (owner, type) and sections.
pub(super) fn elf(notes: &[(&[u8], u32)], sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut note_bytes = Vec::new();
    for (owner, kind) in notes {
        for n in [owner.len() as u32, 8, *kind] {
            note_bytes.extend(n.to_le_bytes());
        }
        note_bytes.extend(*owner);
        note_bytes.resize(note_bytes.len().next_multiple_of(4), 0);
        note_bytes.extend([0; 8]);
    }
    let mut body = vec![0u8; 64 + 56];
    let note_at = body.len();
    body.extend(&note_bytes);
    let mut names = vec![0u8];
    let mut headers = vec![[0u8; 64]];
    let mut header = |name: usize, at: usize, len: usize| {
        let mut h = [0u8; 64];
        h[0..4].copy_from_slice(&(name as u32).to_le_bytes());
        h[4] = 1;
        h[24..32].copy_from_slice(&(at as u64).to_le_bytes());
        h[32..40].copy_from_slice(&(len as u64).to_le_bytes());
        headers.push(h);
    };
    for (name, content) in sections {
        header(names.len(), body.len(), content.len());
        names.extend(name.as_bytes());
        names.push(0);
        body.extend(*content);
    }
    header(0, body.len(), names.len());
    body.extend(&names);
    let shoff = body.len() as u64;
    let shnum = headers.len() as u16;
    for h in headers {
        body.extend(h);
    }
    body[0..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value) in
        [(16, 2u16), (18, 62), (52, 64), (54, 56), (56, 1), (58, 64), (60, shnum), (62, shnum - 1)]
    {
        body[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    body[20] = 1;
    body[32..40].copy_from_slice(&64u64.to_le_bytes());
    body[40..48].copy_from_slice(&shoff.to_le_bytes());
    body[64] = 4;
    body[72..80].copy_from_slice(&(note_at as u64).to_le_bytes());
    body[96..104].copy_from_slice(&(note_bytes.len() as u64).to_le_bytes());
    body
}

/// A vmlinux with a PVH note and this BTF.
pub(super) fn vmlinux(btf: &[u8]) -> Vec<u8> {
    elf(&[(b"GNU\0", 3), (b"Xen\0", 18)], &[(".text", &[0x90; 500]), (".BTF", btf)])
}

/// A module that needs others.
pub(super) fn module(depends: &str) -> Vec<u8> {
    elf(&[], &[(".modinfo", format!("license=GPL\0depends={depends}\0").as_bytes())])
}

/// A bzImage of this kernel.
pub(super) fn bzimage(vmlinux: &[u8], packing: Packing, banner: &str) -> Vec<u8> {
    let mut payload = match packing {
        Packing::Lz4 => {
            let block = lz4_flex::block::compress(vmlinux);
            let mut out = vec![0x02, 0x21, 0x4c, 0x18];
            out.extend((block.len() as u32).to_le_bytes());
            out.extend(block);
            out
        }
        Packing::Zstd => {
            ruzstd::encoding::compress_to_vec(vmlinux, ruzstd::encoding::CompressionLevel::Fastest)
        }
        Packing::Xz => xz(vmlinux),
        Packing::Gzip => gzip(vmlinux),
    };
    if !matches!(packing, Packing::Gzip) {
        payload.extend((vmlinux.len() as u32).to_le_bytes());
    }
    let mut image = vec![0u8; PAYLOAD];
    image[0x1f1] = 1;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    image[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
    image[0x300..0x300 + banner.len()].copy_from_slice(banner.as_bytes());
    image[0x248..0x24c].copy_from_slice(&64u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend(payload);
    image
}

/// An EFI zboot image around a packed `Image`.
pub(super) fn zboot(packed: &[u8]) -> Vec<u8> {
    let mut out = b"MZ\0\0zimg".to_vec();
    out.extend(64u32.to_le_bytes());
    out.extend((packed.len() as u32).to_le_bytes());
    out.resize(64, 0);
    out.extend(packed);
    out
}

/// gzip.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// xz.
pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// A Debian package with these files; `suffix` says how its data is packed.
pub(super) fn deb(files: &[(&str, &[u8])], suffix: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("./{name}"), *content).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    let data = match suffix {
        ".gz" => gzip(&tar),
        ".xz" => xz(&tar),
        _ => tar,
    };
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar", b"odd"), (&format!("data.tar{suffix}"), &data)]
    {
        out.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes(),
        );
        out.extend(content);
        if content.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// A kernel package as Debian makes it: below `boot/` (until 7.1) or all below `usr/lib/modules/` (since).
pub(super) fn kernel_deb(release: &str, merged: bool) -> Vec<u8> {
    let (lib, kernel, config) = if merged {
        (
            "usr/lib/modules",
            format!("usr/lib/modules/{release}/vmlinuz"),
            format!("usr/lib/modules/{release}/config"),
        )
    } else {
        ("lib/modules", format!("boot/vmlinuz-{release}"), format!("boot/config-{release}"))
    };
    let drivers = format!("{lib}/{release}/kernel/drivers");
    let image = bzimage(
        &vmlinux(b"\x9f\xebnot really"),
        Packing::Zstd,
        &format!("{release} (a@b) #1 SMP Debian 6.1.140-1 (x)"),
    );
    let files: Vec<(String, Vec<u8>)> = vec![
        (kernel, image),
        (
            config,
            b"CONFIG_KPROBES=y\nCONFIG_LSM=\"lockdown,bpf\"\nCONFIG_BPF_LSM=y\n# CONFIG_UPROBES is not set\n"
                .to_vec(),
        ),
        (
            format!("{lib}/{release}/modules.builtin"),
            b"kernel/drivers/virtio/virtio_ring.ko\nkernel/fs/ext4/ext4.ko\n".to_vec(),
        ),
        (format!("{drivers}/virtio/virtio.ko"), module("")),
        (format!("{drivers}/virtio/virtio_pci.ko.xz"), xz(&module("virtio,virtio_ring"))),
        (format!("{drivers}/char/virtio_console.ko"), module("virtio,virtio_ring")),
        (format!("{drivers}/net/veth.ko.xz"), xz(&module(""))),
        (format!("{drivers}/net/unheard-of.ko"), module("")),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, c)| (n.as_str(), c.as_slice())).collect();
    deb(&files, ".xz")
}
