//! Signals of the user: they belong to the program in the guest, not to QEMU or to `bpf-vm`.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};

use super::error::VmError;
use super::process::Event;

/// Catches the signals that ask a program to end and those that tell of a terminal's new size, and gives them to the running machine.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    to: Arc<Mutex<Option<SyncSender<Event>>>>,
}

impl Signals {
    /// Catches SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGWINCH of this process from now on. Without a running machine such
    /// a signal does what it would have done.
    pub fn catch() -> Result<Self, VmError> {
        let signals = Self::default();
        let to = Arc::clone(&signals.to);
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
                let sender = to.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
                let sent = sender.is_some_and(|sender| sender.send(event).is_ok());
                if !sent && signal != SIGWINCH {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        });
        Ok(signals)
    }

    pub(super) fn subscribe(&self, sender: SyncSender<Event>) {
        *self.to.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(sender);
    }
}
