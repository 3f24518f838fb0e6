//! The archive, through apt with a configuration of our own: lists, downloads, checksums and signatures are apt's work,
//! and the machine's apt is neither read from beyond its sources and network settings nor written to.

use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::error::KernelsError;
use super::index::{self, Listed, Package};
use super::sources;
use super::version::Arch;

/// apt with its own state, below one folder.
#[derive(Debug)]
pub(super) struct Apt {
    dir: PathBuf,
    arch: Arch,
}

impl Apt {
    pub(super) fn new(dir: PathBuf, arch: Arch) -> Self {
        Self { dir, arch }
    }

    /// Reads the archive's lists again. Gives what apt complained about: a suite that is gone, a list that is old.
    pub(super) fn update(&self) -> Result<Vec<String>, KernelsError> {
        self.configure()?;
        let output = self.run("apt-get", &["update", "-q"])?;
        Ok(complaints(&output))
    }

    /// The kernels that the lists have.
    pub(super) fn listed(&self) -> Result<Vec<Listed>, KernelsError> {
        let pattern = format!("^linux-(image|binary|base|modules)-[0-9].*-cloud-{}$", self.arch);
        let found = self.run("apt-cache", &["search", "--names-only", &pattern])?;
        let found = String::from_utf8_lossy(&found.stdout);
        let names: Vec<&str> = found.lines().filter_map(|line| line.split_whitespace().next()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let records = self.run("apt-cache", &[&["show"], names.as_slice()].concat())?;
        Ok(index::parse(&String::from_utf8_lossy(&records.stdout), self.arch))
    }

    /// Fetches packages into a folder, checked against the signed lists; `progress` gets 0 to 100.
    pub(super) fn download(
        &self,
        packages: &[&Package],
        into: &Path,
        progress: &dyn Fn(f32),
    ) -> Result<Vec<PathBuf>, KernelsError> {
        let wanted: Vec<String> = packages.iter().map(|p| format!("{}={}", p.name, p.version)).collect();
        // Errors go to a file: a pipe that nobody reads while progress is read could fill.
        let io = |source: std::io::Error| KernelsError::Apt {
            what: "making a temporary file".to_owned(),
            message: source.to_string(),
        };
        let mut errors = tempfile::tempfile().map_err(io)?;
        let mut child = self
            .command("apt-get")
            // Progress goes to standard output, a line each: `dlstatus:FILE:PERCENT:TEXT`.
            .args(["-q", "-o", "APT::Status-Fd=1", "download"])
            .args(&wanted)
            .current_dir(into)
            .stdout(Stdio::piped())
            .stderr(errors.try_clone().map_err(io)?)
            .spawn()
            .map_err(no_apt("apt-get"))?;
        for line in
            child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok)
        {
            if let Some(percent) =
                line.strip_prefix("dlstatus:").and_then(|l| l.split(':').nth(1)?.parse().ok())
            {
                progress(percent);
            }
        }
        let mut output = child.wait_with_output().map_err(no_apt("apt-get"))?;
        errors.rewind().and_then(|()| errors.read_to_end(&mut output.stderr)).map_err(io)?;
        if !output.status.success() {
            return Err(failed_download(packages, message(&output)));
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(into)
            .map_err(KernelsError::io("read", into))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "deb"))
            .collect();
        files.sort();
        Ok(files)
    }

    /// Writes the configuration, from the machine's sources as they are now.
    fn configure(&self) -> Result<(), KernelsError> {
        let sources = sources::list(self.arch)?;
        for folder in ["state/lists/partial", "cache/archives/partial", "etc"] {
            let folder = self.dir.join(folder);
            std::fs::create_dir_all(&folder).map_err(KernelsError::io("create", &folder))?;
        }
        for (file, content) in [
            ("state/status", String::new()),
            ("etc/sources.list", sources),
            ("apt.conf", self.configuration(&sources::network_settings())),
        ] {
            let file = self.dir.join(file);
            std::fs::write(&file, content).map_err(KernelsError::io("write", &file))?;
        }
        Ok(())
    }

    /// apt.conf(5). The machine's own files (`parts`, `main`) are left out because their hooks act on the machine's
    /// state; `network` brings back its proxies and the like.
    fn configuration(&self, network: &str) -> String {
        let dir = self.dir.display();
        let arch = self.arch;
        format!(
            "Dir::State \"{dir}/state\";\nDir::State::status \"{dir}/state/status\";\nDir::Cache \"{dir}/cache\";\n\
             Dir::Log \"{dir}/log\";\nDir::Etc \"/etc/apt\";\nDir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"/dev/null\";\nDir::Etc::sourcelist \"{dir}/etc/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"/dev/null\";\nAPT::Architecture \"{arch}\";\n\
             APT::Architectures {{ \"{arch}\"; }};\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
             Acquire::GzipIndexes \"true\";\nDir::Cache::srcpkgcache \"\";\nAcquire::Retries \"1\";\nAcquire::http::Timeout \"20\";\n{network}"
        )
    }

    fn command(&self, program: &'static str) -> Command {
        let mut command = Command::new(program);
        // Messages are looked at, so not in the user's language.
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    fn run(&self, program: &'static str, args: &[&str]) -> Result<Output, KernelsError> {
        self.command(program).args(args).output().map_err(no_apt(program))
    }
}

