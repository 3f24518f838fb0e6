//! The user's terminal, handed to the guest's program: it is raw meanwhile, so that every key goes there.

use std::io::{self, Stdin};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::vm::Input;

/// Standard input in raw mode until it is dropped.
pub(super) struct RawTerminal {
    stdin: Stdin,
    before: Termios,
}

impl RawTerminal {
    /// Makes standard input raw.
    pub(super) fn take() -> Result<Self, String> {
        let stdin = io::stdin();
        let no_terminal = |error| format!("--interactive needs a terminal as standard input: {error}");
        let before = tcgetattr(&stdin).map_err(no_terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).map_err(no_terminal)?;
        Ok(Self { stdin, before })
    }

    /// A terminal of the same size for the guest.
    pub(super) fn input(&self) -> Input {
        let size = tcgetwinsize(&self.stdin).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
        let (rows, columns) = size.map_or((24, 80), |size| (size.ws_row, size.ws_col));
        Input::Terminal { rows, columns }
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing is left to be done about a terminal that is gone.
        let _ = tcsetattr(&self.stdin, OptionalActions::Flush, &self.before);
    }
}
