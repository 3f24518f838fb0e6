//! `bpf-harness diff`: an object on the simulator and on kernels.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Format, Status, input, json_line};
use crate::diff::{self, Facts, Wanted};
use crate::tier::Tier;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    what: What,
    /// A kernel, as `bpf-vm run` takes it: 6.12, newest, ...; several are compared one after another
    #[arg(long, value_name = "SPEC", required_unless_present = "here")]
    kernel: Vec<String>,
    /// Compare with the running kernel, without a virtual machine; needs root
    #[arg(long)]
    here: bool,
    /// A map, or a heading such as `trace`, that need not be the same; may be given more than once
    #[arg(long, value_name = "NAME")]
    ignore: Vec<String>,
    /// The program `bpf-vm` [default: beside this program, or on PATH]
    #[arg(long, value_name = "FILE", env = "BPF_VM")]
    bpf_vm: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Arguments of the program of a test, such as the name of one test
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<OsString>,
}

/// What both tiers run; also the arguments of `facts`, which runs one of them.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// The compiled object; for `diff` also the program of a test, as `cargo test --no-run` names it
    object: PathBuf,
    /// A scenario; without one each program runs once, with the default input of its type
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Only this program
    #[arg(long, value_name = "NAME", conflicts_with = "scenario")]
    program: Option<String>,
}

/// Name of the subcommand that a virtual machine runs.
const FACTS: &str = "facts";

pub(super) fn facts_main(what: &What, out: &mut dyn Write) -> io::Result<Status> {
    let facts = Tier::from_env().map_err(|e| e.to_string()).and_then(|tier| facts(what, tier));
    match facts {
        Ok(facts) => json_line(out, &facts).map(|()| Status::Ok),
        Err(why) => Err(io::Error::other(why)),
    }
}

pub(super) fn main(args: &Args, out: &mut dyn Write) -> io::Result<Status> {
    let is_test = is_test(&args.what.object).map_err(io::Error::other)?;
    let on = |tier| if is_test { tests::here(args, tier) } else { facts(&args.what, tier) };
    let simulated = on(Tier::Simulator).map_err(io::Error::other)?;
    let mut status = Status::Ok;
    let mut kernels: Vec<(String, Facts)> = Vec::new();
    if args.here {
        let facts = on(Tier::Kernel).map_err(io::Error::other)?;
        kernels.push(("this kernel".to_owned(), facts));
    }
    for spec in &args.kernel {
        let facts =
            if is_test { tests::in_machine(args, spec) } else { in_machine(args, spec, simulated.cpus) };
        let facts = facts.map_err(|why| io::Error::other(format!("kernel {spec}: {why}")))?;
        kernels.push((format!("kernel {spec}"), facts));
    }
    for (name, facts) in &kernels {
        let report = diff::compare(&simulated, facts, &args.ignore);
        if !report.differences.is_empty() {
            status = status.and(Status::Failed);
        } else if report.agreed.is_empty() {
            // Nothing was compared, and that is no agreement.
            status = status.and(Status::Unsupported);
        }
        match args.format {
            Format::Text => out.write_all(diff::side_by_side(&report, "simulator", name).as_bytes())?,
            Format::Json => json_line(out, &serde_json::json!({ "kernel": name, "report": report }))?,
        }
    }
    Ok(status)
}

fn facts(what: &What, tier: Tier) -> Result<Facts, String> {
    let object = input::read(&what.object)?;
    let mut wanted = Wanted::of(&object);
    wanted.program = what.program.as_deref();
    let text = what.scenario.as_ref().map(|path| {
        String::from_utf8(input::read(path)?).map_err(|_| format!("{}: not UTF-8 text", path.display()))
    });
    let text = text.transpose()?;
    wanted.scenario = what.scenario.as_deref().zip(text.as_deref());
    let facts = diff::facts(&wanted, tier).map_err(|e| format!("{}: {e}", what.object.display()))?;
    match (&what.program, facts.groups.is_empty()) {
        (Some(name), true) => Err(format!("{}: there is no program '{name}'", what.object.display())),
        _ => Ok(facts),
    }
}

/// This very program in a virtual machine, as `bpf-harness facts`.
fn in_machine(args: &Args, spec: &str, cpus: Option<u32>) -> Result<Facts, String> {
    let this = std::env::current_exe().map_err(|e| format!("this program cannot be found: {e}"))?;
    let tool = tool(args)?;
    let object = full(&args.what.object)?;
    let mut command = Command::new(&tool);
    command.args(["run", "--kernel", spec, "--env", "BPF_HARNESS_TIER=kernel", "--ro"]).arg(&object);
    // A scenario may let things happen on any of its CPUs.
    if let Some(cpus) = cpus.filter(|n| *n > 1) {
        command.args(["--cpus", &cpus.to_string()]);
    }
    let mut rest: Vec<OsString> = vec![this.into_os_string(), FACTS.into(), object.into_os_string()];
    if let Some(path) = &args.what.scenario {
        let path = full(path)?;
        command.arg("--ro").arg(&path);
        rest.extend(["--scenario".into(), path.into_os_string()]);
    }
    if let Some(name) = &args.what.program {
        rest.extend(["--program".into(), name.into()]);
    }
    let done = command.arg("--").args(rest).stderr(Stdio::inherit()).output();
    let done = done.map_err(|e| no_tool(&tool, &e))?;
    if !done.status.success() {
        return Err(format!("the run on the kernel failed ({})", done.status));
    }
    let line = done.stdout.split(|b| *b == b'\n').rfind(|l| !l.is_empty()).unwrap_or_default();
    serde_json::from_slice(line).map_err(|e| format!("the run on the kernel gave no facts: {e}"))
}

