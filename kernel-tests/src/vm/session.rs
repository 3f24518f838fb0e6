//! One run: boot, say what to run, pass output on, give the exit status, or the named reason why there is none.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::console::Console;
use super::error::VmError;
use super::guest;
use super::input::Pump;
use super::job::{self, Job, Packed, add_kernels_files};
use super::process::{Event, Process};
use super::protocol::{self, FromGuest, ToGuest};
use super::qemu::{Machine, Qemu, Start};
use super::qmp::Qmp;
use super::results::Results;
use super::service::Desk;
use super::signals::Signals;
use super::tree::Tree;
use super::warm::{FIRST_BOOT, Parts};

/// A machine that panicked, or whose channel is gone, should end by itself within this time.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the results may take of a program that was ended.
const RESCUE: Duration = Duration::from_secs(10);
/// A guest that runs reads the files that it is sent; one that took none for so long does not run.
const STALLED: Duration = Duration::from_secs(20);
/// Between two looks at an output that is not read.
const STEP: Duration = Duration::from_millis(5);
/// How long after an interruption it may still not be read.
const GRACE: Duration = Duration::from_secs(5);
/// What is kept of QEMU's own complaints.
const QEMU_SAYS: usize = 16 * 1024;
const SIGKILL: u32 = 9;
const STDOUT: &str = "standard output";
const STDERR: &str = "standard error";
// As in the guest's kernel.
const ENOENT: u32 = 2;
const ENOMEM: u32 = 12;
const ENOSPC: u32 = 28;

/// What a run gave.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The program's exit status; 128 + n for signal n.
    pub status: u8,
    /// `uname -r` of the guest.
    pub release: String,
    /// From the start of QEMU to the agent's first word.
    pub boot: Duration,
    /// From the start of QEMU to the program's end.
    pub total: Duration,
    /// What the guest's agent found odd.
    pub notes: Vec<String>,
}

/// Where a program's output goes. A writer that would block may say so ([`io::ErrorKind::WouldBlock`]): it is asked again,
/// and time limits and signals are heeded meanwhile.
pub struct Output<'a> {
    /// Its standard output.
    pub stdout: &'a mut dyn Write,
    /// Its standard error.
    pub stderr: &'a mut dyn Write,
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

/// Runs a program of this host in a virtual machine.
///
/// A machine that does not boot is tried once more, with a talkative console: emulated machines on a loaded host lose
/// timer interrupts now and then.
///
/// # Errors
///
/// Those of [`VmError`]: whatever happens, the call ends within the job's two time limits.
pub fn run(
    qemu: &Qemu,
    machine: &Machine,
    job: &Job,
    output: &mut Output<'_>,
    signals: Option<&Signals>,
) -> Result<Report, VmError> {
    // A wrong program is the user's to mend, a missing guest is not.
    job.check(machine.arch)?;
    let init = guest::init(machine.arch)?;
    let packed = job.pack(machine, &init)?;
    let command = job.command(&packed);
    let Packed { tree, mut notes, .. } = packed;
    let memory_mib = machine.memory_for(tree.size());
    let parts = Parts { qemu, machine, job, init: &init, memory_mib, signals };
    match parts.warm(&tree) {
        Ok(Some(mut session)) => {
            session.notes.append(&mut notes);
            return session.program(&command, output);
        }
        Ok(None) => {}
        Err(error) if error.is_final() => return Err(error),
        Err(error) => notes.push(format!("booting, because the snapshot was of no use: {error}")),
    }
    let initramfs = write(&tree)?;
    let mut again = false;
    loop {
        let start = Start::Cold { verbose: again };
        let process = Process::start(qemu, machine, memory_mib, start, Some(&initramfs), signals)?;
        let mut session = parts.session(process);
        session.notes.append(&mut notes);
        let limit = if again { job.boot_timeout } else { job.boot_timeout.min(FIRST_BOOT) };
        match session.boot(limit) {
            Ok(()) => {
                let whole = job.wants_debug_info();
                tree.hidden().send(whole, |piece| session.send(&ToGuest::File(piece)))?;
                return session.program(&command, output);
            }
            Err(VmError::NoBoot { .. }) if !again => again = true,
            Err(error) => return Err(error),
        }
    }
}

