//! This process's output, written by a thread of its own: a reader that does not read must not keep the program's time limit
//! and the user's signals from anything.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::vm::VmError;

/// Bytes on the way at which the program has to wait.
const ENOUGH: usize = 256 * 1024;
/// How long a reader is waited for when there is an error to be told.
const PATIENCE: Duration = Duration::from_secs(1);
const NAMES: [&str; 2] = ["standard output", "standard error"];

/// Standard output and standard error, in the order in which they were written to.
#[derive(Debug)]
pub(super) struct Streams(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<(usize, Vec<u8>)>,
    /// With the piece that is being written.
    bytes: usize,
    /// Of each of the two.
    failed: [Option<io::Error>; 2],
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Streams {
    /// Those of this process.
    pub(super) fn start() -> io::Result<Self> {
        let file = |from: io::Result<_>| from.map(File::from);
        let stdout = file(io::stdout().as_fd().try_clone_to_owned())?;
        Ok(Self::over([stdout, file(io::stderr().as_fd().try_clone_to_owned())?]))
    }

    fn over(mut files: [File; 2]) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            let mut state = theirs.state();
            loop {
                let Some((which, piece)) = state.pieces.pop_front() else {
                    if state.closed {
                        return;
                    }
                    state = theirs.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
                    continue;
                };
                drop(state);
                let written = files.get_mut(which).map_or(Ok(()), |file| write_all(file, &piece));
                state = theirs.state();
                state.bytes -= piece.len();
                if let (Err(error), Some(failed)) = (written, state.failed.get_mut(which)) {
                    failed.get_or_insert(error);
                    state.pieces.retain(|(other, _)| *other != which);
                    state.bytes = state.pieces.iter().map(|(_, piece)| piece.len()).sum();
                }
                theirs.changed.notify_all();
            }
        });
        Self(shared)
    }

    /// Standard output and standard error. They never block, and fail with what failed before.
    pub(super) fn writers(&self) -> [impl Write + use<>; 2] {
        [0, 1].map(|which| Stream { shared: Arc::clone(&self.0), which })
    }

    /// What became of a run when its output is written, too.
    pub(super) fn settle<T>(&self, ran: Result<T, VmError>) -> Result<T, VmError> {
        // Of a run that went well nothing is lost; by now signals do what they do to any program.
        let limit = if ran.is_ok() { None } else { Some(Instant::now() + PATIENCE) };
        let mut state = self.0.state();
        while state.bytes > 0 {
            let left = limit.map(|limit| limit.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            let waited = self.0.changed.wait_timeout(state, left.unwrap_or(PATIENCE));
            (state, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        let failed = state.failed.iter_mut().zip(NAMES);
        let mut failed = failed.filter_map(|(error, name)| Some((error.take()?, name)));
        match (ran, failed.find(|(error, _)| error.kind() != io::ErrorKind::BrokenPipe)) {
            (Ok(_), Some((error, name))) => Err(VmError::io(format!("write to {name}"))(error)),
            (ran, _) => ran,
        }
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.changed.notify_all();
    }
}

struct Stream {
    shared: Arc<Shared>,
    which: usize,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.shared.state();
        if let Some(error) = state.failed.get(self.which).and_then(Option::as_ref) {
            return Err(match error.raw_os_error() {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => error.kind().into(),
            });
        }
        if state.bytes >= ENOUGH {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.bytes += bytes.len();
        state.pieces.push_back((self.which, bytes.to_vec()));
        self.shared.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Also to a file that others have made non-blocking, as some terminals' programs do.
fn write_all(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5))
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Says something to the user as the last thing; a reader that reads nothing else does not read this either.
pub(super) fn last_words(text: String) {
    let (done, said) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let _ = writeln!(io::stderr(), "{text}");
        let _ = done.send(());
    });
    let _ = said.recv_timeout(PATIENCE);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    fn file(from: impl Into<OwnedFd>) -> File {
        from.into().into()
    }

    #[test]
    fn output_keeps_its_order_and_a_reader_that_does_not_read_blocks_nobody() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let streams = Streams::over([file(writer.try_clone().expect("another end")), file(writer)]);
        let [mut out, mut err] = streams.writers();
        for _ in 0..2 {
            out.write_all(b"out ").and_then(|()| err.write_all(b"err ")).expect("room");
        }
        let mut pieces = 0;
        let error = loop {
            match out.write_all(&[b'x'; 10_000]) {
                Ok(()) => pieces += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let started = Instant::now();
        assert!(streams.settle::<()>(Err(VmError::Interrupted { signal: 2 })).is_err());
        assert!(started.elapsed() < Duration::from_secs(20), "an error does not wait for the reader");
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        streams.settle(Ok(())).expect("all is written");
        drop(streams);
        let text = reading.join().expect("it reads").expect("text");
        assert_eq!(text.len(), 16 + pieces * 10_000);
        assert!(text.starts_with("out err out err xxx"), "{}", &text[..20]);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_unless_nobody_wants_it() {
        let full = || File::options().write(true).open("/dev/full").expect("a full device");
        let streams = Streams::over([full(), full()]);
        streams.writers()[1].write_all(b"x").expect("not known yet");
        let error = streams.settle(Ok(())).expect_err("the disk is full");
        assert_eq!(error.to_string(), "write to standard error: No space left on device (os error 28)");
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let streams = Streams::over([file(writer), full()]);
        let [mut out, _] = streams.writers();
        out.write_all(b"x").expect("not known yet");
        let started = Instant::now();
        while out.write(b"y").is_ok() {
            assert!(started.elapsed() < Duration::from_secs(20), "it has to be known some time");
        }
        assert_eq!(out.write(b"y").expect_err("still").kind(), io::ErrorKind::BrokenPipe);
        streams.settle(Ok(())).expect("whoever closes its end has seen enough");
    }
}
