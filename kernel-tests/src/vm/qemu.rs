//! QEMU: where it is, and the command line that describes the machine.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::VmError;
use super::hardware::Hardware;
use super::protocol;
use super::standard;
use crate::kernels::{Arch, KernelImage};

/// Names the QEMU program to use for guests of this machine's architecture, instead of the one on PATH. `BPF_VM_QEMU_AMD64`
/// and `BPF_VM_QEMU_ARM64` do so for guests of that architecture.
pub const QEMU_VARIABLE: &str = "BPF_VM_QEMU";
/// Memory when nothing else is asked for.
const DEFAULT_MEMORY_MIB: u64 = 512;

/// How the guest's instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// By the processor, through `/dev/kvm`.
    Kvm,
    /// By QEMU's translator: slower, everywhere.
    Tcg,
}

/// What agent and host talk over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// A virtio-serial port: over 100 MB/s; needs drivers, which kernels before 6.12 have as modules.
    Virtio,
    /// The second serial line: 0.1 to 0.4 MB/s, no driver needed.
    Serial,
}

/// A virtual machine to be: a kernel and the hardware around it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Machine {
    /// An uncompressed `vmlinux` with a PVH note (boots fastest) or a `bzImage`.
    pub kernel: PathBuf,
    /// What the kernel is for.
    pub arch: Arch,
    /// Kernel modules to load before anything else, uncompressed or as the kernel itself can read, in order.
    pub modules: Vec<PathBuf>,
    /// Those of the modules without which nothing is to be run; of another one that does not load there is a note.
    pub asked: Vec<PathBuf>,
    /// The text of the kernel's configuration, which the guest has as `/boot/config-V`: libbpf and others look there. None of
    /// it if it is empty.
    pub config: String,
    /// What agent and host talk over.
    pub link: Link,
    /// Virtual CPUs. More than one is slower to boot, and under emulation less dependable.
    pub cpus: u32,
    /// Memory in MiB; `None` is 512, or more where the program's files ask for it.
    pub memory_mib: Option<u64>,
    /// How instructions are executed.
    pub accel: Accel,
    /// More for the kernel's command line.
    pub append: Vec<String>,
    /// The folder of snapshots: a machine that was booted once is restored from then on. `None` always boots.
    pub snapshots: Option<PathBuf>,
}

impl Machine {
    /// One CPU of this host's kind, default memory, emulated.
    #[must_use]
    pub fn new(kernel: impl Into<PathBuf>) -> Self {
        Self {
            kernel: kernel.into(),
            arch: Arch::of_host(),
            modules: Vec::new(),
            asked: Vec::new(),
            config: String::new(),
            link: Link::Virtio,
            cpus: 1,
            memory_mib: None,
            accel: Accel::Tcg,
            append: Vec::new(),
            snapshots: None,
        }
    }

    /// The same for a known kernel, with the modules and the link that it needs, and with what attaching BPF programs of all
    /// kinds takes: modules for a network (`veth`, `sch_ingress`, `cls_bpf`, `act_bpf`, where they are no part of the
    /// kernel) and the security module `bpf` (`lsm=`, where it is off by default).
    #[must_use]
    pub fn of(image: &KernelImage) -> Self {
        let mut machine = Self::new(&image.vmlinux);
        machine.arch = image.arch;
        machine.modules.clone_from(&image.modules);
        machine.modules.extend(standard::modules(image));
        machine.append.extend(standard::security_modules(image));
        machine.config = image.config.to_string();
        // Debian's kernels have the driver as a module before 6.12 and built in from then on. Of a bare file nothing is
        // known, and the serial line is the one channel that every kernel has.
        let driver = !image.modules.is_empty() || image.builtin.iter().any(|name| name == "virtio_console");
        machine.link = if driver { Link::Virtio } else { Link::Serial };
        machine
    }

    /// The memory that the machine gets for files of this many bytes: they are there twice while the kernel unpacks them.
    #[must_use]
    pub fn memory_for(&self, files: u64) -> u64 {
        // In large steps: a snapshot serves machines of one size only.
        self.memory_mib.unwrap_or_else(|| (256 + 3 * (files >> 20)).next_multiple_of(DEFAULT_MEMORY_MIB))
    }
}

/// The file of a snapshot that holds the guest's memory.
pub(super) const RAM: &str = "ram";

