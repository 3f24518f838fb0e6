//! Decompression of everything that kernels and their packages come in, told apart by the first bytes.

use std::io::{self, Read};

/// The largest thing that is unpacked in memory; a bomb ends here.
const LARGEST: u64 = 2 << 30;

/// lz4's legacy frame, which is what the kernel's own tools write (Documentation/arch/x86/boot.rst, `payload_offset`).
const LZ4_LEGACY: &[u8] = &[0x02, 0x21, 0x4c, 0x18];
/// The most that one block of a legacy frame holds.
const LZ4_BLOCK: usize = 8 << 20;

/// A reader of what is packed in `data`; of `data` itself where no known format starts there.
pub(super) fn stream(data: &[u8]) -> io::Result<Box<dyn Read + '_>> {
    Ok(match data {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(data)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(lzma_rust2::XzReader::new(data, true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(ruzstd::decoding::StreamingDecoder::new(data).map_err(io::Error::other)?)
        }
        _ if data.starts_with(LZ4_LEGACY) => Box::new(io::Cursor::new(lz4_legacy(data)?)),
        [b'B', b'Z', b'h', ..] => return Err(unsupported("bzip2")),
        [0x89, b'L', b'Z', b'O', ..] => return Err(unsupported("lzo")),
        [0x5d, 0, 0, ..] => return Err(unsupported("lzma")),
        _ => Box::new(data),
    })
}

/// All that is packed in `data`.
pub(super) fn all(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    stream(data)?.take(LARGEST).read_to_end(&mut out)?;
    Ok(out)
}

/// Whether a known format starts here.
pub(super) fn is_packed(data: &[u8]) -> bool {
    const MAGICS: [&[u8]; 7] = [
        &[0x1f, 0x8b],
        b"\xfd7zXZ\0",
        &[0x28, 0xb5, 0x2f, 0xfd],
        LZ4_LEGACY,
        b"BZh",
        b"\x89LZO",
        &[0x5d, 0, 0],
    ];
    MAGICS.iter().any(|magic| data.starts_with(magic))
}

fn unsupported(format: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{format} compression is not supported"))
}

/// A legacy frame: blocks of up to 8 MiB, each after its packed length. `lib/decompress_unlz4.c`: a further magic number
/// may stand between blocks.
fn lz4_legacy(data: &[u8]) -> io::Result<Vec<u8>> {
    let torn = || io::Error::new(io::ErrorKind::InvalidData, "the lz4 stream is cut short");
    let mut rest = data;
    let mut out = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<4>() {
        rest = after;
        if head.as_slice() == LZ4_LEGACY {
            continue;
        }
        let len = u32::from_le_bytes(*head) as usize;
        let (block, after) = after.split_at_checked(len).ok_or_else(torn)?;
        rest = after;
        let block = lz4_flex::block::decompress(block, LZ4_BLOCK).map_err(io::Error::other)?;
        out.extend_from_slice(&block);
        if out.len() as u64 > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it unpacks to more than 2 GiB"));
        }
    }
    Ok(out)
}
