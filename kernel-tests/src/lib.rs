//! The second tier: the same test functions on real kernels.
//!
//! Empty on purpose so far. It will hold the tool `bpf-vm` (boots a kernel image in QEMU, runs a test binary inside with
//! `BPF_HARNESS_TIER=kernel` and hands back its output and exit status), the guest's init, the list of kernel images and
//! the tests that compare both tiers. Nothing in the other crates depends on this one, and none of them needs QEMU or
//! root.
