//! What the verifiers of several kernels say of the programs of objects: the work behind `bpf-vm verify`.
//!
//! One virtual machine for each kernel loads all objects: this very program runs in it ([`guest_main`]) and sends back what
//! the kernel said. Logs are read here, on the host.

mod guest;
mod row;
mod text;

pub use guest::guest_main;
pub use row::{Counts, Place, Row, Verdict};
pub use text::table;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use bpf_harness::verifier_log::{Refusal, VerifierLog};
use bpf_vm_shim::object::{KernelProfile, LinkOptions, Linked, Object};

use crate::vm::{self, Job, Machine, Output, Qemu, Signals, VmError};
use guest::Answer;

/// The subcommand that runs in the virtual machine.
pub const GUEST_COMMAND: &str = "verify-guest";

/// Times that a machine is started again when the program in it was ended by an object.
const RESTARTS: usize = 8;

/// An object to be loaded.
#[derive(Debug)]
pub struct Target {
    /// As it was named: what reports say.
    name: String,
    path: PathBuf,
    linked: Option<Linked>,
}

impl Target {
    /// Reads an object. One that this project cannot read is left to the kernel: only its C lines are lost.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let bytes = std::fs::read(path)?;
        let object = Object::parse(&bytes).ok();
        let linked = object.and_then(|o| o.link(&KernelProfile::default(), &LinkOptions::default()).ok());
        Ok(Self { name: path.display().to_string(), path: std::fs::canonicalize(path)?, linked })
    }
}

/// A refusal with all that there is to it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Explained {
    /// The line of the report.
    pub row: Row,
    /// Like a fault of the simulator; empty for accepted programs.
    pub rendered: String,
    /// The whole log.
    pub log: String,
}

/// Loads objects on one kernel and says what it thinks of each program.
///
/// # Errors
/// If the machine failed, not the programs.
pub fn verify(
    qemu: &Qemu,
    machine: &Machine,
    kernel: &str,
    targets: &[Target],
    only: Option<&str>,
    signals: Option<&Signals>,
) -> Result<Vec<Explained>, VmError> {
    let mut explained = Vec::new();
    let mut left: Vec<usize> = (0..targets.len()).collect();
    for _ in 0..RESTARTS {
        let job = job(targets, &left, only);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut output = Output { stdout: &mut stdout, stderr: &mut stderr };
        let report = vm::run(qemu, machine, &job, &mut output, signals)?;
        let mut begun = None;
        for answer in guest::read(&stdout) {
            let at = left.iter().copied().find(|at| *at == answer.index());
            let Some((at, target)) = at.and_then(|at| Some((at, targets.get(at)?))) else { continue };
            match answer {
                Answer::Begin { .. } => begun = Some(at),
                Answer::Programs { programs, .. } => {
                    begun = None;
                    left.retain(|l| *l != at);
                    explained.extend(programs.into_iter().map(|p| explain(kernel, target, p)));
                }
                Answer::NotOpened { why, .. } => {
                    begun = None;
                    left.retain(|l| *l != at);
                    explained.push(Explained {
                        row: Row::of_object(kernel, &target.name, why),
                        rendered: String::new(),
                        log: String::new(),
                    });
                }
            }
        }
        // Whatever ended the program, this object did it; the others have another chance.
        if let Some((at, target)) = begun.and_then(|at| Some((at, targets.get(at)?))) {
            left.retain(|l| *l != at);
            let why = format!("loading it ended the loader with status {}", report.status);
            explained.push(Explained {
                row: Row::of_object(kernel, &target.name, why),
                rendered: String::from_utf8_lossy(&stderr).into_owned(),
                log: String::new(),
            });
        } else if !left.is_empty() {
            let said = String::from_utf8_lossy(&stderr);
            return Err(VmError::CannotStart {
                program: "the loader in the machine".to_owned(),
                reason: format!("it ended with status {}: {}", report.status, said.trim()),
                missing: false,
            });
        }
        if left.is_empty() {
            break;
        }
    }
    for target in left.iter().filter_map(|at| targets.get(*at)) {
        let why = "not tried: other objects ended the loader too often".to_owned();
        let row = Row::of_object(kernel, &target.name, why);
        explained.push(Explained { row, rendered: String::new(), log: String::new() });
    }
    Ok(explained)
}

/// This program, with the objects that are left.
fn job(targets: &[Target], left: &[usize], only: Option<&str>) -> Job {
    let mut args: Vec<OsString> = vec![GUEST_COMMAND.into()];
    if let Some(only) = only {
        args.extend(["--program".into(), only.into()]);
    }
    let mut bring = Vec::new();
    for (at, target) in left.iter().filter_map(|at| Some((at, targets.get(*at)?))) {
        let mut word = OsString::from(format!("{at}="));
        word.push(&target.path);
        args.push(word);
        bring.push(target.path.clone());
    }
    let mut job = Job::new("/proc/self/exe", args);
    job.program = std::env::current_exe().unwrap_or(job.program);
    job.bring = bring;
    job.cwd = PathBuf::from("/");
    // A thousand programs on an emulated machine take minutes.
    job.timeout = std::time::Duration::from_secs(3600);
    job.output_limit = 2 << 30;
    job
}

fn explain(kernel: &str, target: &Target, said: bpf_harness::verdicts::ProgramVerdict) -> Explained {
    use bpf_harness::verdicts::Verdict as Said;

    let log = VerifierLog::parse(&said.log);
    let mut refusal = Refusal::of(&said.program);
    if let Some(linked) =
        target.linked.as_ref().and_then(|l| l.programs.iter().find(|p| *p.name == *said.program))
    {
        refusal = refusal.linked(linked);
    }
    let mut row = Row::new(kernel, &target.name, &said.program, &said.section);
    let mut rendered = String::new();
    match said.verdict {
        Said::Accepted { xlated_bytes, jited_bytes } => {
            row.verdict = Verdict::Accepted;
            row.counts = Counts::of(&log);
            row.counts.xlated_bytes = Some(xlated_bytes);
            row.counts.jited_bytes = Some(jited_bytes);
        }
        Said::Refused { errno, truncated } => {
            let diagnostic = log.diagnostic(&refusal.errno(errno));
            row.refused(errno, &log, &diagnostic);
            row.truncated = truncated;
            rendered = diagnostic.render(false);
        }
        Said::NotLoaded { errno, why } => row.not_loaded(errno, why),
        _ => row.not_loaded(0, "the loader gave an answer that is not known here".to_owned()),
    }
    Explained { row, rendered, log: said.log }
}

/// Prints rows as lines of JSON, sorted: by object, program, then in the order of the kernels.
///
/// # Errors
/// Those of the output.
pub fn json_lines<'a>(rows: impl IntoIterator<Item = &'a Row>, out: &mut dyn Write) -> std::io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut *out, row)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