pub(super) fn no_apt(program: &'static str) -> impl FnOnce(std::io::Error) -> KernelsError {
    move |source| KernelsError::NoApt { program, source }
}

/// A package that left the archive, or anything else (no network, no space, a wrong checksum).
fn failed_download(packages: &[&Package], message: String) -> KernelsError {
    let names: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    let package = names.join(", ");
    // Not there for the server, or not in the lists any more because another process has read newer ones.
    if ["404", "was not found", "no candidate", "Unable to locate"].iter().any(|sign| message.contains(sign))
    {
        let package_version = packages.first().map_or_else(String::new, |p| p.version.clone());
        KernelsError::Gone { package, package_version, message }
    } else {
        KernelsError::Apt { what: format!("fetching {package}"), message }
    }
}

/// apt's errors and warnings, each once.
fn complaints(output: &Output) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let Some(text) = ["E: ", "W: "].iter().find_map(|p| line.trim().strip_prefix(p)) else { continue };
        let text = text.trim().to_owned();
        if !lines.contains(&text) {
            lines.push(text);
        }
    }
    lines
}

/// What to quote of a failed run.
fn message(output: &Output) -> String {
    let lines = complaints(output);
    if lines.is_empty() { format!("apt ended with {}", output.status) } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_left_is_told_from_a_network_that_failed() {
        let package = Package { name: "linux-image-x".into(), version: "6.1-1".into(), size: 1 };
        let fail = |message: &str| failed_download(&[&package], message.to_owned());
        assert!(matches!(
            fail("Failed to fetch http://m.invalid/x.deb  404  Not Found"),
            KernelsError::Gone { .. }
        ));
        assert!(matches!(
            fail("Version '6.1-1' for 'linux-image-x' was not found"),
            KernelsError::Gone { .. }
        ));
        let offline = fail("Failed to fetch http://m.invalid/x.deb  Temporary failure resolving 'm.invalid'");
        assert!(matches!(offline, KernelsError::Apt { .. }));
        assert!(offline.to_string().starts_with("fetching linux-image-x failed: "));
    }

    #[test]
    fn the_configuration_keeps_the_machines_state_out() {
        let text = Apt::new("/c/apt".into(), Arch::Arm64)
            .configuration("Acquire::http::Proxy \"http://p.invalid:1\";\n");
        for line in text.lines().filter(|l| l.starts_with("Dir::") && !l.starts_with("Dir::Etc \"/etc/apt\""))
        {
            assert!(["\"/c/apt/", "\"/dev/null\"", "\"\""].iter().any(|own| line.contains(own)), "{line}");
        }
        assert!(
            text.contains("APT::Architecture \"arm64\";")
                && text.ends_with("Proxy \"http://p.invalid:1\";\n")
        );
    }
}
