//! Which kernels the archive lists: apt's records, read as a table of kernels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::debversion;
use super::version::{Arch, Version};

/// A package of an archive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its Debian version.
    pub version: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A kernel that an archive lists; whether it is still there shows when it is fetched.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listed {
    /// The upstream version.
    pub version: Version,
    /// What `uname -r` will say.
    pub release: String,
    /// The package with the image.
    pub image: Package,
    /// Packages with its configuration and modules, for kernels that keep these apart (since 6.19).
    pub companions: Vec<Package>,
}

/// An image is never this small: a smaller package is a meta-package, or (since 6.19) only depends on the image's.
const SMALLEST_IMAGE: u64 = 1 << 20;

/// Reads records of `apt-cache show` (deb822: `Key: value` lines, a blank line after each record) and gives the kernels
/// of the cloud flavour, oldest first. Of several packages with one release, the last version is taken.
pub(super) fn parse(records: &str, arch: Arch) -> Vec<Listed> {
    let mut packages: BTreeMap<&str, Package> = BTreeMap::new();
    for record in records.split("\n\n") {
        let field = |key: &str| {
            let mut lines = record.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
        };
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else { continue };
        let size = field("Size").and_then(|s| s.parse().ok()).unwrap_or(0);
        let package = Package { name: name.to_owned(), version: version.to_owned(), size };
        match packages.get(name) {
            Some(known) if debversion::compare(&known.version, &package.version).is_ge() => {}
            _ => {
                packages.insert(name, package);
            }
        }
    }
    let mut listed: BTreeMap<&str, Listed> = BTreeMap::new();
    for (name, image) in &packages {
        let Some(release) = ["linux-image-", "linux-binary-"].iter().find_map(|p| name.strip_prefix(p))
        else {
            continue;
        };
        let flavour = release.strip_suffix(arch.name()).is_some_and(|r| r.ends_with("-cloud-"));
        if !flavour || image.size < SMALLEST_IMAGE || !release.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let Some(version) = Version::of_release(&image.version) else { continue };
        let companion = |kind: &str| packages.get(format!("linux-{kind}-{release}").as_str()).cloned();
        let companions = ["base", "modules"].into_iter().filter_map(companion).collect();
        let kernel = Listed { version, release: release.to_owned(), image: image.clone(), companions };
        listed.insert(release, kernel);
    }
    let mut listed: Vec<Listed> = listed.into_values().collect();
    listed.sort_by(|a, b| (a.version, &a.release).cmp(&(b.version, &b.release)));
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, version: &str, size: u64) -> String {
        format!(
            "Package: {name}\nSource: x\nVersion: {version}\nDescription: a\n Version: b\nSize: {size}\n\n"
        )
    }

    #[test]
    fn kernels_are_told_from_what_is_named_alike() {
        const MB: u64 = 1 << 20;
        let records: String = [
            record("linux-image-6.1.0-56-cloud-amd64", "6.1.99-1", 24 * MB),
            record("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", 26 * MB),
            record("linux-image-6.1.0-56-cloud-amd64", "6.1.192-1", 25 * MB),
            record("linux-image-6.1-cloud-amd64", "6.1.192-2", 1500),
            record("linux-image-cloud-amd64", "6.12.117-1", 1500),
            record("linux-image-cloud-amd64-dbg", "6.12.117-1", 1500),
            record("linux-image-6.1.0-56-cloud-amd64-unsigned", "6.1.192-2", 26 * MB),
            record("linux-image-6.1.0-56-amd64", "6.1.192-2", 26 * MB),
            record("linux-image-6.1.0-56-cloud-arm64", "6.1.192-2", 26 * MB),
            record("linux-image-5.10.0-46-cloud-amd64", "5.10.262-1", 21 * MB),
            // Since 6.19 the image is in another package; since 7.2 modules and configuration are apart too.
            record("linux-image-7.3.4+deb13-cloud-amd64", "7.3.4-1~bpo13+1", 1928),
            record("linux-binary-7.3.4+deb13-cloud-amd64", "7.3.4-1~bpo13+1", 13 * MB),
            record("linux-binary-unsigned-7.3.4+deb13-cloud-amd64", "7.3.4-1~bpo13+1", 13 * MB),
            record("linux-base-7.3.4+deb13-cloud-amd64", "7.3.4-1~bpo13+1", MB),
            record("linux-modules-7.3.4+deb13-cloud-amd64", "7.3.4-1~bpo13+1", 22 * MB),
        ]
        .concat();
        let text: Vec<String> = parse(&records, Arch::Amd64)
            .iter()
            .map(|k| {
                let with: Vec<&str> = k.companions.iter().map(|p| p.name.as_str()).collect();
                format!("{} {} {} {}", k.version, k.release, k.image.version, with.join(","))
            })
            .collect();
        assert_eq!(
            text,
            [
                "5.10.262 5.10.0-46-cloud-amd64 5.10.262-1 ",
                "6.1.192 6.1.0-56-cloud-amd64 6.1.192-2 ",
                "7.3.4 7.3.4+deb13-cloud-amd64 7.3.4-1~bpo13+1 \
                 linux-base-7.3.4+deb13-cloud-amd64,linux-modules-7.3.4+deb13-cloud-amd64",
            ]
        );
        assert_eq!(parse(&records, Arch::Arm64).len(), 1);
        assert!(parse("", Arch::Amd64).is_empty());
        assert!(parse("E: nothing\n\n\n\nVersion: 1", Arch::Amd64).is_empty());
    }
}
