//! Signals of the user: they belong to the program in the guest, not to QEMU or to `bpf-vm`.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};

use super::error::VmError;
use super::process::Event;

/// Catches the signals that ask a program to end and those that tell of a terminal's new size, and gives them to the running machine.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    to: Option<SyncSender<Event>>,
    /// Not behind the guest's output: they are for when that does not move.
    waiting: VecDeque<Event>,
}

impl Signals {
    /// Catches SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGWINCH of this process from now on. Without a running machine such
    /// a signal does what it would have done.
    pub fn catch() -> Result<Self, VmError> {
        let signals = Self::default();
        let theirs = signals.clone();
        let mut caught = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH])
            .map_err(VmError::io("catch signals"))?;
        std::thread::spawn(move || {
            for signal in caught.forever() {
                let event = if signal == SIGWINCH {
                    // The default is to do nothing, also where there is no terminal.
                    let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdin()) else { continue };
                    Event::Resized(size.ws_row, size.ws_col)
                } else {
                    Event::Signal(signal)
                };
                if !theirs.give(event) && signal != SIGWINCH {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        });
        Ok(signals)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Gives it to the running machine; `false` if there is none. This never waits.
    pub(super) fn give(&self, event: Event) -> bool {
        let mut state = self.state();
        let Some(to) = state.to.clone() else { return false };
        state.waiting.push_back(event);
        // A full queue wakes its reader, too.
        let there = !matches!(to.try_send(Event::Wake), Err(TrySendError::Disconnected(_)));
        if !there {
            state.waiting.clear();
        }
        there
    }

    /// The first that waits.
    pub(super) fn take(&self) -> Option<Event> {
        self.state().waiting.pop_front()
    }

    pub(super) fn subscribe(&self, sender: SyncSender<Event>) {
        self.state().to = Some(sender);
    }
}
