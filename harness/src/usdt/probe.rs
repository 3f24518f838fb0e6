//! Probes and their places.

use bpf_vm_shim::object::Arch;

use super::note::{self, Note, NoteError};
use super::parse::SpecError;
use super::spec::ArgSpec;

/// A statically defined probe of a binary.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Probe {
    /// Who provides it.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// Where it is: a probe in an inlined function has several places, each with arguments of its own.
    pub locations: Vec<Location>,
}

/// One place of a probe.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Location {
    /// Its address, as the file has it.
    pub addr: u64,
    /// The address of the semaphore, a 16-bit count of those who listen; the program may skip the probe while it is 0.
    pub semaphore: Option<u64>,
    /// Its arguments.
    pub args: Vec<ArgSpec>,
    /// Why the arguments cannot be read; there are none then.
    pub unreadable: Option<SpecError>,
}

impl Location {
    pub(crate) fn new(addr: u64, semaphore: Option<u64>, args: &str, arch: Arch) -> Result<Self, SpecError> {
        let args = ArgSpec::parse_all(args, arch)?;
        Ok(Self { addr, semaphore, args, unreadable: None })
    }
}

impl Probe {
    /// Whether `name` or `provider:name` means this probe.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        match name.split_once(':') {
            Some((provider, name)) => self.provider == provider && self.name == name,
            None => self.name == name,
        }
    }

    /// How many arguments it has; where its places disagree, what all of them have.
    #[must_use]
    pub fn num_arguments(&self) -> usize {
        self.locations.iter().map(|l| l.args.len()).min().unwrap_or(0)
    }
}

impl From<Note> for Location {
    fn from(note: Note) -> Self {
        let (args, unreadable) = match note.args {
            Ok(args) => (args, None),
            Err(e) => (Vec::new(), Some(e)),
        };
        Self { addr: note.pc, semaphore: note.semaphore, args, unreadable }
    }
}

/// Adds a place to its probe, which may be new.
pub(crate) fn add_location(probes: &mut Vec<Probe>, provider: &str, name: &str, location: Location) {
    match probes.iter_mut().find(|p| p.provider == provider && p.name == name) {
        Some(probe) => probe.locations.push(location),
        None => probes.push(Probe {
            provider: provider.to_owned(),
            name: name.to_owned(),
            locations: vec![location],
        }),
    }
}

/// The probes of a `.note.stapsdt` section.
pub(crate) fn read_notes(
    data: &[u8],
    base: Option<u64>,
    word: usize,
    arch: Arch,
) -> Result<Vec<Probe>, NoteError> {
    let mut probes = Vec::new();
    for note in note::read(data, base, word, arch)? {
        let (provider, name) = (note.provider.clone(), note.name.clone());
        add_location(&mut probes, &provider, &name, note.into());
    }
    Ok(probes)
}
