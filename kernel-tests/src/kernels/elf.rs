//! What is asked of ELF files here: is this a kernel that QEMU boots, and where is a section. Headers only, so that a
//! vmlinux with gigabytes of debug information costs nothing.

use goblin::container::{Container, Ctx};
use goblin::elf::header::{EM_AARCH64, EM_X86_64};
use goblin::elf::program_header::PT_NOTE;
use goblin::elf::{Elf, ProgramHeader, SectionHeader};

use super::version::Arch;

/// `XEN_ELFNOTE_PHYS32_ENTRY` (xen/interface/elfnote.h): the entry point that QEMU's `-kernel` jumps to for an ELF.
const PHYS32_ENTRY: u32 = 18;

fn ctx(bytes: &[u8]) -> Result<(goblin::elf::Header, Ctx), String> {
    let header = Elf::parse_header(bytes).map_err(|e| format!("its ELF header is damaged: {e}"))?;
    let container = header.container().map_err(|e| e.to_string())?;
    let endian = header.endianness().map_err(|e| e.to_string())?;
    Ok((header, Ctx::new(container, endian)))
}

/// Checks that an ELF file is a kernel that boots without its own decompressor, and for which machine.
pub(super) fn bootable(bytes: &[u8]) -> Result<Arch, String> {
    let (header, ctx) = ctx(bytes)?;
    let arch = match header.e_machine {
        EM_X86_64 if ctx.container == Container::Big => Arch::Amd64,
        EM_AARCH64 => {
            return Err(
                "it is an arm64 ELF, which QEMU does not boot: give the `Image` made from it".to_owned()
            );
        }
        other => return Err(format!("it is for another machine (ELF machine {other})")),
    };
    let segments = ProgramHeader::parse(bytes, to_usize(header.e_phoff)?, header.e_phnum.into(), ctx)
        .map_err(|e| format!("its program headers are damaged: {e}"))?;
    for segment in segments.iter().filter(|s| s.p_type == PT_NOTE) {
        let notes =
            range(bytes, segment.p_offset, segment.p_filesz).ok_or("its notes lie outside the file")?;
        if has_note(notes, b"Xen\0", PHYS32_ENTRY) {
            return Ok(arch);
        }
    }
    Err("it has no PVH note (the kernel needs CONFIG_PVH=y): give its bzImage's vmlinux of a kernel that has"
        .to_owned())
}

/// Whether a note of this owner and type is there. Sizes are rounded up to four bytes.
fn has_note(mut notes: &[u8], owner: &[u8], kind: u32) -> bool {
    let up = |n: u32| (n as usize).saturating_add(3) & !3;
    while let Some((head, rest)) = notes.split_first_chunk::<12>() {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *head;
        let (name, desc) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if u32::from_le_bytes([i, j, k, l]) == kind && rest.get(..name as usize) == Some(owner) {
            return true;
        }
        notes = rest.get(up(name).saturating_add(up(desc))..).unwrap_or_default();
    }
    false
}

/// A section's bytes by its name; nothing where there is none or the file is no ELF file.
pub(super) fn section<'a>(bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (header, ctx) = ctx(bytes).ok()?;
    let shnum = header.e_shnum.into();
    let sections = SectionHeader::parse(bytes, to_usize(header.e_shoff).ok()?, shnum, ctx).ok()?;
    let strings = sections.get(usize::from(header.e_shstrndx))?;
    let strings = range(bytes, strings.sh_offset, strings.sh_size)?;
    let found = sections.iter().find(|s| {
        let text = strings.get(s.sh_name..).unwrap_or_default();
        text.split(|b| *b == 0).next() == Some(name.as_bytes())
    })?;
    range(bytes, found.sh_offset, found.sh_size)
}

fn range(bytes: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    bytes.get(to_usize(at).ok()?..to_usize(at.checked_add(len)?).ok()?)
}

fn to_usize(n: u64) -> Result<usize, String> {
    usize::try_from(n).map_err(|_| "an offset is out of reach".to_owned())
}
