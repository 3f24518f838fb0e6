//! BTF: reading, writing, layout, C text, `.BTF.ext` and CO-RE, on inputs made by [`BtfBuilder`].
//!
//! [`BtfBuilder`]: bpf_vm_shim::btf::BtfBuilder

mod core_kinds;
mod core_patch;
mod ext;
mod header;
mod layout;
mod malformed;
mod render;
mod round_trip;
mod split;
mod support;
