//! What the tests compile with.

use bpf_harness::compile::Clang;
use bpf_harness::compile::bcc::BccKernel;
use bpf_harness::{Bpf, BpfBuilder};
use bpf_vm_shim::mem::{Alloc, Area, Perm, RegionKind};
use bpf_vm_shim::object::KernelProfile;

/// Whether there is a clang to compile with; if not, the test says that it did nothing.
pub(crate) fn clang() -> bool {
    match Clang::find() {
        Ok(_) => true,
        Err(why) => {
            eprintln!("skipped: {why}");
            false
        }
    }
}

/// A kernel with few types and one tracepoint.
pub(crate) fn kernel() -> BccKernel {
    const FORMAT: &str = "name: tick\nID: 1\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:u32 n;\toffset:8;\tsize:4;\tsigned:0;\n\
        \tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;\n";
    BccKernel::new(&KernelProfile::default(), include_str!("kernel.h"))
        .tracepoints(|category, event| ((category, event) == ("test", "tick")).then(|| FORMAT.to_owned()))
}

/// A builder for a text.
pub(crate) fn builder(text: &str) -> BpfBuilder {
    Bpf::builder().bcc_kernel(kernel()).text(text)
}

/// Puts bytes into kernel memory and says where.
pub(crate) fn kernel_memory(bpf: &mut Bpf, bytes: &[u8]) -> u64 {
    let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, bytes.len() as u32, "test");
    let addr = bpf.machine().mem.alloc(alloc.perm(Perm::ProbeOnly)).unwrap();
    bpf.machine().mem.poke(addr, bytes).unwrap();
    addr
}
