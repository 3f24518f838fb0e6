//! Writes the C header of a BTF file: `vmlinux_header FILE [--core]`.

#![allow(clippy::disallowed_methods, reason = "a program, unlike the library, reads arguments and files")]

use bpf_vm_shim::btf::{Btf, HeaderOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("usage: vmlinux_header FILE [--core]")?;
    let btf = Btf::parse_file(std::fs::read(file)?)?;
    let options = HeaderOptions {
        preserve_access_index: args.next().is_some_and(|a| a == "--core"),
        ..HeaderOptions::default()
    };
    let start = std::time::Instant::now();
    let header = btf.c_header(&options)?;
    eprintln!("{} bytes in {:?}", header.len(), start.elapsed());
    print!("{header}");
    Ok(())
}
