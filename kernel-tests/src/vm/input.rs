//! The program's standard input: this process's, sent piece by piece as the program reads it.

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use super::process::Event;
use super::protocol::{self, CHUNK};

/// Pieces on the way to a program that does not read.
const ON_THE_WAY: usize = 4;

/// What a program in the guest reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Input {
    /// Nothing.
    #[default]
    Null,
    /// The standard input of this process. Bytes that the program leaves may be lost.
    Inherited,
    /// The same, through a terminal of this many rows and columns, which is the program's output as well.
    Terminal {
        /// Lines.
        rows: u16,
        /// Characters of a line.
        columns: u16,
    },
}

/// What is done when the program is started: until then the terminal is the user's, to end a boot with Ctrl-C.
#[derive(Clone)]
pub struct AtStart(Arc<dyn Fn() + Send + Sync>);

impl AtStart {
    /// Calls this function.
    pub fn new(call: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }

    pub(super) fn call(&self) {
        (self.0)();
    }
}

impl fmt::Debug for AtStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtStart").finish_non_exhaustive()
    }
}

impl Input {
    pub(super) fn kind(self) -> protocol::Input {
        match self {
            Self::Null => protocol::Input::Null,
            Self::Inherited => protocol::Input::Pipe,
            Self::Terminal { rows, columns } => protocol::Input::Terminal(rows, columns),
        }
    }
}

/// Reads on as the guest takes what was read.
#[derive(Debug)]
pub(super) struct Pump {
    taken: Sender<()>,
}

impl Pump {
    /// Reads standard input from now on, which becomes events.
    pub(super) fn start(input: Input, to: SyncSender<Event>) -> Self {
        let (taken, credit) = mpsc::channel();
        if input != Input::Null {
            for _ in 0..ON_THE_WAY {
                let _ = taken.send(());
            }
            thread::spawn(move || read(&mut std::io::stdin(), &credit, &to));
        }
        Self { taken }
    }

    /// The guest took a piece.
    pub(super) fn taken(&self) {
        let _ = self.taken.send(());
    }
}

/// Until the end of the input or of the run.
fn read(from: &mut impl Read, credit: &Receiver<()>, to: &SyncSender<Event>) {
    let mut buffer = vec![0; CHUNK];
    while credit.recv().is_ok() {
        let count = loop {
            match from.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result.unwrap_or(0),
            }
        };
        let piece = buffer.get(..count).unwrap_or_default().to_vec();
        if to.send(Event::Stdin(piece)).is_err() || count == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_the_guest_takes() {
        let (taken, credit) = mpsc::channel();
        let (to, events) = mpsc::sync_channel(9);
        let mut long: &[u8] = &vec![1; 10 * CHUNK];
        taken.send(()).expect("it listens");
        taken.send(()).expect("it listens");
        drop(taken);
        read(&mut long, &credit, &to);
        drop(to);
        assert_eq!(events.iter().count(), 2);
        assert_eq!(long.len(), 8 * CHUNK);
    }

    #[test]
    fn the_end_is_an_empty_piece() {
        let (taken, credit) = mpsc::channel();
        let (to, events) = mpsc::sync_channel(9);
        for _ in 0..5 {
            taken.send(()).expect("it listens");
        }
        read(&mut b"text".as_slice(), &credit, &to);
        drop(to);
        let pieces: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Stdin(piece) => Some(piece),
                _ => None,
            })
            .collect();
        assert_eq!(pieces, [b"text".to_vec(), Vec::new()]);
    }
}
