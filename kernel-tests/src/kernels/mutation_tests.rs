//! Damaged input of every kind ends in an error or an image, never in a panic or without an end.

use super::parts::Parts;
use super::testing::{self, Packing};
use super::{btf, elf, vmlinuz};

/// A sequence that is the same on every machine (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).unwrap()
    }
}

/// Copies with a few bytes changed, and some cut short.
fn each_mutant(bytes: &[u8], count: u64, check: &mut dyn FnMut(&[u8])) {
    for seed in 0..count {
        let mut numbers = Numbers(seed);
        let mut mutant = bytes.to_vec();
        for _ in 0..=numbers.next(4) {
            let at = numbers.next(mutant.len());
            mutant[at] = match numbers.next(3) {
                0 => 0xff,
                1 => mutant[at] ^ (1 << numbers.next(8)),
                _ => numbers.next(256) as u8,
            };
        }
        if numbers.next(4) == 0 {
            mutant.truncate(numbers.next(bytes.len()));
        }
        check(&mutant);
    }
}

#[test]
fn damaged_images_never_panic() {
    let vmlinux = testing::vmlinux(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0]);
    let mut inputs: Vec<Vec<u8>> = [Packing::Lz4, Packing::Zstd, Packing::Xz, Packing::Gzip]
        .iter()
        .map(|packing| testing::bzimage(&vmlinux, *packing, "6.1.0 (x)"))
        .collect();
    inputs.push(vmlinux);
    let (mut good, mut bad) = (0, 0);
    for input in &inputs {
        each_mutant(input, 400, &mut |mutant| {
            let _ = elf::section(mutant, ".BTF");
            let _ = btf::of_kernel(mutant);
            match vmlinuz::open(mutant) {
                Ok(_) => good += 1,
                Err(_) => bad += 1,
            }
        });
    }
    assert!(good > 100 && bad > 100, "{good} {bad}: damage that is always or never seen tests nothing");
}

#[test]
fn damaged_packages_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.deb");
    let mut bad = 0;
    for suffix in ["", ".gz"] {
        let module = testing::module("a,b");
        let deb = testing::deb(
            &[("lib/modules/6.1/kernel/virtio_pci.ko", &module), ("boot/vmlinuz-6.1", b"x")],
            suffix,
        );
        each_mutant(&deb, 300, &mut |mutant| {
            std::fs::write(&path, mutant).unwrap();
            let mut parts = Parts::default();
            bad += u32::from(parts.add_deb(&path).is_err());
            let _ = parts.kept_modules();
        });
    }
    assert!(bad > 50, "{bad}");
}
