//! The kernel tier: what [`Bpf`](crate::Bpf) does on the running kernel, through libbpf.
#![allow(
    unsafe_code,
    reason = "libbpf and system calls that no safe crate offers; each use says why it is sound"
)]

pub(crate) mod actions;
