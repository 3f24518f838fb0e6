//! `cargo xtask bench`, the virtual machines: boot, restore, and tests of a suite per second. Wall times of this machine,
//! skipped with the reason where there is no QEMU, kernel or nextest.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Tests of the suite.
const TESTS: u32 = 50;
/// Bytes in the larger suite's binary, as debug information and a few dependencies make them.
const LARGE: usize = 120 << 20;
/// The kernel to use instead of the newest that is kept.
const KERNEL: &str = "BPF_VM_TEST_KERNEL";

pub(crate) fn run() -> Result<(), String> {
    println!();
    match measure() {
        Ok(()) => Ok(()),
        Err(Stop::Skipped(why)) => {
            println!("virtual machines: skipped: {why}");
            Ok(())
        }
        Err(Stop::Failed(why)) => Err(why),
    }
}

/// Why there are no figures.
enum Stop {
    Skipped(String),
    Failed(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

fn measure() -> Result<(), Stop> {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let tool = target.join(profile).join("bpf-vm");
    let mut build = cargo(&root);
    build.args(["build", "--quiet", "--package", "bpf-kernel-tests"]);
    if profile == "release" {
        build.arg("--release");
    }
    finish(&mut build)?;
    let tool = tool.canonicalize().map_err(|error| format!("{}: {error}", tool.display()))?;
    let kernel = env::var(KERNEL).ok().or_else(|| newest_kept(&tool));
    let kernel =
        kernel.ok_or_else(|| Stop::Skipped("no kernel is kept (bpf-vm kernels fetch 6.12)".to_owned()))?;
    let vm = |options: &[&str]| {
        let mut command = Command::new(&tool);
        command.args(["run", "--kernel", &kernel]).args(options).arg("--").stdin(Stdio::null());
        // These are no tests of this workspace.
        command.env_remove("CARGO_MANIFEST_DIR").env_remove("RUST_BACKTRACE");
        command
    };
    let trial = output(vm(&[]).arg("true"))?;
    if !trial.status.success() {
        return Err(Stop::Skipped(String::from_utf8_lossy(&trial.stderr).trim().to_owned()));
    }
    let dir = env::temp_dir().join(format!("bpf-vm-bench-{}", std::process::id()));
    let result = figures(&dir, &tool, &kernel, profile, &vm);
    let _ = fs::remove_dir_all(&dir);
    result
}

fn figures(
    dir: &Path,
    tool: &Path,
    kernel: &str,
    profile: &str,
    vm: &dyn Fn(&[&str]) -> Command,
) -> Result<(), Stop> {
    let suite = Suite::make(dir)?;
    let first = ["--exact", "test_00"];
    println!(
        "{:<52} {:>9} {:>9}",
        format!("virtual machines, Linux {kernel}, bpf-vm {profile}"),
        "median s",
        "worst s"
    );
    let row = |name: &str, mut times: Vec<Duration>| {
        times.sort();
        let seconds = |time: Option<&Duration>| time.map_or(f64::NAN, Duration::as_secs_f64);
        println!("{name:<52} {:>9.3} {:>9.3}", seconds(times.get(times.len() / 2)), seconds(times.last()));
    };
    let small = suite.build(dir, 0)?;
    row("a test on the host", timed(10, || output(Command::new(&small).args(first)))?);
    row("the same, booted", timed(5, || output(vm(&["--cold"]).arg(&small).args(first)))?);
    row("the same, restored", timed(20, || output(vm(&[]).arg(&small).args(first)))?);
    row(
        "the same, restored with 2 CPUs",
        timed(20, || output(vm(&["--cpus", "2"]).arg(&small).args(first)))?,
    );
    let large = suite.build(dir, LARGE)?;
    let mega = LARGE >> 20;
    row(
        &format!("a test binary of {mega} MB, first run"),
        timed(1, || output(vm(&[]).arg(&large).args(first)))?,
    );
    row(
        &format!("a test binary of {mega} MB, restored"),
        timed(20, || output(vm(&[]).arg(&large).args(first)))?,
    );
    if !nextest() {
        println!("a suite under nextest: skipped: cargo-nextest is not installed");
        return Ok(());
    }
    for (name, bytes) in [("small", 0), ("large", LARGE)] {
        suite.build(dir, bytes)?;
        let started = Instant::now();
        let seconds = suite.nextest(dir, tool, kernel)?;
        println!(
            "{:<52} {:>9.3} {:>7.1}/s (with listing {:.1} s)",
            format!("{TESTS} tests of a {name} binary under nextest"),
            seconds,
            f64::from(TESTS) / seconds,
            started.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

/// A crate of small tests, each of which looks at the kernel that it runs on.
struct Suite {
    target: String,
}

impl Suite {
    fn make(dir: &Path) -> Result<Self, String> {
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        fs::create_dir_all(dir.join("src")).map_err(|error| error.to_string())?;
        write("Cargo.toml", "[package]\nname = \"suite\"\nedition = \"2024\"\n\n[workspace]\n")?;
        let mut text = "#[used]\nstatic PAYLOAD: &[u8] = include_bytes!(\"payload\");\n".to_owned();
        for number in 0..TESTS {
            text += &format!(
                "#[test]\nfn test_{number:02}() {{\n    assert!(std::path::Path::new(\"/proc/version\").exists());\n}}\n"
            );
        }
        write("src/lib.rs", &text)?;
        let version = output(Command::new("rustc").arg("-vV"))?;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let target = version.lines().find_map(|line| line.strip_prefix("host: "));
        Ok(Self { target: target.ok_or("rustc does not say its host")?.to_owned() })
    }

    /// Builds the suite with so many bytes inside; gives the test binary.
    fn build(&self, dir: &Path, bytes: usize) -> Result<PathBuf, String> {
        let mut state = 1u32;
        // Noise, as code is.
        let payload: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(bytes)
        .collect();
        fs::write(dir.join("src/payload"), payload).map_err(|error| error.to_string())?;
        let built = finish(cargo(dir).args(["test", "--no-run"]))?;
        let text = String::from_utf8_lossy(&built.stderr).into_owned();
        let path = text.rsplit_once('(').and_then(|(_, rest)| rest.split_once(')'));
        let (path, _) = path.ok_or_else(|| format!("cargo does not say what it built: {text}"))?;
        // Restored machines know a program by its place: two sizes are two programs.
        let own = dir.join(format!("suite-{bytes}"));
        fs::copy(dir.join(path), &own).map_err(|error| format!("{path}: {error}"))?;
        Ok(own)
    }

    /// Runs the suite; gives the seconds that nextest says its tests took.
    fn nextest(&self, dir: &Path, tool: &Path, kernel: &str) -> Result<f64, String> {
        let variable = format!("CARGO_TARGET_{}_RUNNER", self.target.to_uppercase().replace(['-', '.'], "_"));
        let runner = format!("{} run --kernel {kernel} --", tool.display());
        let ran = finish(cargo(dir).args(["nextest", "run"]).env(variable, runner))?;
        let text = String::from_utf8_lossy(&ran.stderr).into_owned();
        let seconds = text.lines().find(|line| line.contains("Summary")).and_then(|line| {
            line.split_once('[')?.1.split_once(']')?.0.trim().trim_end_matches('s').parse().ok()
        });
        seconds.ok_or_else(|| format!("nextest gives no summary: {text}"))
    }
}

fn cargo(dir: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(dir)
        .env("CARGO_TERM_COLOR", "never")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null());
    command
}

fn nextest() -> bool {
    let version = Command::new("cargo").args(["nextest", "--version"]).output();
    version.is_ok_and(|output| output.status.success())
}

/// The newest kernel that needs no download.
fn newest_kept(tool: &Path) -> Option<String> {
    let listed = output(Command::new(tool).args(["kernels", "list"])).ok()?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let kept = text.lines().rfind(|line| line.trim_end().ends_with("kept"))?;
    kept.split_whitespace().next().map(str::to_owned)
}

fn timed(times: usize, mut run: impl FnMut() -> Result<Output, String>) -> Result<Vec<Duration>, String> {
    let mut all = Vec::new();
    // The first makes what the others use; a single one is what is measured.
    for index in 0..times + usize::from(times > 1) {
        let started = Instant::now();
        let ran = run()?;
        if !ran.status.success() {
            return Err(String::from_utf8_lossy(&ran.stderr).into_owned());
        }
        if index > 0 || times == 1 {
            all.push(started.elapsed());
        }
    }
    Ok(all)
}

fn finish(command: &mut Command) -> Result<Output, String> {
    let output = output(command)?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn output(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))
}