/// The files that QEMU inherits besides the standard ones: the initramfs, and a socket for its control protocol. (Numbers
/// of one digit are what a shell can pass on.)
pub(super) const INITRAMFS: i32 = 7;
pub(super) const QMP: i32 = 8;

/// How a machine comes to life.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start<'a> {
    /// It boots, with a talkative console or not.
    Cold { verbose: bool },
    /// It boots so that it can be saved in this folder.
    Save { folder: &'a Path },
    /// It goes on from what was saved, and `changes` the memory in the folder or has a copy of its own.
    Restore { folder: &'a Path, changes: bool },
}

impl<'a> Start<'a> {
    /// What is of no use to anybody if this process is killed.
    pub(super) fn leftover(self) -> Option<&'a Path> {
        match self {
            Self::Save { folder } | Self::Restore { folder, changes: true } => Some(folder),
            Self::Cold { .. } | Self::Restore { .. } => None,
        }
    }
}

/// A path inside a QEMU option, where a comma is written twice.
fn option(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// An installed QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    program: PathBuf,
    qboot: bool,
}

impl Qemu {
    /// The QEMU for guests of this machine's architecture: the one that `BPF_VM_QEMU` names, or the one on PATH.
    ///
    /// # Errors
    ///
    /// [`VmError::QemuMissing`], which says how to install it.
    pub fn find() -> Result<Self, VmError> {
        Self::find_for(Arch::of_host())
    }

    /// The same for guests of any architecture, which [`QEMU_VARIABLE`] with its name chooses.
    ///
    /// # Errors
    ///
    /// [`VmError::QemuMissing`], which says how to install it.
    pub fn find_for(arch: Arch) -> Result<Self, VmError> {
        let named = |variable| env::var_os(variable).filter(|name| !name.is_empty());
        let named = named(Hardware::of(arch).variable)
            .or_else(|| if arch == Arch::of_host() { named(QEMU_VARIABLE) } else { None });
        Self::find_in(arch, named.as_deref().map(Path::new), &env::var_os("PATH").unwrap_or_default())
    }

    /// The QEMU at this path.
    ///
    /// # Errors
    ///
    /// [`VmError::QemuMissing`].
    pub fn at(program: &Path) -> Result<Self, VmError> {
        Self::find_in(Arch::of_host(), Some(program), std::ffi::OsStr::new(""))
    }

    fn find_in(arch: Arch, named: Option<&Path>, path: &std::ffi::OsStr) -> Result<Self, VmError> {
        let wanted = named.unwrap_or(Path::new(Hardware::of(arch).program));
        let program = find_program(wanted, path)
            .ok_or_else(|| VmError::QemuMissing { program: wanted.display().to_string(), arch })?;
        let beside = program.canonicalize().ok();
        let beside =
            beside.as_deref().and_then(|real| real.parent()?.parent()).map(|root| root.join("share/qemu"));
        let qboot = beside
            .into_iter()
            .chain([PathBuf::from("/usr/share/qemu")])
            .any(|d| d.join("qboot.rom").exists());
        Ok(Self { program, qboot })
    }

    /// The program's path.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The command line. The console is QEMU's standard output and the agent's channel its standard input, which is a
    /// socket: no path, no port and no temporary file through which anybody else could reach the guest.
    pub(super) fn arguments(&self, machine: &Machine, memory_mib: u64, start: Start<'_>) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
        let hardware = Hardware::of(machine.arch);
        // Nothing by default: no disk, no network, no monitor, no user's configuration.
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "bpf-vm"]);
        let memory = if matches!(start, Start::Cold { .. }) { "" } else { ",memory-backend=mem" };
        add(&["-M", &format!("{}{memory}", hardware.board(machine.accel))]);
        add(&hardware.processor(machine.accel));
        add(&["-m", &format!("{memory_mib}M"), "-smp", &machine.cpus.to_string()]);
        if self.qboot && machine.arch == Arch::Amd64 {
            add(&["-bios", "qboot.rom"]);
        }
        add(&["-chardev", "file,id=console,path=/dev/stdout", "-serial", "chardev:console"]);
        add(&["-chardev", "socket,id=agent,fd=0"]);
        if machine.link == Link::Virtio {
            add(&[
                "-device",
                "virtio-serial-pci",
                "-device",
                &format!("virtserialport,chardev=agent,name={}", protocol::PORT),
            ]);
        }
        add(hardware.devices(machine.link));
        let (boots, verbose) = match start {
            Start::Cold { verbose } => (true, verbose),
            Start::Save { .. } => (true, false),
            Start::Restore { .. } => {
                add(&["-incoming", "defer"]);
                (false, false)
            }
        };
        if let Start::Save { folder } | Start::Restore { folder, .. } = start {
            // Shared memory is the saved file itself; a private mapping is a copy made page by page, on write.
            let own = matches!(start, Start::Restore { changes: false, .. });
            let share = if own { "off" } else { "on" };
            let path = folder.join(RAM);
            add(&[
                "-object",
                &format!(
                    "memory-backend-file,id=mem,size={memory_mib}M,share={share},mem-path={}",
                    option(&path)
                ),
            ]);
            add(&["-chardev", &format!("socket,id=qmp,fd={QMP}"), "-mon", "chardev=qmp,mode=control"]);
        }
        if !boots {
            return args;
        }
        let mut line = hardware.command_line(verbose);
        let link = (machine.link == Link::Serial).then(|| protocol::SERIAL_LINK.to_owned());
        for word in link.iter().chain(&machine.append) {
            line.push(' ');
            line.push_str(word);
        }
        add(&["-append", &line]);
        add(&["-initrd", &format!("/proc/self/fd/{INITRAMFS}")]);
        args.extend(["-kernel".into(), machine.kernel.clone().into()]);
        args
    }
}

