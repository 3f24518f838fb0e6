//! All types of a kernel as one C header, `vmlinux.h`.
//!
//! A type is defined after everything that it holds by value; what it only points to is declared. Layouts are those
//! of the BTF ([`Btf::c_definition`] says how), names are unique and legal in C. The order and the names of
//! duplicates (`name___2`) follow libbpf's `btf_dump.c`.

mod names;
mod order;

pub(super) use names::Names;

use std::collections::BTreeSet;

use super::{Btf, BtfError};

/// Longest header. That of a kernel has about 3 MB.
const MAX_TEXT: usize = 64 << 20;

/// How a header is written.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct HeaderOptions {
    /// Accesses to members are relocated when the program is loaded (CO-RE), as with bpftool's header. Without it
    /// they are plain loads at this kernel's offsets.
    pub preserve_access_index: bool,
    /// `__user`, `__percpu` and the like stay, as `btf_type_tag` attributes.
    pub type_tags: bool,
    /// Names that the program defines itself. Types and enumerators of the kernel that have one of them get another,
    /// `name___2`, as the second of two equal names does.
    pub taken: BTreeSet<String>,
}

impl Btf {
    /// All types that have a name, and all enumerators, as a C header.
    ///
    /// ```
    /// use bpf_vm_shim::btf::{Btf, BtfBuilder, HeaderOptions, IntEncoding, Member};
    /// let mut b = BtfBuilder::new();
    /// let int = b.add_int("int", 4, IntEncoding::SIGNED);
    /// b.add_struct("point", 8, &[Member::new("x", int, 0), Member::new("y", int, 32)]);
    /// let header = Btf::parse(b.build())?.c_header(&HeaderOptions::default())?;
    /// assert!(header.contains("struct point {\n\tint x;\n\tint y;\n};"));
    /// # Ok::<(), bpf_vm_shim::btf::BtfError>(())
    /// ```
    ///
    /// # Errors
    /// If a type is broken, cyclic, or the text gets too long.
    pub fn c_header(&self, options: &HeaderOptions) -> Result<String, BtfError> {
        let mut out = String::from("#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n\n");
        if options.preserve_access_index {
            out += "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n\
                    #pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)\n\
                    #endif\n\n";
        }
        out += &order::definitions(self, options, MAX_TEXT)?;
        if options.preserve_access_index {
            out += "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n#pragma clang attribute pop\n#endif\n\n";
        }
        out += "#endif /* __VMLINUX_H__ */\n";
        Ok(out)
    }
}
