//! What `bpf-vm run` does with its standard input, a terminal, signals and options. Real machines.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serial_test::serial;
use support::tool;

fn with_input(mut command: Command, input: Vec<u8>) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the tool starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A program that does not read its input breaks the pipe.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    let _ = writer.join();
    output
}

#[test]
#[serial(vm)]
fn standard_input_reaches_the_program_byte_by_byte() {
    let Some(mut command) = tool() else { return };
    let input: Vec<u8> = (0..3_000_000u32).map(|number| (number.wrapping_mul(number) >> 8) as u8).collect();
    command.args(["--", "cat"]);
    let output = with_input(command, input.clone());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == input, "{} bytes of {}", output.stdout.len(), input.len());
}

#[test]
#[serial(vm)]
fn a_program_that_does_not_read_its_input_ends_all_the_same() {
    let Some(mut command) = tool() else { return };
    command.args(["--", "sh", "-c", "read line; echo $line"]);
    let mut input = b"first\n".to_vec();
    input.resize(4 << 20, b'x');
    let output = with_input(command, input);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "first\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[serial(vm)]
fn a_program_whose_output_nobody_reads_keeps_its_status() {
    for script in ["printf x; exit 3", "echo x; exit 3"] {
        let Some(mut command) = tool() else { return };
        let pipes = command.args(["--", "sh", "-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = pipes.spawn().expect("the tool starts");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(3), "{script}");
    }
}

#[test]
#[serial(vm)]
fn a_program_whose_output_nobody_reads_is_told() {
    let Some(mut command) = tool() else { return };
    command.args(["--ro", "/usr/bin/yes", "--", "yes"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the tool starts");
    let mut some = [0; 4];
    child.stdout.take().expect("a pipe").read_exact(&mut some).expect("some of its output");
    assert_eq!(child.wait().expect("it ends").code(), Some(128 + 13), "SIGPIPE, as on the host");
}

#[test]
#[serial(vm)]
fn a_folder_that_the_guest_cannot_have_is_named() {
    let Some(mut command) = tool() else { return };
    let dir = std::path::Path::new("/proc").join(std::process::id().to_string()).join("net");
    let output =
        command.args(["--", "true"]).current_dir(dir).stdin(Stdio::null()).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("its working directory /proc/") && text.contains("cannot be made there"), "{text}");
    assert_eq!(output.status.code(), Some(126), "{text}");
}

#[test]
#[serial(vm)]
fn a_cold_machine_has_the_same_files_as_a_restored_one() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"caf\xe9 tool");
    let (program, data) = (dir.path().join(name), dir.path().join("data"));
    std::fs::create_dir(&data).expect("a folder");
    for (path, text, mode) in
        [(&program, "#!/bin/sh\nexec stat -c %a \"$@\"\n", 0o755), (&data.join("file"), "data", 0o666)]
    {
        std::fs::write(path, text).expect("a file");
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("its mode");
    }
    std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o2750)).expect("its mode");
    for cold in [false, true] {
        let Some(mut command) = tool() else { return };
        command.args(["--ro", "/usr/bin/stat", "--ro"]).arg(&data).args(cold.then_some("--cold"));
        command.arg("--").arg(&program).args([&data, &data.join("file")]);
        let output = command.stdin(Stdio::null()).output().expect("the tool starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "2750\n666\n", "cold: {cold}: {text}");
    }
}

#[test]
#[serial(vm)]
fn a_terminal_is_handed_through() {
    let Some(mut command) = tool() else { return };
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&near).and_then(|()| unlockpt(&near)).expect("it can be opened");
    let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&near, size).expect("it has a size");
    let path = ptsname(&near, Vec::new()).expect("it has a name").into_string().expect("text");
    let far = File::options().read(true).write(true).open(path).expect("the far end");
    // The program sees a terminal of this size; Ctrl-C is a signal in there; `stty` shows who edits lines.
    let script = "stty size; trap 'echo caught; exit 7' INT; echo ready; read line; echo \"got $line\"; \
                  while :; do read line; done";
    command.args(["--interactive", "--ro", "/bin/stty", "--", "sh", "-c", script]);
    let stream = || Stdio::from(far.try_clone().expect("another end"));
    let mut child =
        command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("the tool starts");
    drop((command, far));
    let mut near = File::from(near);
    let mut seen = String::new();
    let mut keys = [("ready\r\n", "hello\r"), ("got hello", "\u{3}")].into_iter().peekable();
    let mut buffer = [0; 4096];
    // The end is an error once nobody has the far end any more.
    while let Ok(count @ 1..) = near.read(&mut buffer) {
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if let Some((_, press)) = keys.next_if(|(until, _)| seen.contains(until)) {
            near.write_all(press.as_bytes()).expect("keys");
        }
    }
    let status = child.wait().expect("it ends");
    assert!(seen.contains("33 99") && seen.contains("caught"), "{seen}");
    assert_eq!(status.code(), Some(7), "{seen}");
}

#[test]
#[serial(vm)]
fn an_interrupt_goes_to_the_program_and_a_second_one_ends_the_machine() {
    for (script, presses, status) in [
        ("trap 'exit 5' INT; echo ready; while :; do read x < /dev/null; done", 1, 5),
        ("trap '' INT; echo ready; while :; do read x < /dev/null; done", 2, 130),
    ] {
        let Some(mut command) = tool() else { return };
        let mut child = command
            .args(["--", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the tool starts");
        let mut ready = [0; 6];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut ready).expect("the program is there");
        let pressed = Instant::now();
        for _ in 0..presses {
            kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
            thread::sleep(Duration::from_millis(300));
        }
        assert_eq!(child.wait().expect("it ends").code(), Some(status), "{script}");
        assert!(pressed.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn options_that_cannot_be_had_are_refused_by_name() {
    let foreign = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };
    for (args, status, words) in [
        // Said before anything is looked for or fetched.
        (["--arch", foreign], 126, format!("the guest is {foreign}: build it for that")),
        (["--kernel", "6.x"], 2, "`6.x` does not say which kernel".to_owned()),
        (["--kernel", "/no/such/bzImage"], 125, "cannot open the kernel /no/such/bzImage".to_owned()),
        (["--output-limit", "0"], 2, "expected 1M to 1024G".to_owned()),
        (["--arch", "mips"], 2, "expected amd64 (x86_64) or arm64 (aarch64)".to_owned()),
        (["--net", "host"], 2, "possible values: none".to_owned()),
        (["--timeout", "never"], 2, "expected a time".to_owned()),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_bpf-vm"))
            .arg("run")
            .args(args)
            .args(["--", "true"])
            .output()
            .expect("the tool starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(&words), "{text}");
        assert_eq!(output.status.code(), Some(status), "{text}");
    }
}

#[test]
#[serial(vm)]
fn interactive_without_a_terminal_is_an_error() {
    let Some(mut command) = tool() else { return };
    let output = command.args(["-i", "--", "true"]).stdin(Stdio::null()).output().expect("the tool starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("--interactive needs a terminal"), "{text}");
    assert_eq!(output.status.code(), Some(125));
}
