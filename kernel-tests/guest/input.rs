//! The program's standard input: what the host sends, through a pipe or a terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::channel::Writer;
use crate::protocol::{FromGuest, Input};
use crate::sys;

/// Where pieces of the input go; the host sends more as they are taken.
#[derive(Default)]
pub(crate) struct Feed {
    to: Option<Sender<Vec<u8>>>,
    terminal: Option<File>,
}

impl Feed {
    /// A piece; an empty one is the end.
    pub(crate) fn put(&mut self, data: Vec<u8>) {
        if data.is_empty() {
            self.to = None;
        } else if let Some(to) = &self.to {
            let _ = to.send(data);
        }
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        if let Some(terminal) = &self.terminal {
            let _ = sys::set_window(terminal, rows, columns);
        }
    }
}

/// The near ends of a program's terminal.
pub(crate) struct Terminal {
    pub(crate) output: File,
    pub(crate) input: File,
}

/// Gives the program its standard streams; with a terminal all three are that.
pub(crate) fn connect(command: &mut Command, input: Input) -> io::Result<Option<Terminal>> {
    match input {
        Input::Null => command.stdin(Stdio::null()),
        Input::Pipe => command.stdin(Stdio::piped()),
        Input::Terminal(rows, columns) => {
            const O_NOCTTY: i32 = 0o400;
            let open = |path: &str| {
                OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(path)
            };
            let near = open("/dev/ptmx")?;
            let far = open(&format!("/dev/pts/{}", sys::unlock_terminal(&near)?))?;
            sys::set_window(&near, rows, columns)?;
            for stream in [Command::stdin, Command::stdout, Command::stderr] {
                stream(command, Stdio::from(OwnedFd::from(far.try_clone()?)));
            }
            sys::on_its_own_terminal(command);
            return Ok(Some(Terminal { output: near.try_clone()?, input: near }));
        }
    };
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(None)
}

/// Writes pieces to a program as it reads them, and tells the host of each, since a program may read nothing.
pub(crate) fn feed(mut to: impl Write + Send + 'static, terminal: Option<File>, host: Writer) -> Feed {
    let (sender, pieces) = channel::<Vec<u8>>();
    let is_terminal = terminal.is_some();
    thread::spawn(move || {
        let mut open = true;
        for piece in pieces {
            open = open && to.write_all(&piece).and_then(|()| to.flush()).is_ok();
            // A program that has closed its input has no use for the rest, and the host may stop caring.
            if host.send(&FromGuest::Taken).is_err() {
                return;
            }
        }
        if is_terminal {
            // What a terminal makes of the end of input: end of file at the start of a line.
            let _ = to.write_all(&[4]);
        }
    });
    Feed { to: Some(sender), terminal }
}
