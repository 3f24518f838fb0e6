//! One attempt to load programs of an object, with a log for each.

use libbpf_rs::{AsRawLibbpf, OpenObject};

use super::bcc::Bcc;
use super::{Subject, Verdict};
use crate::error::Error;
use crate::kernel::messages;

/// Room for the log of a path. Pages that the kernel does not write cost nothing.
const PATH_LOG: usize = 64 << 20;
/// Room for counts.
const STATS_LOG: usize = 256 << 10;

/// What the verifier is asked to write (`BPF_LOG_*` in `include/linux/bpf_verifier.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// Its reason and its counts.
    Stats,
    /// The path too.
    Path,
}

impl Level {
    fn bits(self) -> u32 {
        match self {
            Self::Stats => 4,
            Self::Path => 4 | 1,
        }
    }

    fn room(self) -> usize {
        match self {
            Self::Stats => STATS_LOG,
            Self::Path => PATH_LOG,
        }
    }
}

/// What to load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    pub(super) object: &'a Subject<'a>,
    /// For an object made from a text in bcc's dialect.
    pub(super) bcc: Option<&'a Bcc>,
    pub(super) names: &'a [&'a str],
    pub(super) level: Level,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) ended: Ended,
}

impl Done {
    pub(super) fn log(&self) -> &str {
        match &self.ended {
            Ended::Refused { log, .. } => log,
            _ => "",
        }
    }
}

#[derive(Debug)]
pub(super) enum Ended {
    /// All of them, in the order of the names.
    Loaded(Vec<Loaded>),
    /// The verifier refused one of them.
    Refused { errno: i32, truncated: bool, log: String },
    /// It did not come to that.
    NotLoaded { errno: i32, why: String },
}

/// A program that was loaded, and unloaded since.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) verdict: Verdict,
    pub(super) log: String,
}

impl Attempt<'_> {
    pub(super) fn run(&self) -> Done {
        let mut logs: Vec<Vec<u8>> = self.names.iter().map(|_| vec![0; self.level.room()]).collect();
        let (done, said) = messages::of(|| -> Result<(i32, Vec<Loaded>), Error> {
            let mut opened = self.object.open(self.names)?;
            self.choose(&mut opened, &mut logs)?;
            if let Some(bcc) = self.bcc {
                bcc.rewrite(&opened, self.names)?;
            }
            // SAFETY: the object is open and not loaded yet, and nobody else has it.
            let code = unsafe { libbpf_sys::bpf_object__load(opened.as_libbpf_object().as_ptr()) };
            Ok((code.saturating_abs(), if code < 0 { Vec::new() } else { self.facts(&opened, &logs) }))
        });
        let ended = match done {
            Ok((0, loaded)) => Ended::Loaded(loaded),
            Ok((errno, _)) => self.failure(errno, &logs, &said),
            Err(Error::Refused(diagnostic)) => Ended::NotLoaded { errno: 0, why: diagnostic.to_string() },
            Err(error) => {
                Ended::NotLoaded { errno: 0, why: reason(&said).unwrap_or_else(|| error.to_string()) }
            }
        };
        Done { ended }
    }

    /// Who failed. libbpf names the program that the kernel refused. What the verifier had to say is in its log, which the
    /// system call alone leaves empty; an accepted program has one too, with its counts, and is not to blame if something
    /// else fails behind it.
    fn failure(&self, errno: i32, logs: &[Vec<u8>], said: &str) -> Ended {
        let refused = self.names.iter().position(|name| is_refused(name, said));
        let written = refused.and_then(|at| logs.get(at)).filter(|log| log.first().is_some_and(|b| *b != 0));
        if let Some(written) = written {
            let full = written.iter().rev().take(8).any(|b| *b != 0);
            return Ended::Refused { errno, truncated: full || errno == libc::ENOSPC, log: text(written) };
        }
        match (refused, reason(said)) {
            (_, Some(why)) if !why.contains(REFUSED) => Ended::NotLoaded { errno, why },
            (None, why) => {
                Ended::NotLoaded { errno, why: why.unwrap_or_else(|| "libbpf does not say".to_owned()) }
            }
            _ => Ended::Refused { errno, truncated: false, log: String::new() },
        }
    }

    /// Says which programs are to be loaded, and where their logs go.
    fn choose(&self, opened: &mut OpenObject, logs: &mut [Vec<u8>]) -> Result<(), Error> {
        for mut program in opened.progs_mut() {
            let wanted = self.names.iter().position(|name| program.name() == *name);
            program.set_autoload(wanted.is_some());
            if let Some(bcc) = self.bcc {
                bcc.set_type(&mut program);
            }
            let Some(log) = wanted.and_then(|at| logs.get_mut(at)) else { continue };
            program.set_log_level(self.level.bits());
            let size = libbpf_sys::size_t::try_from(log.len()).unwrap_or(0);
            // SAFETY: the program is alive. libbpf and the kernel write at most `size` bytes to the buffer, and only while
            // the object is loaded, which `run` does before it drops the buffers.
            let failed = unsafe {
                libbpf_sys::bpf_program__set_log_buf(
                    program.as_libbpf_object().as_ptr(),
                    log.as_mut_ptr().cast(),
                    size,
                )
            };
            if failed != 0 {
                return Err(Error::Invalid(format!("libbpf takes no buffer for a log (error {failed})")));
            }
        }
        Ok(())
    }

    fn facts(&self, object: &OpenObject, logs: &[Vec<u8>]) -> Vec<Loaded> {
        let mut facts = Vec::new();
        for (name, log) in self.names.iter().zip(logs) {
            let Some(program) = object.progs().find(|p| p.name() == *name) else { continue };
            // SAFETY: the program belongs to an object that is open.
            let fd = unsafe { libbpf_sys::bpf_program__fd(program.as_libbpf_object().as_ptr()) };
            if fd < 0 {
                continue;
            }
            let (xlated_bytes, jited_bytes) = lengths(fd);
            facts.push(Loaded { verdict: Verdict::Accepted { xlated_bytes, jited_bytes }, log: text(log) });
        }
        facts
    }
}

/// libbpf's words for a program that the kernel does not take (`bpf_object__load_progs`).
const REFUSED: &str = ": failed to load: ";

fn is_refused(program: &str, said: &str) -> bool {
    said.contains(&format!("prog '{program}'{REFUSED}"))
}

/// Lengths of the rewritten instructions and of the machine code; 0 if the kernel does not say.
fn lengths(fd: i32) -> (u32, u32) {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut size = u32::try_from(size_of_val(&info)).unwrap_or(0);
    // SAFETY: `info` is a structure of `size` bytes, all zero, so it names no buffers to be filled; the kernel writes no
    // more than `size` bytes.
    let failed = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd, &raw mut info, &raw mut size) };
    if failed == 0 { (info.xlated_prog_len, info.jited_prog_len) } else { (0, 0) }
}

/// The first of libbpf's messages that says something about a cause.
pub(super) fn reason(said: &str) -> Option<String> {
    let echoes = ["failed to load object", "BPF program load failed", "-- BEGIN PROG LOAD LOG --"];
    let told = |line: &&str| !line.is_empty() && !echoes.iter().any(|e| line.contains(e));
    let mut lines = said.lines().map(|line| line.trim().trim_start_matches("libbpf: "));
    lines.clone().find(told).or_else(|| lines.find(|line| !line.is_empty())).map(str::to_owned)
}

fn text(log: &[u8]) -> String {
    let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
    String::from_utf8_lossy(log.get(..end).unwrap_or_default()).into_owned()
}
