//! Kernel headers that programs include: empty, since all types come from BTF.

use std::path::{Path, PathBuf};

use super::super::cache::Cache;
use super::super::error::CompileError;

/// The kernel's include directories, as they begin the names of headers.
const KERNEL: [&str; 24] = [
    "linux",
    "uapi",
    "net",
    "asm",
    "asm-generic",
    "scsi",
    "sound",
    "trace",
    "xen",
    "rdma",
    "crypto",
    "drm",
    "video",
    "media",
    "kvm",
    "acpi",
    "misc",
    "ras",
    "target",
    "vdso",
    "generated",
    "dt-bindings",
    "pcmcia",
    "memory",
];

/// Headers of the C library that need no library, and of bcc.
const OTHERS: [&str; 13] = [
    "stddef.h",
    "stdint.h",
    "stdbool.h",
    "stdarg.h",
    "string.h",
    "limits.h",
    "errno.h",
    "sys/types.h",
    "bcc/helpers.h",
    "bcc/bpf.h",
    "vmlinux.h",
    "bcc/bpf_common.h",
    "bcc/proto.h",
];

/// Whether a header of this name is the kernel's: then the text gets an empty one.
pub(super) fn is_shimmed(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default();
    let sane = name.ends_with(".h") && !name.starts_with('/') && !name.split('/').any(|part| part.is_empty());
    // Headers inside the kernel's source are included by way of its include directory: <../fs/mount.h>.
    sane && (KERNEL.contains(&first) || OTHERS.contains(&name) || kernel_source(name).is_some())
}

/// The name of a header of the kernel's source tree, as `../fs/mount.h` names it, without the dots.
fn kernel_source(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("../")?;
    let rest = rest.trim_start_matches("../");
    let trees =
        ["fs", "kernel", "block", "mm", "net", "drivers", "security", "ipc", "arch", "include", "lib"];
    trees.contains(&rest.split('/').next()?).then_some(rest)
}

/// The headers that a text includes.
pub(super) fn includes(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?.trim_start();
        let end = if rest.starts_with('<') { '>' } else { '"' };
        rest.strip_prefix(['<', '"'])?.split_once(end).map(|(name, _)| name.trim())
    })
}

/// The directory of empty headers, with those that are asked for. It only ever grows, and is the same for all texts.
pub(super) fn directory<'a>(
    cache: &Cache,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<PathBuf, CompileError> {
    // Three levels deep, so that `../fs/mount.h` stays inside.
    let root = cache.dir().join("shims");
    let dir = root.join("kernel/src/include");
    std::fs::create_dir_all(&dir).map_err(|e| CompileError::io(&dir, &e))?;
    for name in names.into_iter().filter(|n| is_shimmed(n)) {
        let up = name.split('/').take_while(|part| *part == "..").count();
        let inside = !name.split('/').skip(up).any(|part| part == "..");
        let file = if inside && up <= 3 { dir.join(name) } else { continue };
        create(&file)?;
    }
    Ok(dir)
}

fn create(file: &Path) -> Result<(), CompileError> {
    if file.exists() {
        return Ok(());
    }
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent).map_err(|e| CompileError::io(parent, &e))?;
    }
    // Empty from the first moment: whoever sees it sees all of it.
    std::fs::write(file, "").map_err(|e| CompileError::io(file, &e))
}

#[cfg(test)]
mod tests {
    use super::{includes, is_shimmed};

    #[test]
    fn headers_of_the_kernel_are_known_by_their_directories() {
        for name in ["linux/sched.h", "uapi/linux/ptrace.h", "net/sock.h", "../fs/mount.h", "stdint.h"] {
            assert!(is_shimmed(name), "{name}");
        }
        for name in ["mine.h", "/linux/x.h", "linux/../../x", "../../etc/passwd", "stdio.h"] {
            assert!(!is_shimmed(name), "{name}");
        }
    }

    #[test]
    fn includes_are_read_from_their_lines() {
        let text = "#include <linux/fs.h>\n  #  include \"my.h\"\n// #include\n#include MACRO\nint x;\n";
        assert_eq!(includes(text).collect::<Vec<_>>(), ["linux/fs.h", "my.h"]);
    }
}
