//! Nothing outlives `bpf-vm`, even where it is killed: a shell waits for its end and then ends QEMU.
//!
//! PR_SET_PDEATHSIG is about the thread that started a child, and setting it takes code between fork and exec. A pipe that
//! only this process holds open says the same: it ends with the process. A guest that runs notices by itself, through its
//! agent's channel; one that boots, or waits to be restored, does not.

use std::ffi::OsStr;
use std::io::{self, PipeWriter, pipe};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SHELL: &str = "/bin/sh";
/// Reads the process id that is to be ended and then up to the end of the pipe; removes the folder that was being filled.
const WAIT: &str = r#"read -r qemu; read -r _
[ -z "$qemu" ] || kill -9 "$qemu"
[ -z "$1" ] || rm -rf -- "$1""#;
/// Says its process id and becomes QEMU: there is no moment at which nobody knows it.
const BECOME: &str = r#"echo $$ >&9; exec "$@" 9>&-"#;
/// Where [`BECOME`] says it.
pub(super) const TOLD: i32 = 9;

/// The shell that waits. It has to be dismissed when QEMU was killed and before it is waited for: later its process id may
/// be another process's.
#[derive(Debug)]
pub(super) struct Keeper {
    shell: Option<Child>,
    /// Its end is what the shell waits for.
    pipe: PipeWriter,
}

impl Keeper {
    /// Waits from now on; `leftover` is what the killed would leave behind.
    pub(super) fn start(leftover: Option<&Path>) -> io::Result<Self> {
        let (reader, pipe) = pipe()?;
        let shell = Command::new(SHELL)
            .args(["-c", WAIT, "bpf-vm-keeper"])
            .arg(leftover.map_or(OsStr::new(""), Path::as_os_str))
            .stdin(Stdio::from(reader))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What ends a whole group should end the others first.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell: Some(shell), pipe })
    }

    /// A command for a program that is to be ended, which gets [`Keeper::told`] as its file [`TOLD`].
    pub(super) fn command(program: &Path) -> Command {
        let mut command = Command::new(SHELL);
        command.args(["-c", BECOME, "bpf-vm"]).arg(program);
        command
    }

    pub(super) fn told(&self) -> io::Result<PipeWriter> {
        self.pipe.try_clone()
    }

    /// It is needed no more.
    pub(super) fn dismiss(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            let _ = shell.kill();
            let _ = shell.wait();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.dismiss();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_end_of_the_pipe_ends_the_other_and_what_it_made() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = dir.path().join("it's being made");
        fs::create_dir(&folder).expect("a folder");
        let mut other = Command::new("sleep").arg("600").spawn().expect("it starts");
        let mut keeper = Keeper::start(Some(&folder)).expect("it starts");
        writeln!(keeper.pipe, "{}", other.id()).expect("it listens");
        let mut shell = keeper.shell.take().expect("it waits");
        drop(keeper);
        assert_eq!(other.wait().expect("it ends").signal(), Some(9));
        shell.wait().expect("it ends");
        assert!(!folder.exists());
    }

    #[test]
    fn a_dismissed_one_ends_nothing() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut other = Command::new("sleep").arg("600").spawn().expect("it starts");
        let mut keeper = Keeper::start(Some(dir.path())).expect("it starts");
        writeln!(keeper.pipe, "{}", other.id()).expect("it listens");
        drop(keeper);
        assert!(other.try_wait().expect("it can be asked").is_none());
        assert!(dir.path().exists());
        other.kill().and_then(|()| other.wait()).expect("it ends");
    }
}
