//! The half of `bpf-vm verify` that runs in the virtual machine, and what it sends.

use std::io::Write;
use std::path::Path;

use bpf_harness::verdicts::{ProgramVerdict, verdicts};
use serde::{Deserialize, Serialize};

/// A line of the guest's output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Answer {
    /// Before an object: whatever ends the program now was this object.
    Begin { index: usize },
    /// The programs of an object.
    Programs { index: usize, programs: Vec<ProgramVerdict> },
    /// libbpf does not take the object.
    NotOpened { index: usize, why: String },
}

impl Answer {
    pub(super) fn index(&self) -> usize {
        match self {
            Self::Begin { index } | Self::Programs { index, .. } | Self::NotOpened { index, .. } => *index,
        }
    }
}

/// The answers in what the guest wrote. What ends in the middle of a line is lost.
pub(super) fn read(stdout: &[u8]) -> impl Iterator<Item = Answer> + '_ {
    stdout.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

/// Loads the objects `INDEX=PATH` and prints a line for each.
///
/// # Errors
/// Those of the output, and arguments of another form.
pub fn guest_main(objects: &[String], only: Option<&str>, out: &mut dyn Write) -> std::io::Result<()> {
    for object in objects {
        let wrong = || std::io::Error::other(format!("'{object}' is not INDEX=PATH"));
        let (index, path) = object.split_once('=').ok_or_else(wrong)?;
        let index = index.parse().map_err(|_| wrong())?;
        say(&Answer::Begin { index }, out)?;
        let answer = match std::fs::read(Path::new(path)) {
            Ok(bytes) => match verdicts(&bytes, only) {
                Ok(programs) => Answer::Programs { index, programs },
                Err(error) => Answer::NotOpened { index, why: error.to_string() },
            },
            Err(error) => Answer::NotOpened { index, why: error.to_string() },
        };
        say(&answer, out)?;
    }
    Ok(())
}

fn say(answer: &Answer, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    out.write_all(b"\n")?;
    out.flush()
}
