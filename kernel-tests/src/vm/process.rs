//! A QEMU process and the events that come out of it.

use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Instant;

use super::error::VmError;
use super::protocol::{FromGuest, ToGuest};
use super::qemu::{Machine, Qemu, Start};
use super::signals::Signals;

/// Events that wait for the reader of them; then whoever writes waits, down to the program in the guest.
const QUEUE: usize = 64;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Event {
    /// The guest's console said this.
    Console(Vec<u8>),
    /// QEMU itself said this.
    Qemu(Vec<u8>),
    /// The agent said this.
    Agent(FromGuest),
    /// The agent's channel ended: usually because the machine does.
    ChannelClosed,
    /// The agent's channel carried nonsense.
    ChannelNonsense(String),
    /// QEMU has closed its console: it ends.
    Ended,
    /// The user sent a signal.
    Signal(i32),
    /// A piece of this process's standard input.
    Stdin(Vec<u8>),
    /// The user's terminal has this many rows and columns now.
    Resized(u16, u16),
    /// The host's reply to a request of the guest.
    Reply(u32, Vec<u8>),
}

/// A running QEMU; dropping it ends it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    agent: UnixStream,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
}

impl Process {
    pub(super) fn start(
        qemu: &Qemu,
        machine: &Machine,
        memory_mib: u64,
        start: Start<'_>,
        signals: Option<&Signals>,
    ) -> Result<Self, VmError> {
        let (agent, theirs) =
            UnixStream::pair().map_err(VmError::io("make a socket for the guest's agent"))?;
        let mut child = Command::new(qemu.program())
            .args(qemu.arguments(machine, memory_mib, start))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches bpf-vm only, which passes it to the guest's program.
            .process_group(0)
            .spawn()
            .map_err(VmError::io(format!("start {}", qemu.program().display())))?;
        let (sender, events) = mpsc::sync_channel(QUEUE);
        if let Some(stderr) = child.stderr.take() {
            forward(stderr, sender.clone(), Event::Qemu, None);
        }
        if let Some(stdout) = child.stdout.take() {
            forward(stdout, sender.clone(), Event::Console, Some(Event::Ended));
        }
        let reader = agent.try_clone().map_err(VmError::io("read from the guest's agent"))?;
        listen(reader, sender.clone());
        if let Some(signals) = signals {
            signals.subscribe(sender.clone());
        }
        Ok(Self { child, agent, events, sender })
    }

    /// The next event, or `None` at the deadline.
    pub(super) fn next(&self, deadline: Instant) -> Option<Event> {
        match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::Ended),
        }
    }

    /// Where others may send events.
    pub(super) fn sender(&self) -> SyncSender<Event> {
        self.sender.clone()
    }

    pub(super) fn say(&mut self, message: &ToGuest) -> std::io::Result<()> {
        message.write(&mut self.agent)
    }

    /// Ends QEMU if it has not ended and gives its exit status.
    pub(super) fn end(&mut self) -> std::io::Result<ExitStatus> {
        let _ = self.child.kill();
        self.child.wait()
    }

    /// The exit status of a QEMU that has closed its console, in words.
    pub(super) fn wait(&mut self) -> String {
        match self.child.wait() {
            Ok(status) => match (status.code(), status.signal()) {
                (_, Some(signal)) => format!("killed by signal {signal}"),
                (Some(code), _) => format!("exit status {code}"),
                (None, None) => status.to_string(),
            },
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn forward(
    mut from: impl Read + Send + 'static,
    to: SyncSender<Event>,
    wrap: fn(Vec<u8>) -> Event,
    last: Option<Event>,
) {
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        loop {
            match from.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(count) if count > 0 => {
                    let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                    if to.send(wrap(bytes)).is_err() {
                        return;
                    }
                }
                _ => break,
            }
        }
        if let Some(last) = last {
            let _ = to.send(last);
        }
    });
}

fn listen(from: UnixStream, to: SyncSender<Event>) {
    thread::spawn(move || {
        let mut from = BufReader::with_capacity(128 * 1024, from);
        loop {
            let event = match FromGuest::read(&mut from) {
                Ok(Some(message)) => Event::Agent(message),
                Ok(None) => Event::ChannelClosed,
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    Event::ChannelNonsense(error.to_string())
                }
                // Cut off inside a frame.
                Err(_) => Event::ChannelClosed,
            };
            let last = !matches!(event, Event::Agent(_));
            if to.send(event).is_err() || last {
                return;
            }
        }
    });
}
