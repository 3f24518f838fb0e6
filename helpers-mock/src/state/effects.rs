//! What programs have done to the rest of the system, for a test to look at.

/// A signal that a program sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signal {
    /// The task it was sent to.
    pub pid: u32,
    /// Its number.
    pub signal: u32,
    /// Sent to the one thread (`bpf_send_signal_thread`) and not to the process.
    pub thread: bool,
}

/// A function whose call a program has replaced by a return value (`bpf_override_return`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Override {
    /// The probed instruction's address.
    pub func_ip: u64,
    /// What the function now returns.
    pub ret: u64,
}

/// The record of effects, in the order in which they happened.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Effects {
    /// Signals sent.
    pub signals: Vec<Signal>,
    /// Calls whose return values were overridden.
    pub overrides: Vec<Override>,
}