/// Boots to the agent's first word and ends: whether this machine works at all.
pub(super) fn boots(qemu: &Qemu, machine: &Machine, limit: Duration) -> Result<Duration, VmError> {
    let init = guest::init(machine.arch)?;
    let job = Job::new("", []);
    let mut tree = Tree::with_init(&init);
    add_kernels_files(&mut tree, machine)?;
    let initramfs = write(&tree)?;
    let memory_mib = machine.memory_for(tree.size());
    let start = Start::Cold { verbose: false };
    let process = Process::start(qemu, machine, memory_mib, start, Some(&initramfs), None)?;
    let mut session = Session::new(process, machine, &job, memory_mib);
    session.boot(limit)?;
    Ok(session.booted)
}

/// The initramfs, in a file without a name that goes with this process.
pub(super) fn write(tree: &Tree) -> Result<File, VmError> {
    let file = tempfile::tempfile().map_err(VmError::io("make the initramfs"))?;
    let mut to = BufWriter::with_capacity(1 << 20, &file);
    tree.write(&mut to)?;
    to.flush().map_err(VmError::io("write the initramfs"))?;
    drop(to);
    Ok(file)
}

/// A running machine and what is known of it.
#[derive(Debug)]
pub(super) struct Session<'a> {
    process: Process,
    machine: &'a Machine,
    job: &'a Job,
    memory_mib: u64,
    started: Instant,
    /// The end of the program's time.
    deadline: Instant,
    /// The user's first signal.
    interrupted: Option<Instant>,
    booted: Duration,
    console: Console,
    qemu_said: Vec<u8>,
    release: String,
    notes: Vec<String>,
    /// Streams of the program that nobody reads.
    unread: Vec<&'static str>,
    /// What the agent said of the machine itself, which is to be said of every machine restored from it.
    told: Vec<FromGuest>,
}

impl<'a> Session<'a> {
    pub(super) fn new(process: Process, machine: &'a Machine, job: &'a Job, memory_mib: u64) -> Self {
        let started = Instant::now();
        Self {
            process,
            machine,
            job,
            memory_mib,
            started,
            // Before there is a program: what getting it there may take.
            deadline: started + job.boot_timeout + job.timeout,
            interrupted: None,
            booted: Duration::ZERO,
            console: Console::default(),
            qemu_said: Vec::new(),
            release: String::new(),
            notes: Vec::new(),
            unread: Vec::new(),
            told: Vec::new(),
        }
    }

    /// QEMU's control socket.
    pub(super) fn qmp(&mut self) -> io::Result<&mut Qmp> {
        self.process.qmp()
    }

    /// What the agent said of the machine.
    pub(super) fn told(&self) -> &[FromGuest] {
        &self.told
    }

    /// Counts from then: making and restoring snapshots is part of what a run takes.
    pub(super) fn ready_since(&mut self, started: Instant) {
        self.started = started;
        self.booted = started.elapsed();
    }

