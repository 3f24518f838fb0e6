//! On what a test runs.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The variable that chooses the tier of tests that do not choose themselves.
const VARIABLE: &str = "BPF_HARNESS_TIER";

/// On what programs run: a simulated machine, or the kernel that this process runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Tier {
    /// The simulated machine: no privilege, no kernel, the same bytes every time.
    Simulator,
    /// The running kernel, through libbpf. Needs root and the feature `kernel`.
    Kernel,
}

impl Tier {
    /// The tier that the environment asks for: `BPF_HARNESS_TIER` is `sim` (or not set) or `kernel`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn from_env() -> Result<Self, Error> {
        match std::env::var(VARIABLE).as_deref() {
            Ok("") | Err(std::env::VarError::NotPresent) => Ok(Self::Simulator),
            Ok(name) => name.parse().map_err(|e| Error::Invalid(format!("{VARIABLE}: {e}"))),
            Err(e) => Err(Error::Invalid(format!("{VARIABLE}: {e}"))),
        }
    }
}

impl Tier {
    /// Whether a test that is for this tier only is to go on: on the other one it says on standard error that it is
    /// skipped, and why.
    ///
    /// ```
    /// use bpf_harness::{Bpf, Tier};
    /// # fn test() -> Result<(), bpf_harness::Error> {
    /// if !Tier::Simulator.only("it copies a machine, which a kernel's state does not allow")? {
    ///     return Ok(());
    /// }
    /// # Ok(()) }
    /// # test().unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`Tier::from_env`].
    pub fn only(self, why: &str) -> Result<bool, Error> {
        let tier = Self::from_env()?;
        if tier != self {
            eprintln!("skipped on the {tier}: for the {self} only: {why}");
        }
        Ok(tier == self)
    }
}

impl FromStr for Tier {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "sim" | "simulator" => Ok(Self::Simulator),
            "kernel" => Ok(Self::Kernel),
            other => Err(Error::Invalid(format!("'{other}' is no tier: there are 'sim' and 'kernel'"))),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simulator => "simulator",
            Self::Kernel => "kernel",
        })
    }
}
