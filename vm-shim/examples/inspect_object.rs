//! Reads BPF objects and prints one line for each: what is in it, or why it was refused.
//!
//! `cargo run -p bpf-vm-shim --example inspect_object -- [-v] FILE...`
#![allow(clippy::disallowed_methods, reason = "a program, unlike the library, reads arguments and files")]

use std::path::Path;

use bpf_vm_shim::object::{KernelProfile, LinkOptions, Object};

fn main() {
    let mut verbose = false;
    let (mut ok, mut refused) = (0, 0);
    for arg in std::env::args().skip(1) {
        if arg == "-v" {
            verbose = true;
            continue;
        }
        let path = Path::new(&arg);
        let file = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let name = file.split('.').next().unwrap_or_default();
        match std::fs::read(path).map_err(|e| e.to_string()).and_then(|b| inspect(name, &b, verbose)) {
            Ok(line) => {
                ok += 1;
                println!("{file}: ok: {line}");
            }
            Err(error) => {
                refused += 1;
                println!("{file}: error: {error}");
            }
        }
    }
    println!("{ok} ok, {refused} refused");
}

fn inspect(name: &str, bytes: &[u8], verbose: bool) -> Result<String, String> {
    let object = Object::parse_named(name, bytes).map_err(|e| e.to_string())?;
    let linked = object.link(&KernelProfile::default(), &everything()).map_err(|e| format!("link: {e}"))?;
    if verbose {
        for p in &object.programs {
            println!(
                "  program {} '{}' {} {} insns {:?}",
                p.name,
                p.section,
                p.prog_type,
                p.insns.len(),
                p.attach.point
            );
        }
        for m in &object.maps {
            println!(
                "  map {} '{}' {} key {} value {} max {} flags {:#x}",
                m.name, m.section, m.map_type, m.key_size, m.value_size, m.max_entries, m.map_flags
            );
        }
        for e in &object.externs {
            println!("  extern {} {:?} weak {}", e.name, e.kind, e.weak);
        }
        for n in &object.notes {
            println!("  note: {n}");
        }
    }
    let poisoned: usize = linked.programs.iter().map(|p| p.poisoned.len()).sum();
    if verbose {
        for p in &linked.programs {
            let subprogs: Vec<_> = p.subprogs.iter().map(|s| format!("{}@{}", s.name, s.start)).collect();
            println!(
                "  linked {} {} insns {} lines: {}",
                p.name,
                p.insns.len(),
                p.lines.len(),
                subprogs.join(" ")
            );
            for (insn, poison) in &p.poisoned {
                println!("    poisoned {insn}: {}", poison.message);
            }
        }
    }
    let (programs, maps, externs) = (object.programs.len(), object.maps.len(), object.externs.len());
    Ok(format!("{programs} programs, {maps} maps, {externs} externs, {poisoned} poisoned"))
}

fn everything() -> LinkOptions {
    LinkOptions { all: true, ..LinkOptions::default() }
}
