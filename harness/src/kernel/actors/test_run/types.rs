//! Which program types the kernel can test run, since when, and what they take.
//!
//! From `struct bpf_prog_ops` of each type (`net/core/filter.c`, `kernel/trace/bpf_trace.c`, `kernel/bpf/syscall.c`), the
//! checks at the start of each `bpf_prog_test_run_*()` in net/bpf/test_run.c, and the versions that introduced them.

use std::ffi::CStr;
use std::fmt;

use libbpf_sys as sys;

/// The kernel's "this object has no such operation" (include/linux/errno.h), which libc does not know.
pub(super) const ENOTSUPP: i32 = 524;

/// One type.
#[derive(Clone, Copy, Debug)]
pub(super) struct TypeRow {
    /// The kernel's number of the type.
    pub(super) prog_type: u32,
    /// The first version that can test run it; `None` if none can.
    pub(super) since: Option<(u32, u32)>,
    /// Takes a packet and gives it back.
    pub(super) data: bool,
    /// The least packet that it takes.
    least_data: usize,
    /// Takes a context.
    ctx: bool,
    /// Gives the context back, in a buffer of its own.
    pub(super) ctx_out: bool,
    /// Gives the context back where it was.
    pub(super) ctx_in_place: bool,
    /// The kernel repeats runs, and measures them.
    pub(super) repeats: bool,
    /// Its programs are attached to functions, and a test run calls these.
    pub(super) attaches: bool,
}

const NONE: TypeRow = TypeRow {
    prog_type: 0,
    since: None,
    data: false,
    least_data: 0,
    ctx: false,
    ctx_out: false,
    ctx_in_place: false,
    repeats: false,
    attaches: false,
};
/// A packet with its link-layer header, and a context.
const PACKET: TypeRow =
    TypeRow { data: true, least_data: 14, ctx: true, ctx_out: true, repeats: true, ..NONE };

/// What is known of a type.
pub(super) fn row(prog_type: u32) -> TypeRow {
    let row = match prog_type {
        sys::BPF_PROG_TYPE_SOCKET_FILTER
        | sys::BPF_PROG_TYPE_SCHED_CLS
        | sys::BPF_PROG_TYPE_SCHED_ACT
        | sys::BPF_PROG_TYPE_XDP
        | sys::BPF_PROG_TYPE_CGROUP_SKB
        | sys::BPF_PROG_TYPE_LWT_IN
        | sys::BPF_PROG_TYPE_LWT_OUT
        | sys::BPF_PROG_TYPE_LWT_XMIT
        | sys::BPF_PROG_TYPE_LWT_SEG6LOCAL => TypeRow { since: Some((4, 12)), ..PACKET },
        sys::BPF_PROG_TYPE_FLOW_DISSECTOR => TypeRow { since: Some((5, 1)), ..PACKET },
        sys::BPF_PROG_TYPE_NETFILTER => {
            TypeRow { since: Some((6, 4)), least_data: 20, ctx_out: false, ..PACKET }
        }
        sys::BPF_PROG_TYPE_TRACING => TypeRow { since: Some((5, 7)), attaches: true, ..NONE },
        sys::BPF_PROG_TYPE_RAW_TRACEPOINT => TypeRow { since: Some((5, 10)), ctx: true, ..NONE },
        sys::BPF_PROG_TYPE_SK_LOOKUP => {
            TypeRow { since: Some((5, 13)), ctx: true, ctx_out: true, repeats: true, ..NONE }
        }
        sys::BPF_PROG_TYPE_SYSCALL => TypeRow { since: Some((5, 14)), ctx: true, ctx_in_place: true, ..NONE },
        sys::BPF_PROG_TYPE_STRUCT_OPS => TypeRow { since: Some((5, 16)), ctx: true, ..NONE },
        _ => NONE,
    };
    TypeRow { prog_type, ..row }
}

impl TypeRow {
    /// libbpf's name of the type.
    pub(super) fn name(&self) -> String {
        // SAFETY: gives a string that lives as long as the program, or null for types that libbpf does not know.
        let name = unsafe {
            let name = sys::libbpf_bpf_prog_type_str(self.prog_type);
            (!name.is_null()).then(|| CStr::from_ptr(name))
        };
        name.map_or_else(|| format!("number {}", self.prog_type), |n| n.to_string_lossy().into_owned())
    }

    /// What is likely wrong with an input that the kernel calls invalid.
    pub(super) fn hint(&self, data: usize, ctx: usize) -> String {
        if data > 0 && !self.data {
            " (this type takes no packet)".to_owned()
        } else if ctx > 0 && !self.ctx {
            " (this type takes no context)".to_owned()
        } else if data < self.least_data {
            format!(" (the packet has {data} bytes, and needs {} at least)", self.least_data)
        } else if ctx > 0 && self.data {
            " (does the context set fields that a test run does not take, or is the kernel too old for a context?)".to_owned()
        } else if self.ctx {
            format!(" (the context has {ctx} bytes: the program reads beyond, or it is too long)")
        } else {
            String::new()
        }
    }
}

/// The running kernel's version, as `uname` gives it.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) text: String,
}

/// The running kernel.
pub(super) fn running() -> Running {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Running { text: text.trim().to_owned() }
}

impl Running {
    /// Its first two numbers.
    pub(super) fn parse(&self) -> Option<(u32, u32)> {
        let mut numbers = self.text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Running, row};

    #[test]
    fn versions_are_read_from_any_release_text() {
        let parse = |text: &str| Running { text: text.to_owned() }.parse();
        assert_eq!(parse("6.12.43+deb13-cloud-amd64"), Some((6, 12)));
        assert_eq!(parse("5.10.0-35-amd64"), Some((5, 10)));
        assert_eq!(parse("7.3-rc1"), Some((7, 3)));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn hints_say_what_the_type_takes() {
        let hint = |prog_type, data, ctx| row(prog_type).hint(data, ctx);
        assert!(hint(libbpf_sys::BPF_PROG_TYPE_XDP, 4, 0).contains("needs 14 at least"));
        assert!(hint(libbpf_sys::BPF_PROG_TYPE_RAW_TRACEPOINT, 4, 0).contains("takes no packet"));
        assert!(hint(libbpf_sys::BPF_PROG_TYPE_TRACING, 0, 8).contains("takes no context"));
        assert!(hint(libbpf_sys::BPF_PROG_TYPE_SYSCALL, 0, 8).contains("8 bytes"));
        assert_eq!(row(libbpf_sys::BPF_PROG_TYPE_KPROBE).since, None);
        assert_eq!(row(libbpf_sys::BPF_PROG_TYPE_KPROBE).name(), "kprobe");
        assert_eq!(row(4000).name(), "number 4000");
    }
}
