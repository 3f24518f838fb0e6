//! Kernel versions and architectures.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A kernel's version, as in "6.12.38".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Version {
    /// 6 of 6.12.38.
    pub major: u16,
    /// 12 of 6.12.38.
    pub minor: u16,
    /// 38 of 6.12.38; 0 where none is written.
    pub patch: u16,
}

impl Version {
    /// The version with these numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Major and minor: what kernels are maintained by.
    #[must_use]
    pub const fn series(self) -> (u16, u16) {
        (self.major, self.minor)
    }

    /// The version that a release string starts with: 6.1.0 of "6.1.0-37-cloud-amd64", 7.0.0 of "7.0-rc3".
    #[must_use]
    pub fn of_release(release: &str) -> Option<Self> {
        let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
        release.get(..end)?.trim_end_matches('.').parse().ok()
    }
}

/// Not of the form MAJOR.MINOR or MAJOR.MINOR.PATCH.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a kernel version (such as 6.12 or 6.12.38)")]
pub struct NotAVersion(pub String);

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let bad = || NotAVersion(text.to_owned());
        // `parse` alone would take "+6".
        let number = |part: Option<&str>| match part {
            Some(p) if p.bytes().all(|b| b.is_ascii_digit()) => p.parse().map_err(|_| bad()),
            _ => Err(bad()),
        };
        let mut parts = text.split('.');
        let (major, minor) = (number(parts.next())?, number(parts.next())?);
        let patch = parts.next().map_or(Ok(0), |p| number(Some(p)))?;
        // More than one further number is a vendor's (4.18.0.553): not ours to order.
        if parts.next().is_some() { Err(bad()) } else { Ok(Self { major, minor, patch }) }
    }
}

impl TryFrom<String> for Version {
    type Error = NotAVersion;

    fn try_from(text: String) -> Result<Self, NotAVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(v: Version) -> Self {
        v.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What machine a kernel is for, by Debian's names.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64.
    #[value(alias = "x86_64", alias = "x86-64")]
    Amd64,
    /// 64-bit ARM.
    #[value(alias = "aarch64")]
    Arm64,
}

impl Arch {
    /// This machine's; x86-64 where it is neither.
    #[must_use]
    pub const fn of_host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 }
    }

    /// The processor's name in compilers' targets.
    #[must_use]
    pub const fn cpu(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// Debian's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
