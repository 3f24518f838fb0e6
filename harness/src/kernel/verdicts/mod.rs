//! What the verifier of the running kernel says of each program of an object.
//!
//! libbpf loads an object whole: one refused program hides the others. So programs are loaded together first, which is
//! quick, and each on its own if that fails. Programs made from a text in bcc's dialect get bcc's rewrites first. Nothing is attached, pinned or kept. `bpf-vm verify` runs this in virtual
//! machines.

mod attempt;
mod bcc;

use std::borrow::Cow;

use bpf_vm_shim::object::{MapType, Object};
use libbpf_rs::{AsRawLibbpf, ObjectBuilder, OpenObject, ProgramType};
use serde::{Deserialize, Serialize};

use super::load::{set_type, unpin};
use super::{legacy, messages, slots};
use crate::error::Error;
use attempt::{Attempt, Ended, Level};
use bcc::Bcc;

/// Room for as many addresses as the kernel follows by default (`kernel.perf_event_max_stack`).
const STACK_BYTES: u32 = 127 * 8;

/// What the kernel says of one program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProgramVerdict {
    /// The program's name: its function's.
    pub program: String,
    /// Its section.
    pub section: String,
    /// How loading it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What the verifier wrote. Of an accepted program: its counts. Of a refused one: also the path that led to it.
    pub log: String,
}

/// How loading a program ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// It is loaded.
    Accepted {
        /// Bytes of instructions after the verifier's rewriting (`bpf_prog_info.xlated_prog_len`).
        xlated_bytes: u32,
        /// Bytes of machine code (`bpf_prog_info.jited_prog_len`), 0 without a JIT.
        jited_bytes: u32,
    },
    /// The kernel refused it.
    Refused {
        /// The error's number, positive.
        errno: i32,
        /// Whether the log was cut off at the end, the buffer being full.
        truncated: bool,
    },
    /// It did not come to the verifier: a map could not be made, the function that it is for is not there.
    NotLoaded {
        /// The error's number, positive.
        errno: i32,
        /// What libbpf says.
        why: String,
    },
}

/// Why there is no verdict at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
#[non_exhaustive]
pub struct NotOpened {
    /// What libbpf says.
    pub why: String,
}

/// Loads the programs of an object, or the one that is named, and says what the kernel thinks of each. In the order of
/// the object.
///
/// # Errors
/// If libbpf cannot read the object.
pub fn verdicts(object: &[u8], only: Option<&str>) -> Result<Vec<ProgramVerdict>, NotOpened> {
    let parsed = Object::parse(object).ok();
    let modern = match &parsed {
        Some(parsed) => legacy::modern(object, parsed).map_err(|e| NotOpened { why: e.to_string() })?,
        // libbpf says what it thinks of it.
        None => Cow::Borrowed(object),
    };
    let object = &Subject { bytes: &modern, parsed: parsed.as_ref() };
    let programs: Vec<(String, String)> = {
        let (opened, said) = messages::of(|| object.open(&[]));
        let opened =
            opened.map_err(|e| NotOpened { why: attempt::reason(&said).unwrap_or_else(|| e.to_string()) })?;
        let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
        opened.progs().map(|p| (text(p.name()), text(p.section()))).collect()
    };
    let wanted: Vec<&(String, String)> =
        programs.iter().filter(|(name, _)| only.is_none_or(|only| only == name)).collect();
    let bcc = parsed.clone().and_then(Bcc::of);
    let bcc = bcc.as_ref();
    if wanted.len() > 1 {
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let all = Attempt { object, bcc, names: &names, level: Level::Stats }.run();
        if let Ended::Loaded(loaded) = all.ended
            && loaded.len() == wanted.len()
        {
            let verdicts = wanted.iter().zip(loaded).map(|((program, section), loaded)| ProgramVerdict {
                program: program.clone(),
                section: section.clone(),
                verdict: loaded.verdict,
                log: loaded.log,
            });
            return Ok(verdicts.collect());
        }
    }
    Ok(wanted.into_iter().map(|(program, section)| alone(object, bcc, program, section)).collect())
}

