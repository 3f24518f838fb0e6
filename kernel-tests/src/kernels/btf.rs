//! A kernel's type information, and what its names tell where no configuration is at hand.

use super::elf;

/// A BTF header's length and magic number, little-endian (Documentation/bpf/btf.rst).
const HEADER: usize = 24;
const START: [u8; 8] = [0x9f, 0xeb, 1, 0, HEADER as u8, 0, 0, 0];

/// A function of each module that machines stand on. BTF of vmlinux has those of built-in code only.
const FUNCTIONS: [(&str, &str); 4] = [
    ("ext4", "ext4_fill_super"),
    ("nvme", "nvme_probe"),
    ("virtio_console", "virtcons_probe"),
    ("virtio_pci", "virtio_pci_probe"),
];

/// Modules that are built in, as far as the names of their functions tell: for a kernel whose list of them is lost.
pub(super) fn builtin(btf: &[u8]) -> Vec<String> {
    let there = FUNCTIONS.iter().filter(|(_, function)| has_name(btf, function));
    there.map(|(module, _)| (*module).to_owned()).collect()
}

/// The raw BTF of a kernel: the section `.BTF` of an ELF file, or found by its header in a flat `Image`.
pub(super) fn of_kernel(vmlinux: &[u8]) -> Option<&[u8]> {
    if vmlinux.starts_with(b"\x7fELF") {
        return elf::section(vmlinux, ".BTF").filter(|b| !b.is_empty());
    }
    // The linker aligns it to a page at least to four bytes; the largest is the kernel's, others belong to nothing known.
    let starts =
        (0..vmlinux.len()).step_by(4).filter(|at| vmlinux.get(*at..at + 8) == Some(START.as_slice()));
    starts.filter_map(|at| whole(vmlinux.get(at..)?)).max_by_key(|b| b.len())
}

/// The BTF that starts here, if its header holds together.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let word = |at| {
        let b: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(b)).ok()
    };
    let (types_at, types_len, strings_at, strings_len) = (word(8)?, word(12)?, word(16)?, word(20)?);
    if types_at != 0 || strings_at < types_len || strings_len == 0 {
        return None;
    }
    let whole = bytes.get(..HEADER.checked_add(strings_at)?.checked_add(strings_len)?)?;
    // Both ends of the string section are NUL.
    (whole.get(HEADER + strings_at) == Some(&0) && whole.last() == Some(&0)).then_some(whole)
}

/// Whether a name stands in the string section: of a type, a member, a function.
pub(super) fn has_name(btf: &[u8], name: &str) -> bool {
    let mut needle = vec![0];
    needle.extend_from_slice(name.as_bytes());
    needle.push(0);
    let first = needle.len();
    // By the letter that is rare; a search of megabytes for `show` only.
    btf.windows(first).any(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing;

    fn small() -> Vec<u8> {
        let mut btf = START.to_vec();
        for n in [0u32, 4, 4, 9] {
            btf.extend(n.to_le_bytes());
        }
        btf.extend(b"type\0kprobe\0");
        btf.push(0);
        btf
    }

    #[test]
    fn it_is_found_in_an_elf_file_and_in_a_flat_image() {
        assert_eq!(of_kernel(&testing::vmlinux(&small())), Some(small().as_slice()));
        let mut image = vec![1; 64];
        image.extend(START);
        image.extend([0xff; 24]);
        image.extend(small());
        image.extend([1; 64]);
        assert_eq!(of_kernel(&image), Some(small().as_slice()));
        assert_eq!(of_kernel(&image[..90]), None);
        assert_eq!(of_kernel(&testing::vmlinux(b"")), None);
    }

    #[test]
    fn functions_tell_what_is_built_in() {
        assert_eq!(builtin(b"\0nvme_probe_x\0virtcons_probe\0ext4_fill_super\0"), ["ext4", "virtio_console"]);
        assert!(builtin(&small()).is_empty());
    }

    #[test]
    fn a_name_is_found_whole_only() {
        assert!(has_name(&small(), "kprobe"));
        assert!(!has_name(&small(), "kprob"));
        assert!(!has_name(&small(), "probe"));
    }
}
