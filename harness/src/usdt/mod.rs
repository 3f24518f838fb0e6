//! Statically defined user-space probes (USDT): what a binary offers, and where its arguments are.
//!
//! [`Usdt`] lists the probes of a binary or process, as `bcc.USDT` does; [`ArgSpec`] is one argument.
//!
//! ```
//! use bpf_harness::symbols::Binary;
//! use bpf_harness::usdt::Usdt;
//! let server = Binary::declared("/usr/bin/server").probe("http", "request", 0x1200, "8@%rdi -4@-20(%rbp)")?;
//! let mut usdt = Usdt::from_binary(server)?;
//! usdt.enable_probe("request", "on_request")?;
//! assert_eq!(usdt.arguments("http:request")?[1].c_type(), "int32_t");
//! assert!(usdt.enable_probe("response", "f").unwrap_err().to_string().contains("http:request"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod note;
mod parse;
mod place;
mod probe;
mod register;
mod spec;

pub use note::NoteError;
pub use parse::SpecError;
pub use place::{PlaceError, Placement};
pub use probe::{Location, Probe};
pub(crate) use probe::{add_location, read_notes};
pub use register::Register;
pub use spec::{ArgKind, ArgSpec, Surroundings};

use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::symbols::{Binary, Process, find_binary};

/// The probes of a binary or of a process, and which of them are to be enabled.
#[derive(Clone, Default, Debug)]
pub struct Usdt {
    pid: Option<u32>,
    found: Vec<(Arc<Binary>, Probe)>,
    enabled: Vec<Enabled>,
}

/// A probe that a function is to be attached to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Enabled {
    /// The binary's path.
    pub path: String,
    /// The probe.
    pub probe: Probe,
    /// The program.
    pub fn_name: String,
    /// Only in this process.
    pub pid: Option<u32>,
}

impl Usdt {
    /// The probes of a file of this machine, or of a library by its short name.
    ///
    /// # Errors
    /// If it cannot be read, is no ELF file, or its notes are broken.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_binary(find_binary(&path.as_ref().to_string_lossy())?)
    }

    /// The probes of a process of this machine: of its executable and of the libraries that it has mapped.
    ///
    /// # Errors
    /// If there is no such process, it may not be looked at, or its notes are broken.
    pub fn from_pid(pid: u32) -> Result<Self, Error> {
        Self::from_process(pid, &Process::from_pid(pid)?)
    }

    /// The probes of what a process has mapped, real or not.
    ///
    /// # Errors
    /// If notes are broken.
    pub fn from_process(pid: u32, process: &Process) -> Result<Self, Error> {
        let mut usdt = Self { pid: Some(pid), ..Self::default() };
        for binary in process.shared_binaries() {
            // A file is mapped in several pieces.
            if !usdt.found.iter().any(|(b, _)| b.path() == binary.path()) {
                usdt.add(binary)?;
            }
        }
        Ok(usdt)
    }

    /// The probes of a binary, real or declared.
    ///
    /// # Errors
    /// If its notes are broken.
    pub fn from_binary(binary: Binary) -> Result<Self, Error> {
        Self::from_shared(&Arc::new(binary))
    }

    pub(crate) fn from_shared(binary: &Arc<Binary>) -> Result<Self, Error> {
        let mut usdt = Self::default();
        usdt.add(binary)?;
        Ok(usdt)
    }

    fn add(&mut self, binary: &Arc<Binary>) -> Result<(), Error> {
        let probes = binary.probes();
        let probes = probes.map_err(|e| Error::Read { path: binary.path().into(), why: e.to_string() })?;
        self.found.extend(probes.iter().map(|p| (Arc::clone(binary), p.clone())));
        Ok(())
    }

    /// The process that is meant; all if it is `None`.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The binary of a path, if probes of it were found.
    #[must_use]
    pub fn binary(&self, path: &str) -> Option<&Arc<Binary>> {
        self.found.iter().map(|(b, _)| b).find(|b| b.path() == path)
    }

    /// All probes (bcc's `enumerate_probes`), with the paths of their binaries.
    pub fn enumerate_probes(&self) -> impl Iterator<Item = (&str, &Probe)> {
        self.found.iter().map(|(b, p)| (b.path(), p))
    }

    /// Attaches a program to a probe, given as `name` or `provider:name`, when a [`Bpf`](crate::Bpf) gets this value.
    ///
    /// # Errors
    /// If there is no such probe, several providers have one of this name, or its arguments cannot be read.
    pub fn enable_probe(&mut self, probe: &str, fn_name: &str) -> Result<(), Error> {
        let (binary, found) = self.find(probe)?;
        if let Some(error) = found.locations.iter().find_map(|l| l.unreadable.as_ref()) {
            let (provider, name) = (&found.provider, &found.name);
            return Err(Error::Invalid(format!("probe {provider}:{name} cannot be enabled: {error}")));
        }
        let (path, probe) = (binary.path().to_owned(), found.clone());
        self.enabled.push(Enabled { path, probe, fn_name: fn_name.to_owned(), pid: self.pid });
        Ok(())
    }

    /// As [`Usdt::enable_probe`], with advice for the user in the error, where bcc prints it and exits.
    ///
    /// # Errors
    /// As there.
    pub fn enable_probe_or_bail(&mut self, probe: &str, fn_name: &str) -> Result<(), Error> {
        let target = match (self.pid, self.found.first()) {
            (Some(pid), _) => format!("process {pid}"),
            (None, Some((binary, _))) => format!("'{}'", binary.path()),
            (None, None) => "the binary".to_owned(),
        };
        self.enable_probe(probe, fn_name).map_err(|e| {
            Error::Invalid(format!(
                "failed to enable USDT probe '{probe}': {e}\n{target} has to be built with this probe (many programs \
                 have a configure option such as --enable-dtrace), and it has to be the binary that runs"
            ))
        })
    }

    /// What is to be enabled, in order.
    #[must_use]
    pub fn enabled(&self) -> &[Enabled] {
        &self.enabled
    }

    /// The arguments of a probe, of its first place.
    ///
    /// # Errors
    /// As [`Usdt::enable_probe`].
    pub fn arguments(&self, probe: &str) -> Result<&[ArgSpec], Error> {
        let (_, found) = self.find(probe)?;
        Ok(found.locations.first().map_or(&[], |l| &l.args))
    }

    fn find(&self, probe: &str) -> Result<(&Binary, &Probe), Error> {
        let mut all = self.found.iter().filter(|(_, p)| p.is_called(probe));
        match (all.next(), all.next()) {
            (Some((binary, found)), None) => Ok((binary, found)),
            (Some((a, p)), Some((b, q))) => Err(Error::Invalid(format!(
                "there are two probes '{probe}': {}:{} in {}, {}:{} in {}; say PROVIDER:NAME",
                p.provider,
                p.name,
                a.path(),
                q.provider,
                q.name,
                b.path()
            ))),
            _ => {
                let names: Vec<_> =
                    self.found.iter().map(|(_, p)| format!("{}:{}", p.provider, p.name)).collect();
                Err(Error::not_found("USDT probe", probe, names.iter().map(String::as_str)))
            }
        }
    }
}
