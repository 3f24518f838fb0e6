//! `bpf-harness bcc`, as users of any language see it.

use std::path::Path;
use std::process::Command;

use bpf_harness::compile::Clang;

/// Runs the command in the repository's root.
fn bcc(args: &[&str], clang: Option<&str>) -> (i32, String) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpf-harness"));
    command.arg("bcc").args(args).current_dir(root);
    if let Some(clang) = clang {
        command.env("BPF_CLANG", clang);
    }
    let out = command.output().expect("the tool runs");
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    (out.status.code().unwrap_or(-1), String::from_utf8(out.stdout).expect("text"))
}

fn has_clang() -> bool {
    let found = Clang::find();
    if let Err(why) = &found {
        eprintln!("skipped: {why}");
    }
    found.is_ok()
}

#[test]
fn a_scenario_prints_what_the_tools_user_sees() {
    let args = ["fixtures/objects/bcc/urandom_read.o", "--scenario", "fixtures/bcc/urandom_read.toml"];
    let (status, out) = bcc(&args, None);
    assert_eq!(status, 0, "{out}");
    insta::assert_snapshot!(out, @r"
    TIME(s)            COMM             PID    GOTBITS
    25.600000000       smtp             24600  384
    25.601000000       smtp             24600  192
    ");
    let (status, out) = bcc(&[&args[..], &["--format", "json"]].concat(), None);
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!((status, &last["output"][0]["kind"]), (0, &"print".into()), "{out}");
}

#[test]
fn without_a_scenario_every_program_runs_once() {
    let (status, out) = bcc(&["fixtures/objects/bcc/tcpconnect.o"], None);
    assert_eq!(status, 0, "{out}");
    let places: Vec<_> = out.lines().filter(|l| l.contains("instructions): ")).collect();
    assert!(places.iter().any(|l| l.ends_with(": kprobe tcp_v4_connect")), "{out}");
    assert!(places.iter().any(|l| l.ends_with(": kretprobe tcp_v4_connect")), "{out}");
    assert!(out.contains("maps: currsock, ipv4_events"), "{out}");

    let (status, out) = bcc(&["fixtures/objects/bcc/hello.o", "--format", "json"], None);
    let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((status, lines.len()), (0, 2), "{out}");
    assert_eq!(lines[0]["outcome"]["returned"], 0);
    assert!(lines[1]["trace"][0].as_str().is_some_and(|l| l.ends_with("Hello, World!")), "{out}");
}

#[test]
fn without_clang_a_text_is_refused_and_an_object_is_not() {
    let none = "/nonexistent/clang";
    let (status, out) = bcc(&["fixtures/bcc/hello.c"], Some(none));
    assert_eq!(status, 2);
    assert!(out.starts_with("error: ") && out.contains(none), "{out}");
    assert_eq!(bcc(&["fixtures/objects/bcc/hello.o"], Some(none)).0, 0);
}

#[test]
fn what_is_wrong_with_a_text_is_said_with_its_own_lines() {
    if !has_clang() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("tool.c");
    let file = file.to_str().expect("UTF-8");
    let run = |text: &str, args: &[&str]| {
        std::fs::write(file, text).expect("written");
        bcc(&[&[file], args].concat(), None)
    };
    let (status, out) = run("int kprobe__vfs_read(void *ctx)\n{\n\treturn nothing;\n}\n", &[]);
    assert_eq!(status, 2);
    assert!(out.contains("tool.c:3:9: error: ") && out.contains("nothing"), "{out}");

    let macros = "int kprobe__vfs_read(void *ctx)\n{\n\treturn ANSWER + MORE;\n}\n";
    let (status, out) = run(macros, &["-D", "ANSWER=40", "--cflag", "-DMORE=2"]);
    assert!(status == 0 && out.contains("returned 42"), "{out}");

    let reads =
        "int kprobe__vfs_read(struct pt_regs *ctx, struct file *file)\n{\n\treturn file->f_flags;\n}\n";
    assert_eq!(run(reads, &[]).0, 0);
    let (status, out) = run(reads, &["--no-auto-probe-read"]);
    assert_ne!(status, 0);
    assert!(out.contains("Failed to load BPF program kprobe__vfs_read"), "{out}");
    assert!(out.contains("invalid mem access") && out.contains("tool.c:3:"), "{out}");
}

#[test]
fn an_emitted_object_runs_as_its_text() {
    if !has_clang() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let object = dir.path().join("nodehttp.o");
    let object = object.to_str().expect("UTF-8");
    let scenario = ["--scenario", "fixtures/bcc/nodehttp.toml"];
    let emit = [&["fixtures/bcc/nodehttp.c", "--emit-object", object], &scenario[..]].concat();
    assert_eq!(bcc(&emit, None), (0, String::new()));
    assert!(Path::new(object).is_file());
    let from_text = bcc(&[&["fixtures/bcc/nodehttp.c"], &scenario[..]].concat(), None);
    assert_eq!(bcc(&[&[object], &scenario[..]].concat(), None), from_text);
    assert!(from_text.1.contains("path:/favicon.ico status:404"), "{}", from_text.1);
}

const REQUESTS: &str = "
    int on_request(struct pt_regs *ctx)
    {
        u64 id = 0;
        int status = 0;

        bpf_usdt_readarg(1, ctx, &id);
        bpf_usdt_readarg(2, ctx, &status);
        bpf_trace_printk(\"id %llu status %d\\n\", id, status);
        return 0;
    }
";

/// The library is a real ELF file, with one probe at two places.
#[test]
fn arguments_of_probes_come_from_the_notes_of_a_real_binary() {
    if !has_clang() {
        return;
    }
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/data/libserver.so");
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let text = path("requests.c", REQUESTS);
    let (status, out) = bcc(&[&text, "--usdt", &format!("{library}:request=on_request")], None);
    assert!(status == 0 && out.contains("id 0 status 0"), "{out}");
    let (status, out) = bcc(&[&text], None);
    assert!(status == 0 && out.contains("id 0 status 0"), "{out}");
    assert!(
        out.contains("note: reads arguments of a probe that no --usdt BINARY:PROBE=FUNCTION names"),
        "{out}"
    );
    for wrong in ["request=on_request", "nowhere", "/nowhere:request=on_request"] {
        assert_eq!(bcc(&[&text, "--usdt", wrong], None).0, 2, "{wrong}");
    }

    let scenario = format!(
        "[[binary]]
        path = \"/usr/lib/libserver.so.1\"
        file = \"{library}\"
        [[attach]]
        program = \"on_request\"
        usdt = \"server:request\"
        [[event]]
        probe = \"usdt/http:request\"
        args = [41, 200]
        [[event]]
        probe = \"usdt/http:request\"
        location = 1
        args = [7, -404]
        [[print]]
        trace = \"{{5}}\"\n"
    );
    let scenario = path("requests.toml", &scenario);
    let (status, out) = bcc(&[&text, "--scenario", &scenario], None);
    assert_eq!((status, out.as_str()), (0, "id 41 status 200\nid 7 status -404\n"));
}
