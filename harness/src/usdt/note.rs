//! `.note.stapsdt`: the notes that `sys/sdt.h` leaves in a binary, one for each place of a probe.
//!
//! A note's description is the probe's address, the address of `.stapsdt.base` when the note was made, the address of
//! the semaphore (0 if there is none), and three strings: provider, name, arguments. Tools that move sections
//! (prelink) do not touch notes: all addresses are off by what `.stapsdt.base` has moved.

use bpf_vm_shim::object::Arch;

use super::parse::SpecError;
use super::spec::ArgSpec;

/// A note that breaks its format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("note at byte {at} of '.note.stapsdt': {why}")]
#[non_exhaustive]
pub struct NoteError {
    /// Where in the section.
    pub at: usize,
    /// What is wrong.
    pub why: String,
}

/// One place of a probe, as its note says it, with addresses adjusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Note {
    pub(super) provider: String,
    pub(super) name: String,
    pub(super) pc: u64,
    pub(super) semaphore: Option<u64>,
    pub(super) args: Result<Vec<ArgSpec>, SpecError>,
}

/// `NT_STAPSDT`.
const NT_STAPSDT: u32 = 3;

/// Reads the section. `base` is where `.stapsdt.base` is now, if there is one; words are of `word` bytes.
pub(super) fn read(data: &[u8], base: Option<u64>, word: usize, arch: Arch) -> Result<Vec<Note>, NoteError> {
    let mut notes = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let error = |why: &str| NoteError { at, why: why.to_owned() };
        let cut = || error("it goes beyond the section's end");
        let u32_at = |i: usize| {
            let bytes = data.get(i..)?.first_chunk::<4>()?;
            usize::try_from(u32::from_le_bytes(*bytes)).ok()
        };
        let name_len = u32_at(at).ok_or_else(cut)?;
        let desc_len = u32_at(at + 4).ok_or_else(cut)?;
        let kind = u32_at(at + 8).ok_or_else(cut)?;
        let name_at = at + 12;
        let desc_at = name_at.checked_add(name_len.next_multiple_of(4)).ok_or_else(cut)?;
        let end = desc_at.checked_add(desc_len).ok_or_else(cut)?;
        let name = data.get(name_at..name_at.saturating_add(name_len)).ok_or_else(cut)?;
        let desc = data.get(desc_at..end).ok_or_else(cut)?;
        if name == b"stapsdt\0" && kind == NT_STAPSDT as usize {
            notes.push(
                description(desc, base, word, arch).ok_or_else(|| error("its description is too short"))?,
            );
        }
        at = end.next_multiple_of(4);
    }
    Ok(notes)
}

fn description(desc: &[u8], base: Option<u64>, word: usize, arch: Arch) -> Option<Note> {
    let word_at = |i: usize| {
        let mut bytes = [0; 8];
        bytes.get_mut(..word)?.copy_from_slice(desc.get(i * word..(i + 1) * word)?);
        Some(u64::from_le_bytes(bytes))
    };
    let (pc, old_base, semaphore) = (word_at(0)?, word_at(1)?, word_at(2)?);
    let mut strings = desc.get(3 * word..)?.split(|b| *b == 0);
    let mut string = || Some(String::from_utf8_lossy(strings.next()?).into_owned());
    let (provider, name, args) = (string()?, string()?, string()?);
    let moved = base.map_or(0, |b| b.wrapping_sub(old_base));
    Some(Note {
        provider,
        name,
        pc: pc.wrapping_add(moved),
        semaphore: (semaphore != 0).then(|| semaphore.wrapping_add(moved)),
        args: ArgSpec::parse_all(&args, arch),
    })
}

#[cfg(test)]
mod tests {
    use bpf_vm_shim::object::Arch;
    use proptest::prelude::*;

    use super::read;

    fn note(words: [u64; 3], strings: &str) -> Vec<u8> {
        let mut desc: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        desc.extend(strings.bytes());
        let mut out = Vec::new();
        for n in [8, desc.len() as u32, 3] {
            out.extend(n.to_le_bytes());
        }
        out.extend(b"stapsdt\0");
        out.extend(&desc);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn addresses_move_with_the_base() {
        let mut data = note([0x1000, 0x2000, 0x3000], "http\0request\x008@%rdi -4@%esi\0");
        data.extend(note([0x1010, 0x2000, 0], "http\0done\0\0"));
        let moved = read(&data, Some(0x2500), 8, Arch::X86_64).unwrap();
        assert_eq!((moved[0].pc, moved[0].semaphore), (0x1500, Some(0x3500)));
        assert_eq!((moved[1].pc, moved[1].semaphore), (0x1510, None));
        assert_eq!((moved[0].provider.as_str(), moved[0].name.as_str()), ("http", "request"));
        assert_eq!(moved[0].args.as_ref().map(Vec::len), Ok(2));
        let unmoved = read(&data, None, 8, Arch::X86_64).unwrap();
        assert_eq!(unmoved[0].pc, 0x1000);
    }

    #[test]
    fn an_argument_that_cannot_be_read_spoils_its_probe_only() {
        let mut data = note([1, 0, 0], "p\0float\x008f@%xmm0\0");
        data.extend(note([2, 0, 0], "p\0fine\x008@%rax\0"));
        let notes = read(&data, None, 8, Arch::X86_64).unwrap();
        assert!(notes[0].args.is_err() && notes[1].args.is_ok());
    }

    #[test]
    fn broken_notes_say_where() {
        let mut data = note([1, 0, 0], "p\0n\0\0");
        let whole = data.len();
        data.extend(note([1, 0, 0], "p\0n\0\0"));
        data.truncate(data.len() - 8);
        assert_eq!(read(&data, None, 8, Arch::X86_64).unwrap_err().at, whole);
        let short = [4u32, 4, 3].into_iter().flat_map(u32::to_le_bytes).chain([0; 8]).collect::<Vec<u8>>();
        assert_eq!(read(&short, None, 8, Arch::X86_64), Ok(Vec::new()), "notes of others are skipped");
    }

    proptest! {
        #[test]
        fn no_section_is_too_strange(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&data, Some(1), 8, Arch::X86_64);
        }

        #[test]
        fn a_changed_byte_is_no_disaster(at in 0usize..60, byte: u8) {
            let mut data = note([0x1000, 0x2000, 0x3000], "http\0request\x008@%rdi\0");
            if let Some(b) = data.get_mut(at) {
                *b = byte;
            }
            let _ = read(&data, Some(0x2500), 8, Arch::X86_64);
        }
    }
}
