//! A QEMU process and the events that come out of it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};

use super::error::{KILLED, VmError};
use super::keeper::{self, Keeper};
use super::outbox::Outbox;
use super::protocol::{FromGuest, ToGuest};
use super::qemu::{self, Machine, Qemu, Start};
use super::qmp::Qmp;
use super::signals::Signals;

/// Events that wait for the reader of them; then whoever writes waits, down to the program in the guest.
const QUEUE: usize = 64;
/// A QEMU that has closed its control socket ends within this time.
const LAST_WORDS: Duration = Duration::from_millis(200);

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
    /// The guest has read what waited for it.
    Room,
    /// A signal came, which is to be asked for.
    Wake,
}

/// A running QEMU; dropping it ends it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    keeper: Keeper,
    outbox: Outbox,
    qmp: Option<Qmp>,
    events: Receiver<Event>,
    sender: SyncSender<Event>,
    signals: Option<Signals>,
}

impl Process {
    /// Starts QEMU. The initramfs is a file without a name, and all that QEMU talks over are sockets without names: nothing
    /// is left behind and no path can be too long.
    pub(super) fn start(
        qemu: &Qemu,
        machine: &Machine,
        memory_mib: u64,
        start: Start<'_>,
        initramfs: Option<&File>,
        signals: Option<&Signals>,
    ) -> Result<Self, VmError> {
        let pair = || UnixStream::pair().map_err(VmError::io("make a socket for QEMU"));
        let (agent, theirs) = pair()?;
        let mut keeper = Keeper::start(start.leftover()).map_err(VmError::io("start /bin/sh"))?;
        let told = keeper.told().map_err(VmError::io("make a pipe"))?;
        let mut files = vec![FdMapping { parent_fd: told.into(), child_fd: keeper::TOLD }];
        if let Some(initramfs) = initramfs {
            let file = initramfs.try_clone().map_err(VmError::io("pass the initramfs on"))?;
            files.push(FdMapping { parent_fd: file.into(), child_fd: qemu::INITRAMFS });
        }
        let mut qmp = None;
        if !matches!(start, Start::Cold { .. }) {
            let (ours, theirs) = pair()?;
            qmp = Some(Qmp::over(ours).map_err(VmError::io("make a socket for QEMU"))?);
            files.push(FdMapping { parent_fd: theirs.into(), child_fd: qemu::QMP });
        }
        let failed = |error| VmError::io(format!("start {}", qemu.program().display()))(error);
        let mut command = Keeper::command(qemu.program());
        command
            .args(qemu.arguments(machine, memory_mib, start))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches bpf-vm only, which passes it to the guest's program.
            .process_group(0)
            .fd_mappings(files)
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let spawned = command.spawn();
        // With it goes this side's hold on QEMU's ends: their closing has to be seen.
        drop(command);
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                keeper.dismiss();
                return Err(failed(error));
            }
        };
        let (sender, events) = mpsc::sync_channel(QUEUE);
        if let Some(stderr) = child.stderr.take() {
            forward(stderr, sender.clone(), Event::Qemu, None);
        }
        if let Some(stdout) = child.stdout.take() {
            forward(stdout, sender.clone(), Event::Console, Some(Event::Ended));
        }
        let reader = agent.try_clone();
        let outbox = Outbox::open(agent, sender.clone());
        if let Some(signals) = signals {
            signals.subscribe(sender.clone());
        }
        let process = Self { child, keeper, outbox, qmp, events, sender, signals: signals.cloned() };
        listen(reader.map_err(VmError::io("read from the guest's agent"))?, process.sender());
        Ok(process)
    }

    /// QEMU's control socket, where this start has one.
    pub(super) fn qmp(&mut self) -> std::io::Result<&mut Qmp> {
        self.qmp.as_mut().ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }

    /// What the user wants, which waits for nothing else.
    pub(super) fn signal(&self) -> Option<Event> {
        self.signals.as_ref().and_then(Signals::take)
    }

    /// The next event, or `None` at the deadline.
    pub(super) fn next(&self, deadline: Instant) -> Option<Event> {
        loop {
            if let Some(signal) = self.signal() {
                return Some(signal);
            }
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Wake) => {}
                Ok(event) => return Some(event),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => return Some(Event::Ended),
            }
        }
    }

    /// Where others may send events.
    pub(super) fn sender(&self) -> SyncSender<Event> {
        self.sender.clone()
    }

    /// Sends a message, without waiting for the guest to read it.
    pub(super) fn say(&self, message: &ToGuest) -> std::io::Result<()> {
        let mut frame = Vec::new();
        message.write(&mut frame)?;
        self.outbox.put(frame);
        Ok(())
    }

    /// Whether the guest has read most of what was said; if not, there will be an [`Event::Room`].
    pub(super) fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// Ends QEMU if it has not ended and gives its exit status.
    pub(super) fn end(&mut self) -> std::io::Result<ExitStatus> {
        let _ = self.child.kill();
        self.keeper.dismiss();
        self.child.wait()
    }

    /// Why QEMU does not go on from a snapshot: its own words if it has some.
    pub(super) fn not_restored(&mut self, error: &std::io::Error) -> VmError {
        let mut said = Vec::new();
        let deadline = Instant::now() + LAST_WORDS;
        let mut ended = false;
        while let Some(event) = self.next(deadline) {
            match event {
                Event::Signal(signal) => return VmError::Interrupted { signal },
                Event::Qemu(bytes) => said.extend(bytes),
                Event::Ended => {
                    ended = true;
                    break;
                }
                _ => {}
            }
        }
        if ended {
            let said = String::from_utf8_lossy(&said).trim_end().to_owned();
            return VmError::QemuEnded { status: self.wait(), said };
        }
        VmError::NotRestored { reason: error.to_string() }
    }

    /// The exit status of a QEMU that has closed its console, in words.
    pub(super) fn wait(&mut self) -> String {
        self.keeper.dismiss();
        match self.child.wait() {
            Ok(status) => match (status.code(), status.signal()) {
                (_, Some(signal)) => format!("{KILLED}{signal}"),
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
