//! What depends on the guest's architecture: which QEMU, board and processor, and the kernel's words for its devices.

use super::qemu::{Accel, Link};
use crate::kernels::Arch;

/// The hardware of one architecture.
#[derive(Debug)]
pub(super) struct Hardware {
    /// QEMU's program.
    pub(super) program: &'static str,
    /// Where distributions have it.
    pub(super) install: &'static str,
    /// Names another program for guests of this architecture.
    pub(super) variable: &'static str,
    /// The board, emulated and under KVM.
    board: [&'static str; 2],
    /// The processor when it is emulated.
    processor: &'static str,
    /// The board's first serial line, for the console.
    console: &'static str,
    /// Words for the kernel's command line when it should show how far it comes.
    early: &'static str,
    /// Words for the kernel's command line, always.
    words: &'static str,
    /// The second serial line, in QEMU's words.
    serial: &'static [&'static str],
}

const AMD64: Hardware = Hardware {
    program: "qemu-system-x86_64",
    install: "Debian, Ubuntu: apt install qemu-system-x86; Fedora: dnf install qemu-system-x86-core; Arch: pacman -S \
              qemu-system-x86",
    variable: "BPF_VM_QEMU_AMD64",
    board: ["q35", "q35"],
    processor: "max",
    console: "ttyS0",
    early: "earlyprintk=ttyS0",
    // Without the timer's check a loaded host is not taken for a broken one.
    words: "no_timer_check",
    serial: &["-serial", "chardev:agent"],
};

const ARM64: Hardware = Hardware {
    program: "qemu-system-aarch64",
    install: "Debian, Ubuntu: apt install qemu-system-arm; Fedora: dnf install qemu-system-aarch64-core; Arch: pacman -S \
              qemu-system-aarch64",
    variable: "BPF_VM_QEMU_ARM64",
    // Emulation has any interrupt controller, real machines the one they have.
    board: ["virt,gic-version=3", "virt,gic-version=max"],
    // `max` has what kernels before 5.12 hang on (52-bit addresses) and what takes most of a boot's time (pointer
    // authentication); older processors lack the atomic instructions that the kernel's compiler of BPF uses.
    processor: "neoverse-n1",
    console: "ttyAMA0",
    early: "earlycon",
    words: "",
    // The board has one line only, until QEMU 9.1.
    serial: &["-device", "pci-serial,chardev=agent"],
};

impl Hardware {
    pub(super) fn of(arch: Arch) -> &'static Self {
        match arch {
            Arch::Amd64 => &AMD64,
            Arch::Arm64 => &ARM64,
        }
    }

    /// The board.
    pub(super) fn board(&self, accel: Accel) -> &'static str {
        let [emulated, kvm] = self.board;
        if accel == Accel::Kvm { kvm } else { emulated }
    }

    /// Who executes, and what processor the guest sees.
    pub(super) fn processor(&self, accel: Accel) -> [&'static str; 4] {
        match accel {
            Accel::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Kernels patch their own code while they run (static jumps, kprobes), and emulated CPUs on threads of their
            // own have been seen to run it half patched (`Oops: int3`). One thread for all of them costs little.
            Accel::Tcg => ["-accel", "tcg,thread=single", "-cpu", self.processor],
        }
    }

    /// The agent's line where it is not a virtio port.
    pub(super) fn devices(&self, link: Link) -> &'static [&'static str] {
        if link == Link::Serial { self.serial } else { &[] }
    }

    /// The kernel's command line.
    pub(super) fn command_line(&self, verbose: bool) -> String {
        let Self { console, early, words, .. } = self;
        let level = if verbose { format!("{early} loglevel=7") } else { "loglevel=5".to_owned() };
        let words = if words.is_empty() { String::new() } else { format!(" {words}") };
        format!(
            "console={console} {level} panic=-1 oops=panic{words} cryptomgr.notests random.trust_cpu=on rdinit=/init"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_architecture_has_its_own_words() {
        let amd64 = Hardware::of(Arch::Amd64);
        assert_eq!(
            amd64.command_line(false),
            "console=ttyS0 loglevel=5 panic=-1 oops=panic no_timer_check cryptomgr.notests random.trust_cpu=on \
             rdinit=/init"
        );
        let arm64 = Hardware::of(Arch::Arm64);
        assert_eq!(
            arm64.command_line(true),
            "console=ttyAMA0 earlycon loglevel=7 panic=-1 oops=panic cryptomgr.notests random.trust_cpu=on rdinit=/init"
        );
        assert!(arm64.devices(Link::Virtio).is_empty());
        assert_eq!(arm64.devices(Link::Serial), ["-device", "pci-serial,chardev=agent"]);
        assert_eq!(amd64.devices(Link::Serial), ["-serial", "chardev:agent"]);
        assert_eq!(arm64.processor(Accel::Kvm)[3], "host");
        assert_eq!(arm64.board(Accel::Kvm), "virt,gic-version=max");
    }
}
