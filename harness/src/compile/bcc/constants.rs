//! The kernel's numbers that BTF does not carry: its `#define`s.

use std::fmt::Write;

use bpf_vm_shim::object::Arch;

/// Names and values, one pair a line; lines that begin with `#` are remarks.
const ALL: &str = include_str!("../../../include/bcc/constants.txt");
const SYSCALLS_X86: &str = include_str!("../../../include/bcc/syscalls_x86.txt");

/// The constants as C macros.
pub(super) fn macros(arch: Arch) -> String {
    let syscalls = if arch == Arch::X86_64 { SYSCALLS_X86 } else { "" };
    let mut out = String::new();
    for line in ALL.lines().chain(syscalls.lines()) {
        if let Some((name, value)) = line.trim().split_once(' ').filter(|(name, _)| !name.starts_with('#')) {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "#define {name} {}", value.trim());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::macros;
    use bpf_vm_shim::object::Arch;
    use std::collections::BTreeSet;

    #[test]
    fn every_constant_is_defined_once() {
        let all = macros(Arch::X86_64);
        let names: Vec<&str> = all.lines().filter_map(|l| l.split(' ').nth(1)).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
        assert!(all.contains("#define TASK_COMM_LEN 16\n") && all.contains("#define __NR_openat 257\n"));
    }
}
