//! For tests of the kernel tier: whether they can run here.

use crate::tier::Tier;

/// Whether this process may use the kernel's BPF. If not, says why; where the kernel tier is asked for, that is a failure.
pub(crate) fn kernel() -> bool {
    let Some(reason) = unavailable() else { return true };
    assert!(!matches!(Tier::from_env(), Ok(Tier::Kernel)), "tests of the kernel tier cannot run: {reason}");
    println!("skipped: {reason}");
    false
}

fn unavailable() -> Option<String> {
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } != 0 {
        return Some("not root; run `sudo -E cargo test`, or `bpf-vm run -- TEST_BINARY`".to_owned());
    }
    // SAFETY: two instructions of a local array; no log is asked for.
    let fd = unsafe {
        let insns = [
            libbpf_sys::bpf_insn { code: 0xb7, ..Default::default() },
            libbpf_sys::bpf_insn { code: 0x95, ..Default::default() },
        ];
        let license = c"GPL".as_ptr();
        let kind = libbpf_sys::BPF_PROG_TYPE_SOCKET_FILTER;
        libbpf_sys::bpf_prog_load(kind, std::ptr::null(), license, insns.as_ptr(), 2, std::ptr::null_mut())
    };
    if fd < 0 {
        return Some(format!("bpf(2) does not work here: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: the descriptor was just made.
    unsafe { libc::close(fd) };
    None
}

/// Whether the running kernel is older than a version.
pub(crate) fn older_than(version: (u32, u32)) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let now = (numbers.next(), numbers.next());
    matches!(now, (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < version)
}