fn full(path: &Path) -> Result<PathBuf, String> {
    std::fs::canonicalize(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// `bpf-vm`: the one that is named, else the one beside this program, else the one on PATH.
fn tool(args: &Args) -> Result<PathBuf, String> {
    if let Some(named) = &args.bpf_vm {
        return Ok(named.clone());
    }
    let this = std::env::current_exe().map_err(|e| format!("this program cannot be found: {e}"))?;
    let sibling = this.with_file_name("bpf-vm");
    Ok(if sibling.is_file() { sibling } else { PathBuf::from("bpf-vm") })
}

fn no_tool(tool: &Path, e: &io::Error) -> String {
    let what = "it is the tool of bpf-kernel-tests, name it with --bpf-vm";
    format!("{} cannot be started: {e}; {what}", tool.display())
}

/// Whether a file is a program of this machine, and not an object of BPF's.
fn is_test(path: &Path) -> Result<bool, String> {
    const EM_BPF: [u8; 2] = [247, 0];
    let bytes = input::read(path)?;
    let is_elf = bytes.starts_with(b"\x7fELF");
    Ok(is_elf && bytes.get(18..20).is_some_and(|machine| machine != EM_BPF && machine != [0, 247]))
}

/// Programs of tests, which leave their facts in a file.
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::{Args, full, no_tool, tool};
    use crate::diff::{self, Facts};
    use crate::tier::Tier;

    /// The file, in a folder of its own.
    const FILE: &str = "facts";

    /// With more than one thread each test has its own, whose name says which test it is. Snapshots are not what is
    /// compared: they are neither written nor the end of a test.
    const VARIABLES: [(&str, &str); 3] =
        [("RUST_TEST_THREADS", "2"), ("INSTA_UPDATE", "no"), ("INSTA_FORCE_PASS", "1")];

    pub(super) fn here(args: &Args, tier: Tier) -> Result<Facts, String> {
        let dir = Scratch::new()?;
        let file = dir.path().join(FILE);
        let tier = if tier == Tier::Kernel { "kernel" } else { "sim" };
        let mut command = Command::new(full(&args.what.object)?);
        command.args(&args.rest).env(diff::VARIABLE, &file).env("BPF_HARNESS_TIER", tier).envs(VARIABLES);
        let done = command.stdout(Stdio::null()).status();
        let done = done.map_err(|e| format!("{}: {e}", args.what.object.display()))?;
        // A test that fails on one tier still says what it has seen.
        if !done.success() {
            eprintln!("bpf-harness: the tests failed on the {tier} tier ({done})");
        }
        read(&file)
    }

    pub(super) fn in_machine(args: &Args, spec: &str) -> Result<Facts, String> {
        let dir = Scratch::new()?;
        let tool = tool(args)?;
        let mut command = Command::new(&tool);
        command
            .args(["run", "--kernel", spec, "--env", "BPF_HARNESS_TIER=kernel", "--results"])
            .arg(dir.path());
        for (name, value) in VARIABLES {
            command.args(["--env", &format!("{name}={value}")]);
        }
        command.args(["--env", &format!("{}={FILE}", diff::VARIABLE)]).arg("--");
        command.arg(full(&args.what.object)?).args(args.rest.iter().map(AsRef::<OsStr>::as_ref));
        let done = command.stdout(Stdio::null()).status().map_err(|e| no_tool(&tool, &e))?;
        if !done.success() {
            eprintln!("bpf-harness: the tests failed on kernel {spec} ({done})");
        }
        read(&dir.path().join(FILE))
    }

    fn read(file: &Path) -> Result<Facts, String> {
        let text = std::fs::read_to_string(file)
            .map_err(|e| format!("the tests left no facts ({e}): do they use bpf_harness::Bpf?"))?;
        diff::read_facts(&text).map_err(|e| format!("the facts of the tests: {e}"))
    }

    /// A folder that goes with its value.
    struct Scratch(std::path::PathBuf);

    impl Scratch {
        fn new() -> Result<Self, String> {
            let base = std::env::temp_dir();
            for n in 0..1000 {
                let path = base.join(format!("bpf-harness-diff-{}-{n}", std::process::id()));
                match std::fs::create_dir(&path) {
                    Ok(()) => return Ok(Self(path)),
                    Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                    Err(e) => return Err(format!("{}: {e}", path.display())),
                }
            }
            Err(format!("{}: no folder can be made there", base.display()))
        }

        fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // What cannot be removed is left to whoever cleans the folder of temporary files.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