    /// The agent of a restored machine waits for a word.
    pub(super) fn resume(&mut self, patience: Duration) -> Result<(), VmError> {
        let (secs, nanos) = now();
        let mut seed = vec![0; 32];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| io::Read::read_exact(&mut file, &mut seed))
            .map_err(VmError::io("read /dev/urandom"))?;
        self.say(&ToGuest::Resume(secs, nanos, seed))?;
        self.boot(patience)
    }

    pub(super) fn boot(&mut self, limit: Duration) -> Result<(), VmError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.event(deadline)? {
                Some(Event::Agent(FromGuest::Hello(protocol::VERSION, release))) => {
                    self.release = String::from_utf8_lossy(&release).into_owned();
                    self.booted = self.started.elapsed();
                    return Ok(());
                }
                Some(Event::Agent(message @ (FromGuest::Note(_) | FromGuest::Unloaded(..)))) => {
                    self.hear(message)?;
                }
                Some(Event::Agent(other)) => return Err(self.lost(format!("its first word was {other:?}"))),
                Some(Event::Signal(signal)) => return Err(VmError::Interrupted { signal }),
                Some(_) => {}
                None => {
                    let seconds = limit.as_secs();
                    let no_boot = VmError::NoBoot { seconds, console: self.console.tail() };
                    return Err(self.better(no_boot));
                }
            }
        }
    }

    /// Waits until the agent has done everything that it was told.
    pub(super) fn synced(&mut self, limit: Duration) -> Result<(), VmError> {
        let deadline = Instant::now() + limit;
        loop {
            match self.event(deadline)? {
                Some(Event::Agent(FromGuest::Synced)) => return Ok(()),
                Some(Event::Agent(message @ (FromGuest::Note(_) | FromGuest::Unloaded(..)))) => {
                    self.hear(message)?;
                }
                Some(Event::Agent(FromGuest::StartFailed(errno, text))) => {
                    return Err(self.not_started(errno, &text, b""));
                }
                Some(Event::Agent(other)) => return Err(self.lost(format!("it answered {other:?}"))),
                Some(Event::Signal(signal)) => return Err(VmError::Interrupted { signal }),
                Some(_) => {}
                None => return Err(self.lost("it does not answer".to_owned())),
            }
        }
    }

    /// Why there is no program, as the agent says.
    fn not_started(&mut self, errno: u32, reason: &[u8], program: &[u8]) -> VmError {
        let reason = String::from_utf8_lossy(reason).into_owned();
        let error = if matches!(errno, ENOMEM | ENOSPC) {
            VmError::OutOfMemory { victim: reason, memory_mib: self.memory_mib }
        } else {
            let program = String::from_utf8_lossy(program).into_owned();
            VmError::CannotStart { program, reason, missing: errno == ENOENT }
        };
        // Files that did not fit into the guest's memory are missing, too.
        self.settle();
        self.better(error)
    }

    /// Something about the machine: a note, or the reason why this is not the machine that was asked for.
    pub(super) fn hear(&mut self, message: FromGuest) -> Result<(), VmError> {
        match &message {
            FromGuest::Note(text) => self.notes.push(String::from_utf8_lossy(text).into_owned()),
            FromGuest::Unloaded(name, reason) => {
                let reason = String::from_utf8_lossy(reason).into_owned();
                match job::module_named(self.machine, name) {
                    Some(module) if self.machine.asked.contains(module) => {
                        let module = module.clone();
                        return Err(VmError::ModuleNotLoaded {
                            module,
                            reason,
                            console: self.console.tail(),
                        });
                    }
                    _ => self.notes.push(format!("load module {}: {reason}", String::from_utf8_lossy(name))),
                }
            }
            _ => return Ok(()),
        }
        self.told.push(message);
        Ok(())
    }

    /// Sends files, as fast as the guest reads them.
    pub(super) fn send(&mut self, message: &ToGuest) -> Result<(), VmError> {
        while !self.process.has_room() {
            let until = self.deadline.min(Instant::now() + STALLED.min(self.job.timeout));
            match self.event(until)? {
                Some(Event::Agent(message @ (FromGuest::Note(_) | FromGuest::Unloaded(..)))) => {
                    self.hear(message)?;
                }
                Some(Event::Agent(other)) => return Err(self.lost(format!("it answered {other:?}"))),
                Some(Event::Signal(signal)) => return Err(VmError::Interrupted { signal }),
                Some(_) => {}
                None => return Err(self.lost("it does not read the files that it is sent".to_owned())),
            }
        }
        self.say(message)
    }

    fn program(&mut self, command: &protocol::Command, output: &mut Output<'_>) -> Result<Report, VmError> {
        let mut results = Results::new(self.job.results.as_deref(), self.job.output_limit);
        let ended = self.attend(command, output, &mut results);
        if matches!(ended, Err(VmError::Timeout { .. } | VmError::Flood { stream: "output", .. })) {
            self.rescue(&mut results);
        }
        let finished = results.finish();
        ended.and_then(|report| finished.map(|()| report))
    }

    /// Takes what a program that is ended has left so far: it may tell why.
    fn rescue(&mut self, results: &mut Results<'_>) {
        if self.job.results.is_none() || self.say(&ToGuest::Signal(SIGKILL)).is_err() {
            return;
        }
        let deadline = Instant::now() + RESCUE;
        loop {
            match self.event(deadline) {
                Ok(Some(Event::Agent(FromGuest::Result(piece)))) if results.take(&piece).is_err() => return,
                Ok(Some(Event::Agent(FromGuest::Done) | Event::Signal(_)) | None) | Err(_) => return,
                Ok(Some(_)) => {}
            }
        }
    }

    fn attend(
        &mut self,
        command: &protocol::Command,
        output: &mut Output<'_>,
        results: &mut Results<'_>,
    ) -> Result<Report, VmError> {
        if let Some(at_start) = &self.job.at_start {
            at_start.call();
        }
        let (secs, nanos) = now();
        self.say(&ToGuest::Time(secs, nanos))?;
        self.say(&ToGuest::Run(command.clone()))?;
        self.deadline = Instant::now() + self.job.timeout;
        let mut sent = 0;
        let mut status = None;
        let mut total = Duration::ZERO;
        let input = Pump::start(self.job.input, self.process.sender());
        let mut desk = Desk::new(self.job.service.clone(), self.process.sender());
        loop {
            match self.event(self.deadline)? {
                Some(Event::Agent(message)) => match message {
                    FromGuest::Stdout(bytes) => {
                        self.pass(&bytes, output.stdout, STDOUT, &mut sent)?;
                    }
                    FromGuest::Stderr(bytes) => {
                        self.pass(&bytes, output.stderr, STDERR, &mut sent)?;
                    }
                    FromGuest::Note(_) | FromGuest::Unloaded(..) => self.hear(message)?,
                    FromGuest::StartFailed(errno, text) => {
                        let program = command.argv.first().map(Vec::as_slice).unwrap_or_default();
                        return Err(self.not_started(errno, &text, program));
                    }
                    FromGuest::Exit(code) => {
                        total = self.started.elapsed();
                        status = Some(code);
                    }
                    FromGuest::Result(piece) => results.take(&piece)?,
                    FromGuest::Done => {
                        let Some(code) = status else {
                            return Err(self.lost("it ended without an exit status".to_owned()));
                        };
                        return self.report(code, total);
                    }
                    FromGuest::Synced => {}
                    FromGuest::Taken => input.taken(),
                    FromGuest::Ask(id, last, data) => {
                        desk.take(id, last, data).map_err(|error| self.lost(error.to_string()))?;
                    }
                    FromGuest::Hello(..) => return Err(self.lost("it started again".to_owned())),
                },
                Some(Event::Stdin(piece)) => self.say(&ToGuest::Stdin(piece))?,
                Some(event @ (Event::Signal(_) | Event::Resized(..))) => self.heed(&event)?,
                Some(Event::Reply(id, reply)) => {
                    for (last, piece) in protocol::pieces(&reply) {
                        self.say(&ToGuest::Answer(id, last, piece.to_vec()))?;
                    }
                }
                Some(_) => {}
                None => return Err(self.out_of_time()),
            }
        }
    }

    fn out_of_time(&self) -> VmError {
        let seconds = self.job.timeout.as_secs();
        self.better(VmError::Timeout { seconds, console: self.console.tail() })
    }

    /// Passes on what the user wants of the program.
    fn heed(&mut self, event: &Event) -> Result<(), VmError> {
        match *event {
            // The first is the program's to handle, the second is the user's impatience.
            Event::Signal(signal) if self.interrupted.is_some() => Err(VmError::Interrupted { signal }),
            Event::Signal(signal) => {
                self.interrupted = Some(Instant::now());
                self.say(&ToGuest::Signal(signal as u32))
            }
            Event::Resized(rows, columns) => self.say(&ToGuest::Resize(rows, columns)),
            _ => Ok(()),
        }
    }

    /// Waits a moment for whoever should read the program's output.
    fn blocked(&mut self) -> Result<(), VmError> {
        if let Some(event) = self.process.signal() {
            self.heed(&event)?;
        }
        if self.interrupted.is_some_and(|since| since.elapsed() > GRACE) || Instant::now() > self.deadline {
            return Err(self.out_of_time());
        }
        thread::sleep(STEP);
        Ok(())
    }

    fn report(&mut self, code: u32, total: Duration) -> Result<Report, VmError> {
        if code == 128 + SIGKILL {
            self.settle();
            if let Some(error) = self.console.out_of_memory(self.memory_mib) {
                return Err(error);
            }
        }
        Ok(Report {
            status: code as u8,
            release: std::mem::take(&mut self.release),
            boot: self.booted,
            total,
            notes: std::mem::take(&mut self.notes),
        })
    }

    /// Lets the kernel's lines come that are still on their way through the serial line.
    fn settle(&mut self) {
        self.drain(Instant::now() + Duration::from_millis(200));
    }

    /// The next event that is not about the machine itself; `None` at the deadline.
    fn event(&mut self, deadline: Instant) -> Result<Option<Event>, VmError> {
        loop {
            let deadline =
                if self.console.panicked() { deadline.min(Instant::now() + LAST_WORDS) } else { deadline };
            match self.process.next(deadline) {
                Some(Event::Console(bytes)) => {
                    self.console.feed(&bytes);
                    if self.console.total() > self.job.output_limit {
                        return Err(VmError::Flood { stream: "console", limit: self.job.output_limit });
                    }
                }
                Some(Event::Qemu(bytes)) => {
                    self.qemu_said.extend(bytes);
                    self.qemu_said.truncate(QEMU_SAYS);
                }
                Some(Event::ChannelClosed) => return Err(self.closed("its channel was closed")),
                Some(Event::ChannelNonsense(what)) => return Err(self.lost(what)),
                Some(Event::Ended) => return Err(self.ended()),
                other => return Ok(other),
            }
        }
    }

    pub(super) fn say(&mut self, message: &ToGuest) -> Result<(), VmError> {
        self.process.say(message).map_err(VmError::io("send a message to the guest"))
    }

    /// Nobody reads this any more (`bpf-vm run … | head`): the program's next write is an error, as on the host.
    fn unread(&mut self, what: &'static str) -> Result<(), VmError> {
        self.unread.push(what);
        self.say(&ToGuest::Close(if what == STDOUT { 1 } else { 2 }))
    }

    fn pass(
        &mut self,
        bytes: &[u8],
        to: &mut dyn Write,
        what: &'static str,
        sent: &mut u64,
    ) -> Result<(), VmError> {
        if self.unread.contains(&what) {
            return Ok(());
        }
        *sent += bytes.len() as u64;
        if *sent > self.job.output_limit {
            return Err(VmError::Flood { stream: "output", limit: self.job.output_limit });
        }
        let failed = VmError::io(format!("write to {what}"));
        let mut rest = bytes;
        loop {
            let done = if rest.is_empty() { to.flush().map(|()| None) } else { to.write(rest).map(Some) };
            match done {
                Ok(None) => return Ok(()),
                Ok(Some(0)) => return Err(failed(io::ErrorKind::WriteZero.into())),
                Ok(Some(count)) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked()?,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return self.unread(what),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// The channel is gone: usually because the machine is ending, which says more.
    fn closed(&mut self, what: &str) -> VmError {
        if self.drain(Instant::now() + LAST_WORDS) {
            return self.ended();
        }
        self.lost(what.to_owned())
    }

    /// The agent is there and of no use.
    fn lost(&mut self, what: String) -> VmError {
        let console = self.console.tail();
        self.better(VmError::AgentLost { what, console })
    }

    /// QEMU ended though the program did not.
    fn ended(&mut self) -> VmError {
        self.drain(Instant::now() + Duration::from_millis(50));
        let status = self.process.wait();
        let mut said = String::from_utf8_lossy(&self.qemu_said).trim_end().to_owned();
        let tail = self.console.tail();
        if !said.is_empty() && !tail.is_empty() {
            said.push('\n');
        }
        said.push_str(&tail);
        self.better(VmError::QemuEnded { status, said })
    }

    /// Takes what is still to be read; whether QEMU ended.
    fn drain(&mut self, deadline: Instant) -> bool {
        while let Some(event) = self.process.next(deadline) {
            match event {
                Event::Console(bytes) => self.console.feed(&bytes),
                Event::Qemu(bytes) => self.qemu_said.extend(bytes),
                Event::Ended => return true,
                _ => {}
            }
        }
        false
    }

    /// What the console tells about the reason, if it does.
    fn better(&self, error: VmError) -> VmError {
        let console = &self.console;
        let told = console.out_of_memory(self.memory_mib).or_else(|| console.crash());
        told.or_else(|| console.agent_gave_up()).unwrap_or(error)
    }
}

/// The wall clock, in seconds and nanoseconds.
fn now() -> (u64, u32) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (since_epoch.as_secs(), since_epoch.subsec_nanos())
}
