//! QEMU's control protocol (QMP), as much as saving and restoring need: one command, one answer.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// An answer takes milliseconds; this is for a loaded host.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at something that changes by itself.
const STEP: Duration = Duration::from_millis(2);

/// A connection to one QEMU.
#[derive(Debug)]
pub(super) struct Qmp {
    reader: BufReader<UnixStream>,
    greeted: bool,
}

impl Qmp {
    /// Talks over this socket, whose other end QEMU gets.
    pub(super) fn over(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream), greeted: false })
    }

    /// Sends a command and gives what it returns; events in between are passed over. Before the first one, greets.
    pub(super) fn command(&mut self, name: &str, arguments: Value) -> io::Result<Value> {
        if !self.greeted {
            self.greeted = true;
            self.line()?;
            self.command("qmp_capabilities", json!({}))?;
        }
        let text = json!({ "execute": name, "arguments": arguments }).to_string();
        self.reader.get_mut().write_all(text.as_bytes())?;
        loop {
            let answer = self.line()?;
            if let Some(error) = answer.get("error") {
                return Err(io::Error::other(format!("{name}: {error}")));
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    /// Memory that is a file needs no copy in the saved state.
    pub(super) fn ignore_shared(&mut self) -> io::Result<()> {
        let on = json!({ "capabilities": [{ "capability": "x-ignore-shared", "state": true }] });
        self.command("migrate-set-capabilities", on).map(drop)
    }

    /// Asks until the answer's `status` is one of the wanted.
    pub(super) fn wait(&mut self, query: &str, wanted: &[&str]) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.command(query, json!({}))?;
            let status = answer.get("status").and_then(Value::as_str).unwrap_or_default();
            if wanted.contains(&status) {
                return Ok(());
            }
            if status == "failed" || Instant::now() > deadline {
                return Err(io::Error::other(format!("{query}: {answer}")));
            }
            thread::sleep(STEP);
        }
    }

    fn line(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_str(&line).map_err(io::Error::other)
    }
}
