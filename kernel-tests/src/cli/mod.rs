//! The command line `bpf-vm`: one file per subcommand.
//!
//! Exit status: 0, everything is as it should be; 1, something was not to be had or did not work; 2, the command line is
//! wrong. `bpf-vm verify` ends with 1 if a program is not accepted. `bpf-vm run` hands on the status of the program that it ran;
//! 124 is its timeout, 125 a fault of the machine or a kernel that is not to be had, 126 and 127 a program that cannot be
//! started, 128 and more a signal.

mod kernels;
mod progress;
mod run;
mod streams;
mod terminal;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Run programs on real kernels in virtual machines.
#[derive(Debug, Parser)]
#[command(name = "bpf-vm", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program of this host on other kernels
    Run(run::Args),
    /// Load the programs of objects on kernels and compare what their verifiers say
    Verify(verify::Args),
    /// What `verify` starts in the machine
    #[command(hide = true)]
    VerifyGuest(verify::GuestArgs),
    /// List, fetch and describe kernels
    Kernels(kernels::Args),
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

/// What a subcommand gives back: the exit status, or an error that is printed and ends with status 1.
type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Nothing can be done about an output that is closed.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    let mut out = std::io::stdout().lock();
    // A program's own statuses are told from those of what ran it.
    let fault = ExitCode::from(if matches!(cli.command, Command::Run(_)) { 125 } else { 1 });
    let result: Outcome = match cli.command {
        Command::Kernels(args) => kernels::main(&args, &mut out),
        Command::Run(args) => run::main(&args),
        Command::Verify(args) => verify::main(&args, &mut out),
        Command::VerifyGuest(args) => verify::guest(&args, &mut out),
    };
    let error = match (result, out.flush()) {
        (Err(e), _) if closed(e.as_ref()) => return ExitCode::SUCCESS,
        (Err(e), _) => e,
        // Nobody read the rest, which changes nothing about how it ended.
        (Ok(code), Err(e)) if closed(&e) => return code,
        (Ok(_), Err(e)) => e.into(),
        (Ok(code), Ok(())) => return code,
    };
    let _ = writeln!(std::io::stderr(), "error: {}", chain(error.as_ref()));
    fault
}

/// The reader has seen enough (`| head`).
fn closed(e: &(dyn std::error::Error + 'static)) -> bool {
    e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// An error and its causes on one line; a cause that the text has already is not said again.
fn chain(e: &(dyn std::error::Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let said = e.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        cause = e.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("it did not work")]
    struct Outer(#[source] crate::kernels::KernelsError);

    #[test]
    fn each_cause_is_said_once() {
        let io = std::io::Error::other("disk on fire");
        let error = Outer(crate::kernels::KernelsError::io("read", "/x".as_ref())(io));
        assert_eq!(chain(&error), "it did not work: cannot read /x: disk on fire");
    }
}
