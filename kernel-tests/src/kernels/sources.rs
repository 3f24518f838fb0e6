//! Where Debian's archive is: taken from this machine's own apt sources, so that its mirror and proxies are used. A machine
//! of another distribution gets it from Debian's own address, if it has Debian's keys.

use std::process::Command;

use super::apt::no_apt;
use super::error::KernelsError;
use super::version::Arch;

/// The environment variable that names a mirror where the machine's sources name none.
pub(super) const MIRROR: &str = "BPF_VM_MIRROR";

/// Debian's own address, which finds a mirror nearby (<https://deb.debian.org>).
const PUBLIC: &str = "http://deb.debian.org/debian";

/// Suites of the main archive with kernels for tests, and of the security archive. One that a mirror lacks is done
/// without.
const SUITES: [&str; 6] = ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid"];
const SECURITY: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];

/// What a source of Debian itself may be for, without its suffix; another archive's suites are called differently.
const RELEASES: [&str; 11] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "buster",
];

/// Where Debian's keys lie when they are not among the keys that apt trusts for all.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// The two archives.
#[derive(PartialEq, Eq, Debug)]
struct Mirrors {
    main: String,
    security: String,
}

/// The text of a sources.list(5) with every suite that has kernels.
pub(super) fn list(arch: Arch) -> Result<String, KernelsError> {
    let keyring = KEYRINGS.into_iter().find(|path| std::path::Path::new(path).is_file());
    let mirrors = match std::env::var(MIRROR) {
        Ok(url) if !url.trim().is_empty() => Mirrors::beside(url.trim()),
        _ => of_machine(&indextargets()?, keyring)?,
    };
    Ok(render(&mirrors, arch, keyring))
}

fn render(mirrors: &Mirrors, arch: Arch, keyring: Option<&str>) -> String {
    let signed = keyring.map_or_else(String::new, |path| format!(" signed-by={path}"));
    // A suite that is no longer maintained is no longer signed anew; its kernels are what a matrix is for.
    let options = format!("arch={arch} check-valid-until=no{signed}");
    let line = |url: &str, suite: &str| format!("deb [{options}] {url} {suite} main\n");
    let main = SUITES.iter().map(|suite| line(&mirrors.main, suite));
    main.chain(SECURITY.iter().map(|suite| line(&mirrors.security, suite))).collect()
}

