//! What can go wrong in a test, apart from its own assertions.

use std::path::PathBuf;

use bpf_helpers_mock::MachineError;
use bpf_helpers_mock::contexts::ContextError;
use bpf_helpers_mock::maps::MapOpError;
use bpf_helpers_mock::passes::PassError;
use bpf_vm_shim::exec::InvalidCode;
use bpf_vm_shim::fault::Unsupported;
use bpf_vm_shim::object::{LoadError, ProgType};

use crate::bpf::CallbackError;
use crate::compile::CompileError;
use crate::report::Diagnostic;
use crate::value::ValueError;

/// An error of the harness. `Debug`, which `unwrap` prints, shows faults with their source lines.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {why}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The builder was given no object.
    #[error("no object: give one with `object()` or `object_file()`")]
    NoObject,
    /// The bytes are no BPF object, or a broken one.
    #[error("object '{object}': {source}")]
    Load {
        /// The object's name.
        object: String,
        /// What is wrong.
        source: LoadError,
    },
    /// The text does not compile, or cannot be compiled here.
    #[error(transparent)]
    Compile(Box<CompileError>),
    /// The machine refused the object or the run.
    #[error(transparent)]
    Machine(MachineError),
    /// There is no such program, map, variable or type.
    #[error("there is no {what} '{name}'{known}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names there are, as the end of the sentence.
        known: String,
    },
    /// The input of a run cannot be made.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The program is not valid.
    #[error("program '{program}' is not valid: {source}")]
    Rejected {
        /// The program.
        program: String,
        /// Why.
        source: InvalidCode,
    },
    /// Nothing is attached to what was fired.
    #[error("nothing is attached to {point}{attached}")]
    NothingAttached {
        /// The probe point.
        point: String,
        /// What is attached where, as the end of the sentence.
        attached: String,
    },
    /// The program cannot be attached by its section name.
    #[error("program '{program}' (section '{section}') names no probe point: attach it with `attach_to()`")]
    NoTarget {
        /// The program.
        program: String,
        /// Its section.
        section: String,
    },
    /// The program is of another type than those that belong where it is to be attached.
    #[error("program '{program}' cannot be attached to {place}: it is of type {is}, {wanted} is needed")]
    WrongKind {
        /// The program.
        program: String,
        /// Where it was to be attached.
        place: String,
        /// Its type.
        is: ProgType,
        /// The type that belongs there.
        wanted: ProgType,
    },
    /// A callback for records has failed. The records behind this one are still there.
    #[error("callback of '{map}': {source}")]
    Callback {
        /// The map.
        map: String,
        /// What the callback has returned.
        source: CallbackError,
    },
    /// The program did something wrong.
    #[error("{0}")]
    Fault(Box<Diagnostic>),
    /// The program needed what the simulator does not do.
    #[error("program '{program}': {source}")]
    Unsupported {
        /// The program.
        program: String,
        /// What.
        source: Unsupported,
    },
    /// The program reads memory directly that it must not: the kernel's verifier refuses it.
    #[error("Failed to load BPF program {}: {}", .0.program, refusal(.0))]
    Refused(Box<Diagnostic>),
    /// A value does not fit its type.
    #[error("{what}: {source}")]
    Value {
        /// Whose value.
        what: String,
        /// What is wrong.
        source: Box<ValueError>,
    },
    /// A map operation failed.
    #[error(transparent)]
    Map(#[from] MapOpError),
    /// Something in the input makes no sense.
    #[error("{0}")]
    Invalid(String),
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(d) => write!(f, "\n{}", d.render(false)),
            Self::Refused(d) => {
                write!(f, "\nFailed to load BPF program {}\n{}", d.program, d.render(false))
            }
            other => write!(f, "{other}"),
        }
    }
}

/// The verifier's words with the C line, as its log has them.
fn refusal(d: &Diagnostic) -> String {
    match &d.source {
        Some(source) if source.file.is_empty() => format!("{} at {source}", d.message),
        Some(source) => format!("{} at {source}: {}", d.message, source.text.trim()),
        None if d.has_place() => format!("{} at instruction {}", d.message, d.insn),
        None => d.message.clone(),
    }
}

impl From<MachineError> for Error {
    fn from(error: MachineError) -> Self {
        match error {
            MachineError::Pass(error) => error.into(),
            other => Self::Machine(other),
        }
    }
}

impl From<PassError> for Error {
    fn from(error: PassError) -> Self {
        match error {
            PassError::DirectLoad { program, load } => {
                Self::Refused(Box::new(Diagnostic::of_direct_load(&program, &load)))
            }
            other => Self::Machine(other.into()),
        }
    }
}

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Self {
        Self::Compile(Box::new(error))
    }
}

impl Error {
    /// A value that does not fit, and whose it is.
    pub(crate) fn value(what: impl Into<String>, source: ValueError) -> Self {
        Self::Value { what: what.into(), source: Box::new(source) }
    }

    /// As [`Error::not_found`], where there are too many names to list: the closest ones are.
    pub(crate) fn unknown<'a>(what: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let bare = name.rsplit_once(':').map_or(name, |(_, bare)| bare);
        let limit = 1 + bare.len() / 5;
        let near = |k: &str| {
            let of_bare = distance(bare, k, limit);
            if bare.len() == name.len() { of_bare } else { of_bare.min(distance(name, k, limit)) }
        };
        let mut near: Vec<_> = known.map(|k| (near(k), k)).filter(|(d, _)| *d <= limit).collect();
        near.sort_unstable();
        let names: Vec<_> = near.into_iter().map(|(_, k)| format!("'{k}'")).take(5).collect();
        let known =
            if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(", ")) };
        Self::NotFound { what, name: name.to_owned(), known }
    }

    pub(crate) fn not_found<'a>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let names: Vec<_> = known.into_iter().take(20).collect();
        let known =
            if names.is_empty() { String::new() } else { format!("; there are: {}", names.join(", ")) };
        Self::NotFound { what, name: name.to_owned(), known }
    }
}

/// Levenshtein's distance, or more than `limit` if it is that large.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        let mut least = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
            least = least.min(left);
        }
        // No later row has a smaller number.
        if least > limit {
            return limit + 1;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(limit + 1)
}

#[cfg(test)]
mod tests {
    use super::{Error, distance};

    #[test]
    fn close_names_are_suggested() {
        for (a, b, expected) in
            [("vfs_read", "vfs_raed", 2), ("abc", "abc", 0), ("abc", "ac", 1), ("", "x", 1)]
        {
            assert_eq!(distance(a, b, 9), expected, "{a} {b}");
        }
        let error = Error::unknown("kernel function", "vfs_raed", ["vfs_read", "vfs_write"].into_iter());
        assert_eq!(error.to_string(), "there is no kernel function 'vfs_raed'; did you mean 'vfs_read'?");
    }

    proptest::proptest! {
        #[test]
        fn a_limit_hides_only_what_is_beyond_it(a in "[ab]{0,8}", b in "[ab]{0,8}", limit in 0usize..9) {
            let (whole, limited) = (distance(&a, &b, 99), distance(&a, &b, limit));
            proptest::prop_assert_eq!(limited.min(limit + 1), whole.min(limit + 1));
        }
    }
}