/// The file that `name` means: itself when it has a slash, else the first executable of that name on `path`.
pub(super) fn find_program(name: &Path, path: &std::ffi::OsStr) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return Some(name.to_path_buf()).filter(|name| is_executable(name));
    }
    env::split_paths(path).map(|folder| folder.join(name)).find(|candidate| is_executable(candidate))
}

/// Whether it is a file that may be executed.
pub(super) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_qemu_says_how_to_get_it() {
        for (arch, words) in [
            (
                Arch::Amd64,
                ["qemu-system-x86_64 was not found", "apt install qemu-system-x86;", "BPF_VM_QEMU_AMD64"],
            ),
            (
                Arch::Arm64,
                ["qemu-system-aarch64 was not found", "apt install qemu-system-arm;", "BPF_VM_QEMU_ARM64"],
            ),
        ] {
            let error = Qemu::find_in(arch, None, "/nonexistent".as_ref()).expect_err("there is none");
            assert!(matches!(error, VmError::QemuMissing { .. }));
            assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
        }
    }

    #[test]
    fn the_machine_has_no_disk_no_network_and_no_shared_folder() {
        for arch in [Arch::Amd64, Arch::Arm64] {
            let text = command_line(arch, Start::Cold { verbose: false });
            assert!(text.contains("-nodefaults"), "{text}");
            for word in ["-drive", "-netdev", "-virtfs", "virtiofs", "-hda", "-monitor"] {
                assert!(!text.contains(word), "{word} in {text}");
            }
        }
    }

    fn command_line(arch: Arch, start: Start<'_>) -> String {
        let qemu = Qemu { program: "qemu".into(), qboot: true };
        let mut machine = Machine::new("/k");
        machine.arch = arch;
        qemu.arguments(&machine, 512, start).join(" ".as_ref()).into_string().expect("text")
    }

    #[test]
    fn a_saved_machine_is_restored_with_the_same_devices() {
        let folder = Path::new("/a,b");
        for (arch, board) in [(Arch::Amd64, "-M q35,"), (Arch::Arm64, "-M virt,gic-version=3,")] {
            let saved = command_line(arch, Start::Save { folder });
            let restored = command_line(arch, Start::Restore { folder, changes: false });
            assert!(saved.contains(&format!("{board}memory-backend=mem ")), "{saved}");
            assert!(restored.contains("share=off,mem-path=/a,,b/ram"), "{restored}");
            // What a saved machine has more: a kernel and its command line.
            let (devices, _) = saved.split_once(" -append ").expect("a command line for the kernel");
            let same = restored.replace(" -incoming defer", "").replace("share=off", "share=on");
            assert_eq!(same, devices);
            assert_eq!(saved.contains("qboot"), arch == Arch::Amd64);
        }
    }

    #[test]
    fn memory_grows_with_the_files_unless_it_was_chosen() {
        let mut machine = Machine::new("/k");
        assert_eq!(machine.memory_for(20 << 20), 512);
        assert_eq!(machine.memory_for(400 << 20), 1536);
        machine.memory_mib = Some(300);
        assert_eq!(machine.memory_for(400 << 20), 300);
    }
}