/// Asks apt for the machine's sources; it reads every format that they are written in.
fn indextargets() -> Result<String, KernelsError> {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output()
        .map_err(no_apt("apt-get"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The machine's mirror of Debian, or Debian's own; what comes from there could not be trusted without its keys.
fn of_machine(sources: &str, keyring: Option<&str>) -> Result<Mirrors, KernelsError> {
    let public = || keyring.map(|_| Mirrors::beside(PUBLIC));
    choose(sources).or_else(public).ok_or(KernelsError::NoMirror { variable: MIRROR })
}

/// Chooses Debian's archives among lines of `URI RELEASE COMPONENT ORIGIN`; the origin is known only of those whose
/// lists were read.
fn choose(lines: &str) -> Option<Mirrors> {
    let mut main: Option<(bool, &str)> = None;
    let mut security: Option<&str> = None;
    for line in lines.lines() {
        let mut words = line.split_whitespace();
        let (Some(url), Some(release), Some("main")) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        // An unknown origin is printed as its own placeholder.
        let origin = words.next().filter(|o| !o.starts_with("$("));
        if origin.is_some_and(|o| o != "Debian") {
            continue;
        }
        // "bookworm-security" and, before bullseye, "buster/updates".
        let (name, suffix) = release.split_once(['-', '/']).unwrap_or((release, ""));
        if !RELEASES.contains(&name) {
            continue;
        }
        if suffix == "security" {
            security = security.or(Some(url));
        } else if matches!(suffix, "" | "updates" | "backports") {
            let sure = origin.is_some();
            if main.is_none_or(|(known, _)| sure && !known) {
                main = Some((sure, url));
            }
        }
    }
    let (_, main) = main?;
    let beside = Mirrors::beside(main);
    Some(Mirrors { security: security.map_or(beside.security, str::to_owned), main: beside.main })
}

impl Mirrors {
    /// By custom the security archive lies beside the main one, with a suffix.
    fn beside(main: &str) -> Self {
        let main = main.trim_end_matches('/');
        Self { main: main.to_owned(), security: format!("{main}-security") }
    }
}

/// The machine's settings for reaching archives: proxies, certificates, timeouts, checks of dates. Index targets are of
/// no use here, and how lists are kept on the disk is our own affair.
pub(super) fn network_settings() -> String {
    let Ok(output) = Command::new("apt-config").arg("dump").output() else { return String::new() };
    keep_network(&String::from_utf8_lossy(&output.stdout))
}

fn keep_network(dump: &str) -> String {
    const KEPT: [&str; 7] = ["http", "https", "ftp", "tor", "Check-Valid-Until", "Check-Date", "ForceIPv"];
    let kept = |line: &&str| {
        line.strip_prefix("Acquire::").is_some_and(|l| KEPT.iter().any(|k| l.starts_with(k)))
            && !line.ends_with(" \"\";")
    };
    dump.lines().filter(kept).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &str) -> Option<(String, String)> {
        choose(lines).map(|m| (m.main, m.security))
    }

    #[test]
    fn debians_archive_is_told_from_others() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(
            chosen(
                "https://vendor.invalid/debian/ bookworm stable Vendor\n\
                 https://other.invalid/apt/ bookworm-pgdg main Other\n\
                 https://more.invalid/apt/ bookworm main More\n\
                 http://m.invalid/debian/ bookworm main Debian\n\
                 http://s.invalid/sec/ bookworm-security main Debian\n"
            ),
            pair("http://m.invalid/debian", "http://s.invalid/sec/")
        );
        // Lists were never read, so no origin is known; no security source.
        assert_eq!(
            chosen("http://m.invalid/d/ stable-updates main $(ORIGIN)\n"),
            pair("http://m.invalid/d", "http://m.invalid/d-security")
        );
        assert_eq!(
            chosen("http://u.invalid/u/ trixie main $(ORIGIN)\nhttp://m.invalid/d/ trixie main Debian"),
            pair("http://m.invalid/d", "http://m.invalid/d-security")
        );
        assert_eq!(chosen("http://u.invalid/ubuntu/ noble main Ubuntu\n"), None);
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn a_machine_without_debians_sources_gets_its_own_address_if_it_has_the_keys() {
        let ubuntu = "http://u.invalid/ubuntu/ noble main Ubuntu\n";
        let mirrors = of_machine(ubuntu, Some("/k.gpg")).expect("it can be trusted");
        assert_eq!(mirrors.main, PUBLIC);
        assert_eq!(mirrors.security, "http://deb.debian.org/debian-security");
        let error = of_machine(ubuntu, None).expect_err("it cannot").to_string();
        assert!(error.contains("debian-archive-keyring") && error.contains(MIRROR), "{error}");
        let own = of_machine("http://m.invalid/debian/ bookworm main Debian\n", None).expect("its own");
        assert_eq!(own.main, "http://m.invalid/debian");
    }

    #[test]
    fn every_suite_gets_a_line() {
        let text = render(&Mirrors::beside("http://m.invalid/debian/"), Arch::Arm64, Some("/k.gpg"));
        assert_eq!(text.lines().count(), SUITES.len() + SECURITY.len());
        assert_eq!(
            text.lines().next(),
            Some(
                "deb [arch=arm64 check-valid-until=no signed-by=/k.gpg] http://m.invalid/debian bullseye main"
            )
        );
        assert!(text.contains(" http://m.invalid/debian-security trixie-security main\n"));
    }

    #[test]
    fn only_settings_of_the_network_are_taken_over() {
        let dump = "APT::Update::Post-Invoke:: \"rm -rf /\";\nAcquire \"\";\nAcquire::http \"\";\n\
                    Acquire::http::Proxy \"http://p.invalid:1\";\nAcquire::IndexTargets::deb::X::MetaKey \"y\";\n\
                    Acquire::GzipIndexes \"true\";\nDir::Cache \"/c\";\n";
        assert_eq!(keep_network(dump), "Acquire::http::Proxy \"http://p.invalid:1\";\n");
    }
}
