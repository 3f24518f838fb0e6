//! Signals of the user: they belong to the program in the guest, not to QEMU or to `bpf-vm`.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::error::VmError;
use super::process::Event;

/// Catches the signals that ask a program to end, and gives them to the running machine.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    to: Arc<Mutex<Option<SyncSender<Event>>>>,
}

impl Signals {
    /// Catches SIGINT, SIGTERM, SIGHUP and SIGQUIT of this process from now on. Without a running machine such a signal
    /// ends the process, as it would have.
    pub fn catch() -> Result<Self, VmError> {
        let signals = Self::default();
        let to = Arc::clone(&signals.to);
        let mut caught = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])
            .map_err(VmError::io("catch signals"))?;
        std::thread::spawn(move || {
            for signal in caught.forever() {
                let sender = to.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
                let sent = sender.is_some_and(|sender| sender.send(Event::Signal(signal)).is_ok());
                if !sent {
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
