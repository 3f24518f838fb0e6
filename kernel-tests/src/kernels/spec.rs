//! Which kernels are meant: what `--kernel` takes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::KernelsError;
use super::version::Version;

/// Which kernel, or which kernels.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Spec {
    /// "6.12": the newest known kernel of a series.
    Series(u16, u16),
    /// "6.12.38": exactly this one.
    Exact(Version),
    /// "5.10..7.3": the newest of each series from the first to the last, both included, as far as there are any.
    Range {
        /// The first series.
        from: (u16, u16),
        /// The last series.
        to: (u16, u16),
    },
    /// "newest": the newest series there is.
    Newest,
    /// A path to a vmlinuz (bzImage), a vmlinux or a package file (.deb).
    Path(PathBuf),
    /// "host": the kernel that this machine runs.
    Host,
}

impl FromStr for Spec {
    type Err = KernelsError;

    fn from_str(text: &str) -> Result<Self, KernelsError> {
        let bad = |why: &str| KernelsError::BadSpec { spec: text.to_owned(), why: why.to_owned() };
        match text {
            "" => return Err(bad("it is empty")),
            "newest" => return Ok(Self::Newest),
            "host" => return Ok(Self::Host),
            _ => {}
        }
        // A path first: "./6.12" and "/boot/vmlinuz-6.1..2" are files, whatever they look like.
        if text.contains('/')
            || ["vmlinu", "bzImage"].iter().any(|p| text.starts_with(p))
            || text.ends_with(".deb")
        {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        if let Some((from, to)) = text.split_once("..") {
            let series = |end: &str| match end.parse::<Version>() {
                Ok(v) if v.patch == 0 && end.matches('.').count() == 1 => Ok(v.series()),
                _ => Err(bad("both ends of a range must be series such as 5.10")),
            };
            let (from, to) = (series(from)?, series(to)?);
            return if from <= to {
                Ok(Self::Range { from, to })
            } else {
                Err(bad("the range is empty: it runs backwards"))
            };
        }
        match (text.parse::<Version>(), text.matches('.').count()) {
            (Ok(v), 1) => Ok(Self::Series(v.major, v.minor)),
            (Ok(v), _) => Ok(Self::Exact(v)),
            (Err(_), _) => Err(bad("it is none of these forms")),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Series(major, minor) => write!(f, "{major}.{minor}"),
            Self::Exact(version) => write!(f, "{version}"),
            Self::Range { from, to } => write!(f, "{}.{}..{}.{}", from.0, from.1, to.0, to.1),
            Self::Newest => f.write_str("newest"),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Host => f.write_str("host"),
        }
    }
}

impl Spec {
    /// Whether a version is meant; never for a path or the host's kernel.
    #[must_use]
    pub fn takes(&self, version: Version) -> bool {
        match self {
            Self::Series(major, minor) => version.series() == (*major, *minor),
            Self::Exact(exact) => version == *exact,
            Self::Range { from, to } => (*from..=*to).contains(&version.series()),
            Self::Newest => true,
            Self::Path(_) | Self::Host => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_told_from_the_others() {
        let path = |p: &str| Spec::Path(PathBuf::from(p));
        for (text, expected) in [
            ("6.12", Spec::Series(6, 12)),
            ("6.12.0", Spec::Exact(Version::new(6, 12, 0))),
            ("6.12.38", Spec::Exact(Version::new(6, 12, 38))),
            ("5.10..7.3", Spec::Range { from: (5, 10), to: (7, 3) }),
            ("newest", Spec::Newest),
            ("host", Spec::Host),
            ("./6.12", path("./6.12")),
            ("../host", path("../host")),
            ("/boot/vmlinuz-6.1.0", path("/boot/vmlinuz-6.1.0")),
            ("vmlinux", path("vmlinux")),
            ("bzImage.new", path("bzImage.new")),
            ("k.deb", path("k.deb")),
        ] {
            let spec: Spec = text.parse().unwrap();
            assert_eq!(spec, expected, "{text}");
            assert_eq!(spec.to_string(), text, "it prints as it is written");
        }
    }

    #[test]
    fn what_is_no_spec_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "it is empty"),
            ("6", "none of these forms"),
            ("6.", "none of these forms"),
            ("+6.1", "none of these forms"),
            ("6.12.1.5", "none of these forms"),
            ("6.99999", "none of these forms"),
            ("latest", "none of these forms"),
            ("7.3..5.10", "it runs backwards"),
            ("5.10..", "both ends"),
            ("5.10.1..6.1", "both ends"),
            ("5.10...6.1", "both ends"),
        ] {
            let error = text.parse::<Spec>().unwrap_err();
            assert!(
                matches!(error, KernelsError::BadSpec { .. }) && error.to_string().contains(why),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_range_takes_both_ends_and_every_patch() {
        let range: Spec = "5.10..6.1".parse().unwrap();
        let taken = |v: &str| range.takes(v.parse().unwrap());
        assert!(taken("5.10.0") && taken("5.10.262") && taken("6.1.192") && taken("5.19.1"));
        assert!(!taken("5.9.16") && !taken("6.2.0") && !taken("6.12.1"));
    }
}
