//! Programs for arm64 in real arm64 machines, emulated on others. On the newest arm64 kernel that is kept
//! (`bpf-vm kernels fetch 6.12 --arch arm64`), or the one that BPF_VM_TEST_ARM64_KERNEL names. Without QEMU, a kernel or a
//! guest they are skipped with the reason; with that variable set this is a failure.

mod support;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bpf_kernel_tests::kernels::{Arch, KernelImage};
use bpf_kernel_tests::vm::{self, Job, Link, Machine, Qemu, VmError};
use serial_test::serial;
use support::{image, or_skip};

const KERNEL: &str = "BPF_VM_TEST_ARM64_KERNEL";
const COMPILER: &str = "aarch64-linux-gnu-gcc";

/// The kernel to test on, or nothing and the reason on standard error.
fn kernel() -> Option<(Qemu, KernelImage)> {
    let (qemu, image, _) = or_skip(KERNEL, image(Arch::Arm64, KERNEL))?;
    Some((qemu, image))
}

/// Runs the tool with these arguments on a kernel.
fn run(image: &KernelImage, args: &[&str], program: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpf-vm"));
    command.args(["run", "--timeout", "60", "--kernel", &image.version.to_string()]);
    command.args(args).arg("--").arg(program).output().expect("the tool starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A static program, made of its machine code: it writes "from arm64" and exits with status 7.
fn by_hand(at: &Path) {
    const CODE: [u32; 8] = [
        0xd280_0020, // mov x0, #1
        0x1000_00e1, // adr x1, 0x1c bytes on
        0xd280_0162, // mov x2, #11
        0xd280_0808, // mov x8, #64 (write)
        0xd400_0001, // svc #0
        0xd280_00e0, // mov x0, #7
        0xd280_0ba8, // mov x8, #93 (exit)
        0xd400_0001, // svc #0
    ];
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let code: Vec<u8> = CODE.iter().flat_map(|word| word.to_le_bytes()).chain(*b"from arm64\n").collect();
    let size = HEADERS + code.len() as u64;
    // ET_EXEC, EM_AARCH64; one PT_LOAD, readable and executable.
    for (value, width) in [
        (2, 2),
        (183, 2),
        (1, 4),
        (BASE + HEADERS, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (1, 2),
        (64, 2),
        (0, 2),
        (0, 2),
        (1, 4),
        (5, 4),
        (0, 8),
        (BASE, 8),
        (BASE, 8),
        (size, 8),
        (size, 8),
        (0x1000, 8),
    ] {
        bytes.extend(&u64::to_le_bytes(value)[..width]);
    }
    bytes.extend(code);
    fs::write(at, bytes).expect("a program");
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).expect("it is executable");
}

/// A dynamic program, or nothing and the reason on standard error.
fn compiled(folder: &Path) -> Option<PathBuf> {
    let (source, program) = (folder.join("program.c"), folder.join("program"));
    let code = r#"
        #include <fcntl.h>
        #include <math.h>
        #include <stdio.h>
        #include <sys/utsname.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            struct utsname name;
            uname(&name);
            printf("%s %.1f\n", name.machine, sqrt(argc));
            return argc > 1 && write(open("/proc/sysrq-trigger", O_WRONLY), "c", 1);
        }"#;
    fs::write(&source, code).expect("a file");
    match Command::new(COMPILER).arg("-o").arg(&program).arg(&source).arg("-lm").status() {
        Ok(status) if status.success() => Some(program),
        Ok(status) => panic!("{COMPILER}: {status}"),
        Err(error) => {
            eprintln!(
                "skipped: {COMPILER}: {error} (Debian: apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross)"
            );
            None
        }
    }
}

#[test]
#[serial(vm)]
fn a_programs_own_architecture_chooses_the_machine() {
    let Some((_, image)) = kernel() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let program = dir.path().join("program");
    by_hand(&program);
    // Booted, restored, and with the architecture named as scripts for several would.
    for args in [&["--cold"][..], &[], &["--arch", "aarch64", "--verbose"]] {
        let output = run(&image, args, &program);
        assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "from arm64\n");
        assert!(args.len() < 3 || text(&output.stderr).contains(&image.release), "{}", text(&output.stderr));
    }
}

#[test]
#[serial(vm)]
fn a_loader_and_libraries_come_from_the_cross_compiler_or_a_named_root() {
    let Some((_, image)) = kernel() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(program) = compiled(dir.path()) else { return };
    let output = run(&image, &[], &program);
    assert_eq!(text(&output.stdout), "aarch64 1.0\n", "{}", text(&output.stderr));

    // A root with another layout, where the libraries are taken from the compiler's folder.
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("usr/lib")).expect("folders");
    symlink("usr/lib", root.join("lib")).expect("a link");
    let named = root.to_str().expect("text");
    let empty = run(&image, &["--sysroot", named], &program);
    assert_eq!(empty.status.code(), Some(127));
    assert!(
        text(&empty.stderr).contains("needs the loader /lib/ld-linux-aarch64.so.1"),
        "{}",
        text(&empty.stderr)
    );
    for library in ["ld-linux-aarch64.so.1", "libm.so.6", "libc.so.6"] {
        let found =
            Command::new(COMPILER).arg(format!("-print-file-name={library}")).output().expect("it is there");
        fs::copy(text(&found.stdout).trim(), root.join("usr/lib").join(library)).expect("a copy");
    }
    let output = run(&image, &["--sysroot", named], &program);
    assert_eq!(text(&output.stdout), "aarch64 1.0\n", "{}", text(&output.stderr));
}

#[test]
#[serial(vm)]
fn a_machine_without_virtio_has_a_serial_line_and_a_crash_has_its_trace() {
    let Some((qemu, image)) = kernel() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let program = dir.path().join("program");
    by_hand(&program);
    let mut machine = Machine::of(&image);
    machine.link = Link::Serial;
    let start = |program: &Path, args: &[&str]| {
        let mut job = Job::new(program, args.iter().map(OsString::from));
        job.workspace = None;
        job.timeout = Duration::from_secs(60);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut output = vm::Output { stdout: &mut stdout, stderr: &mut stderr };
        let result = vm::run(&qemu, &machine, &job, &mut output, None);
        (result, text(&stdout))
    };
    let (result, stdout) = start(&program, &[]);
    assert_eq!((result.expect("it ran").status, &*stdout), (7, "from arm64\n"));

    let Some(program) = compiled(dir.path()) else { return };
    let error = start(&program, &["crash"]).0.expect_err("the kernel crashed");
    let VmError::Panic { reason, trace } = &error else { panic!("{error}") };
    assert!(reason.contains("sysrq triggered crash") && trace.contains("write_sysrq_trigger"), "{error}");
}

#[test]
fn a_program_for_another_machine_is_refused_before_anything_is_fetched() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let program = dir.path().join("program");
    by_hand(&program);
    let output = Command::new(env!("CARGO_BIN_EXE_bpf-vm"))
        .args(["run", "--arch", "amd64", "--kernel", "1.0", "--"])
        .arg(&program)
        .output()
        .expect("the tool starts");
    let words = "is a program for arm64, the guest is amd64: build it for that (x86_64-unknown-linux-gnu), or take a \
                 kernel for the program (--arch arm64)";
    assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(126));
}
