//! A machine that runs already: restored from a snapshot, with the program's files in its memory.
//!
//! There are two snapshots. The first is of a machine that was just booted, the second of the same machine after it got
//! the files of one program: a test runner starts the same program of a hundred megabytes once for every test.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::VmError;
use super::job::{Job, add_kernels_files};
use super::process::Process;
use super::protocol::ToGuest;
use super::qemu::{Machine, Qemu};
use super::session::{Session, write};
use super::signals::Signals;
use super::snapshot;
use super::tree::Tree;

/// Fewer bytes are sent faster than they are saved and restored.
const WORTH_KEEPING: u64 = 4 << 20;
/// A machine that boots does so within seconds; one that hangs is better started again soon.
pub(super) const FIRST_BOOT: Duration = Duration::from_secs(30);
/// A restored agent answers within a tenth of a second; the second attempt gets the patience for a loaded host.
const RESTORED_WITHIN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(20)];
/// As long as files take to be sent.
const LOADED_WITHIN: Duration = Duration::from_secs(60);
/// The agent does what it was told before it answers; with nothing to do, that is at once.
const SYNCED_WITHIN: Duration = Duration::from_secs(20);

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) qemu: &'a Qemu,
    pub(super) machine: &'a Machine,
    pub(super) job: &'a Job,
    pub(super) init: &'a [u8],
    pub(super) memory_mib: u64,
    pub(super) signals: Option<&'a Signals>,
}

impl<'a> Parts<'a> {
    pub(super) fn session(&self, process: Process) -> Session<'a> {
        Session::new(process, self.machine, self.job, self.memory_mib)
    }

    /// A session in a machine restored from its snapshot, which is made first if need be, with the files in place.
    /// `None` where this machine has no snapshots.
    pub(super) fn warm(&self, tree: &Tree) -> Result<Option<Session<'a>>, VmError> {
        let Some(booted) = snapshot::place(self.qemu, self.machine, self.memory_mib, self.init) else {
            return Ok(None);
        };
        if let Some(reason) = snapshot::impossible(&booted) {
            return Err(VmError::NoSnapshot { reason });
        }
        let started = Instant::now();
        let mut session = match self.loaded(&booted, tree) {
            Some(Ok(session)) => session,
            Some(Err(error)) if error.is_final() => return Err(error),
            // Nothing is lost but time: the files are sent again, to a machine that is thrown away afterwards.
            None | Some(Err(_)) => {
                self.make_booted(&booted)?;
                let mut session = self.restored(&booted)?;
                tree.send(self.job.wants_debug_info(), |piece| session.send(&ToGuest::File(piece)))?;
                session
            }
        };
        session.ready_since(started);
        Ok(Some(session))
    }

    /// The machine with the files in its memory, where they are worth being kept there.
    fn loaded(&self, booted: &Path, tree: &Tree) -> Option<Result<Session<'a>, VmError>> {
        let whole = self.job.wants_debug_info();
        if tree.size() < WORTH_KEEPING {
            return None;
        }
        let place = snapshot::with_files(booted, &self.job.program, whole, &tree.identity(whole)?);
        if !snapshot::exists(&place) {
            let _making = snapshot::Turn::wait(&place, LOADED_WITHIN)?;
            // Another run may have made it meanwhile.
            if !snapshot::exists(&place)
                && let Err(error) =
                    self.make_booted(booted).and_then(|()| self.make_loaded(booted, &place, tree))
            {
                return Some(Err(error));
            }
        }
        Some(self.restored(&place))
    }

    fn restored(&self, place: &Path) -> Result<Session<'a>, VmError> {
        snapshot::used(place);
        let mut last = None;
        for patience in RESTORED_WITHIN {
            let attempt = snapshot::restore(self.qemu, self.machine, self.memory_mib, place, self.signals)
                .and_then(|process| {
                    let mut session = self.session(process);
                    snapshot::told(place).into_iter().try_for_each(|message| session.hear(message))?;
                    session.resume(patience).map(|()| session)
                });
            match attempt {
                Ok(session) => return Ok(session),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => last = Some(error),
            }
            if !snapshot::exists(place) {
                break;
            }
        }
        // Others may have use for it where this host, or its user, is to blame.
        if last.as_ref().is_some_and(VmError::blames_snapshot) {
            snapshot::forget(place);
        }
        Err(last.unwrap_or_else(|| VmError::io("restore a snapshot")(std::io::ErrorKind::NotFound.into())))
    }

    /// Boots a machine and saves it, if that was not done: one process does so while the others wait for it.
    fn make_booted(&self, place: &Path) -> Result<(), VmError> {
        if snapshot::exists(place) {
            return Ok(());
        }
        let limits = [FIRST_BOOT.min(self.job.boot_timeout), self.job.boot_timeout];
        let _making = snapshot::Turn::wait(place, limits.iter().sum());
        if snapshot::exists(place) {
            return Ok(());
        }
        if let Some(reason) = snapshot::impossible(place) {
            return Err(VmError::NoSnapshot { reason });
        }
        let mut tree = Tree::with_init(self.init);
        add_kernels_files(&mut tree, self.machine)?;
        let initramfs = write(&tree)?;
        let mut last = None;
        for limit in limits {
            let making = snapshot::Making::new(place)?;
            let Parts { qemu, machine, memory_mib, signals, .. } = *self;
            let process = making.start(qemu, machine, memory_mib, &initramfs, signals)?;
            let mut session = self.session(process);
            match session.boot(limit).and_then(|()| self.settled(&mut session)) {
                Ok(()) => {
                    return save(making, place, &mut session).map_err(|error| {
                        snapshot::mark_impossible(place, &error.to_string());
                        VmError::io("save a snapshot")(error)
                    });
                }
                Err(error @ VmError::NoBoot { .. }) => last = Some(error),
                // This QEMU may not have what saving takes.
                Err(error @ VmError::QemuEnded { .. }) if !error.is_killed() => {
                    snapshot::mark_impossible(place, &error.to_string());
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or(VmError::GuestMissing { arch: self.machine.arch }))
    }

    /// Gives a restored machine the files and saves it again.
    fn make_loaded(&self, booted: &Path, place: &Path, tree: &Tree) -> Result<(), VmError> {
        let making = snapshot::Making::new(place)?;
        making.copy_memory(booted).map_err(VmError::io("copy the memory of a snapshot"))?;
        let process = making.restore(self.qemu, self.machine, self.memory_mib, booted, self.signals)?;
        let mut session = self.session(process);
        let [_, patience] = RESTORED_WITHIN;
        snapshot::told(booted).into_iter().try_for_each(|message| session.hear(message))?;
        session.resume(patience)?;
        tree.send(self.job.wants_debug_info(), |piece| session.send(&ToGuest::File(piece)))?;
        session.say(&ToGuest::Sync)?;
        session.synced(LOADED_WITHIN)?;
        save(making, place, &mut session).map_err(VmError::io("save a snapshot"))
    }

    /// Waits until the agent has said what it found odd: that belongs to the snapshot, not to what it is asked next.
    fn settled(&self, session: &mut Session<'_>) -> Result<(), VmError> {
        session.say(&ToGuest::Sync)?;
        session.synced(SYNCED_WITHIN)
    }
}

fn save(making: snapshot::Making, place: &Path, session: &mut Session<'_>) -> io::Result<()> {
    let told = session.told().to_vec();
    making.save(place, session.qmp()?, &told)
}
