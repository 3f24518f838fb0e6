//! The command line `bpf-harness`: one file per subcommand.
//!
//! Exit status: 0, everything is as it should be; 1, a program faulted, did not match, or an object was refused;
//! 2, the command line or an input file is wrong; 3, nothing worse than something unsupported.

mod bcc;
mod bench;
mod diff;
mod doctor;
mod explore;
mod helpers;
mod input;
mod inspect;
mod pcap;
mod run;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Test compiled BPF programs without a kernel.
#[derive(Debug, Parser)]
#[command(name = "bpf-harness", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it in a process")]
enum Command {
    /// Say what is in objects, and what of it is supported
    Inspect(inspect::Args),
    /// Run the programs of an object
    Run(Box<run::Args>),
    /// Compile a text in the dialect of bcc's reference guide, run it and show what its user would see
    Bcc(Box<bcc::Args>),
    /// Run an object on the simulator and on kernels, and show side by side what differs
    Diff(diff::Args),
    /// Run an object on one tier and say what came of it
    #[command(hide = true)]
    Facts(diff::What),
    /// List helpers, kernel functions and map types, and whether they are supported
    Helpers(helpers::Args),
    /// Measure the interpreter on small loops
    Bench(bench::Args),
    /// Say what this machine offers beyond the simulator
    Doctor(doctor::Args),
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// How a command ended; also its exit status.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Status {
    Ok = 0,
    Unsupported = 3,
    Failed = 1,
    Usage = 2,
}

impl Status {
    /// The graver of two: wrong input, then failures, then what is not supported.
    fn and(self, other: Self) -> Self {
        let weight = |s| match s {
            Self::Ok => 0,
            Self::Unsupported => 1,
            Self::Failed => 2,
            Self::Usage => 3,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Nothing can be done about an output that is closed.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { Status::Usage as u8 } else { 0 });
        }
    };
    let mut out = std::io::stdout().lock();
    let result = match cli.command {
        Command::Inspect(args) => inspect::main(&args, &mut out),
        Command::Run(args) => run::main(&args, &mut out),
        Command::Bcc(args) => bcc::main(&args, &mut out),
        Command::Diff(args) => diff::main(&args, &mut out),
        Command::Facts(args) => diff::facts_main(&args, &mut out),
        Command::Helpers(args) => helpers::main(&args, &mut out),
        Command::Bench(args) => bench::main(&args, &mut out),
        Command::Doctor(args) => doctor::main(&args, &mut out),
    };
    let status = match result.and_then(|status| out.flush().map(|()| status)) {
        Ok(status) => status,
        // The reader has seen enough (`| head`).
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Status::Ok,
        Err(e) => {
            let _ = writeln!(std::io::stderr(), "error: {e}");
            Status::Usage
        }
    };
    ExitCode::from(status as u8)
}

/// Prints a line of JSON.
fn json_line(out: &mut dyn Write, value: &impl serde::Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
