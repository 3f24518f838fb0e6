//! The user's terminal, handed to the guest's program: it is raw while that runs, so that every key goes there.

use std::io::{self, Stdin};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::vm::Input;

/// Standard input, which can be made raw until this is dropped.
pub(super) struct RawTerminal {
    stdin: Stdin,
    before: Termios,
}

impl RawTerminal {
    /// Standard input must be a terminal.
    pub(super) fn find() -> Result<Self, String> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)
            .map_err(|error| format!("--interactive needs a terminal as standard input: {error}"))?;
        Ok(Self { stdin, before })
    }

    /// Makes it raw.
    pub(super) fn make_raw(&self) {
        let mut raw = self.before.clone();
        raw.make_raw();
        // It is a terminal; one that is gone ends the input.
        let _ = tcsetattr(&self.stdin, OptionalActions::Drain, &raw);
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
