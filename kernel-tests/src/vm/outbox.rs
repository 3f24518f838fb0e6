//! What is on its way to the guest, written by a thread of its own: a guest that does not read must not keep its host from
//! anything.

use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::process::Event;

/// Bytes on the way at which whoever sends files waits.
const ENOUGH: usize = 1 << 20;

/// Frames for the agent. Dropping it drops those that were not written.
#[derive(Debug)]
pub(super) struct Outbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Vec<u8>>,
    /// With the frame that is being written.
    bytes: usize,
    /// Somebody waits for [`Event::Room`].
    awaited: bool,
    closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The next frame, or nothing at the end.
    fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(frame) = state.frames.pop_front() {
                return Some(frame);
            }
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.frames.clear();
        self.changed.notify_all();
    }
}

impl Outbox {
    /// Writes to this socket, and tells `events` of room where it was missed.
    pub(super) fn open(mut to: UnixStream, events: SyncSender<Event>) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            while let Some(frame) = theirs.take() {
                if to.write_all(&frame).is_err() {
                    // The reader of this socket meets its end, too, after what the agent still said.
                    theirs.close();
                    return;
                }
                let mut state = theirs.state();
                state.bytes = state.bytes.saturating_sub(frame.len());
                if state.awaited && state.bytes <= ENOUGH / 2 {
                    state.awaited = false;
                    drop(state);
                    let _ = events.send(Event::Room);
                }
            }
        });
        Self(shared)
    }

    /// Takes a frame, whatever waits already.
    pub(super) fn put(&self, frame: Vec<u8>) {
        let mut state = self.0.state();
        if !state.closed {
            state.bytes += frame.len();
            state.frames.push_back(frame);
            self.0.changed.notify_all();
        }
    }

    /// Whether more files should be sent; if not, there will be an [`Event::Room`].
    pub(super) fn has_room(&self) -> bool {
        let mut state = self.0.state();
        state.awaited = !state.closed && state.bytes > ENOUGH;
        !state.awaited
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reader_that_does_not_read_blocks_nobody_and_gets_all_in_the_end() {
        let (near, mut far) = UnixStream::pair().expect("a socket");
        let (to, events) = sync_channel(1);
        let outbox = Outbox::open(near, to);
        let mut frames = 0;
        while outbox.has_room() {
            outbox.put(vec![7; 100_000]);
            frames += 1;
            assert!(frames < 100, "somebody reads");
        }
        assert!(events.recv_timeout(Duration::from_millis(20)).is_err(), "there is no room yet");
        let mut all = vec![0; frames * 100_000];
        far.read_exact(&mut all).expect("all of it");
        assert!(matches!(events.recv_timeout(Duration::from_secs(20)), Ok(Event::Room)));
        assert!(outbox.has_room());
        drop(outbox);
        assert_eq!(far.read(&mut all).expect("the end"), 0, "its socket is closed");
    }
}