/// One program on its own. The path of a refusal is asked for only when there is one: writing it costs time.
fn alone(object: &Subject<'_>, bcc: Option<&Bcc>, program: &str, section: &str) -> ProgramVerdict {
    let run = |level| Attempt { object, bcc, names: &[program], level }.run();
    let mut attempt = run(Level::Stats);
    let refused = matches!(attempt.ended, Ended::Refused { .. });
    // The path of a program that is too large is a million instructions long and says nothing.
    if refused && !attempt.log().contains("BPF program is too large") {
        let again = run(Level::Path);
        if matches!(again.ended, Ended::Refused { .. }) {
            attempt = again;
        }
    }
    let (program, section) = (program.to_owned(), section.to_owned());
    match attempt.ended {
        Ended::Loaded(mut loaded) => match loaded.pop() {
            Some(one) => ProgramVerdict { program, section, verdict: one.verdict, log: one.log },
            None => ProgramVerdict {
                program,
                section,
                verdict: Verdict::NotLoaded { errno: 0, why: "libbpf leaves the program out".to_owned() },
                log: String::new(),
            },
        },
        Ended::Refused { errno, truncated, log } => {
            ProgramVerdict { program, section, verdict: Verdict::Refused { errno, truncated }, log }
        }
        Ended::NotLoaded { errno, why } => ProgramVerdict {
            program,
            section,
            verdict: Verdict::NotLoaded { errno, why },
            log: String::new(),
        },
    }
}

/// An object as libbpf gets it.
#[derive(Clone, Copy, Debug)]
struct Subject<'a> {
    bytes: &'a [u8],
    /// What our own loader reads in it.
    parsed: Option<&'a Object>,
}

impl Subject<'_> {
    /// Opens it so that loading it leaves nothing behind and needs nothing that only its user knows.
    /// Arrays of programs are filled with those that are going to be loaded.
    fn open(&self, loaded: &[&str]) -> Result<OpenObject, Error> {
        let invalid = |e: libbpf_rs::Error| Error::Invalid(format!("{e:#}"));
        let bytes = match self.parsed {
            Some(parsed) => slots::only(self.bytes, parsed, |name| loaded.contains(&name)),
            None => Cow::Borrowed(self.bytes),
        };
        let mut opened = ObjectBuilder::default().open_memory(&bytes).map_err(invalid)?;
        for mut map in opened.maps_mut() {
            // libbpf-rs does not know all types that libbpf does.
            // SAFETY: the map is alive as long as the object.
            let number = unsafe { libbpf_sys::bpf_map__type(map.as_libbpf_object().as_ptr()) };
            let map_type = MapType::from_number(number);
            // Its user would have set the size. Those that must have none, or get theirs from libbpf, keep it.
            let sized = !matches!(
                map_type,
                MapType::PerfEventArray
                    | MapType::StructOps
                    | MapType::SkStorage
                    | MapType::InodeStorage
                    | MapType::TaskStorage
                    | MapType::CgrpStorage
                    | MapType::CgroupStorage
                    | MapType::PercpuCgroupStorage
            );
            if map.max_entries() == 0 && sized {
                map.set_max_entries(if map_type.is_ringbuf() { 4096 } else { 1 }).map_err(invalid)?;
            }
            if map_type == MapType::StackTrace && map.value_size() == 0 {
                map.set_value_size(STACK_BYTES).map_err(invalid)?;
            }
            unpin(&map.as_libbpf_object());
        }
        for mut program in opened.progs_mut() {
            // Other loaders know more sections by name than libbpf (`lirc_mode2/name`).
            let known =
                self.parsed.and_then(|p| p.programs.iter().find(|p| program.name() == p.name.as_str()));
            if let Some(known) = known.filter(|_| program.prog_type() == ProgramType::Unspec) {
                set_type(&mut program, known.prog_type, &known.attach);
            }
        }
        Ok(opened)
    }
}
