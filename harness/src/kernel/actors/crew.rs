//! The actors of this process: making them, giving them jobs, ending them.
//!
//! One lock guards all: a job runs while it is held, so tests that use the same pid take turns. An actor that does not fit
//! a role (another process, another parent) is ended and made anew; the rest of a role is shown by system calls of the
//! actor itself, and only what differs from what it shows already (`show.rs`).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::arch;
use super::body::{CLONE, Call, NOT_DONE};
use super::cast::{addr, word};
use super::error::ActorError;
use super::holder;
use super::job::{Block, Job, error_of};
use super::orphan;
use super::role::Role;
use super::show::{self, Shown};
use super::spawn::{CLONE_ARGS_SIZE, Cradle, Kind};
use super::watch;

/// `sizeof(struct sigaction)` of the kernel, with its set of 64 signals.
const KERNEL_SIGACTION: usize = 32;
/// How long a killed task may take to go.
const END: Duration = Duration::from_secs(10);

static CREW: Mutex<Crew> =
    Mutex::new(Crew { hands: BTreeMap::new(), members: 0, owner: None, keeper: None, levels: None });

fn crew() -> MutexGuard<'static, Crew> {
    CREW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One user of the actors. The last one to go ends them all.
#[derive(Debug)]
pub(super) struct Member(());

impl Member {
    pub(super) fn join() -> Result<Self, ActorError> {
        if !arch::SUPPORTED {
            return Err(ActorError::Machine(format!(
                "there are no actors for {} yet; use a Stimulus, or the simulator",
                std::env::consts::ARCH
            )));
        }
        let mut crew = crew();
        if crew.owner.is_none() {
            let owner = watch::pidfd(std::process::id()).map_err(|e| {
                ActorError::Machine(format!("pidfd_open() fails: {e}; Linux 5.5 or newer is needed"))
            })?;
            crew.owner = Some(owner);
        }
        crew.members += 1;
        Ok(Self(()))
    }

    /// Has the task of a role do a job. Calls that fail are for the caller to see.
    pub(super) fn perform(&self, role: &Role, mut job: Job) -> Result<Job, ActorError> {
        let mut crew = crew();
        // A task that was ended before it began is made anew: somebody killed it, or it made way for other tests.
        let patience = Instant::now() + holder::PATIENCE;
        loop {
            match crew.attempt(role, &mut job) {
                Err(ActorError::Died { begun: false, .. }) if Instant::now() < patience => {
                    std::thread::sleep(holder::OTHERS_TURN);
                }
                done => return done.map(|()| job),
            }
        }
    }
}

#[cfg(test)]
impl Member {
    /// Has the keeper make a process with this id, then end before it can tell.
    pub(super) fn make_and_die(&self, tid: u32) -> Result<isize, ActorError> {
        let mut crew = crew();
        let maker = crew.keeper()?;
        let failed = |e: io::Error| ActorError::Machine(e.to_string());
        let tid = holder::checked(tid)?;
        let owner = crew.owner.as_ref().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let level = crew.levels.unwrap_or(1);
        let cradle = Cradle::new(Kind::Process, tid, level, owner).map_err(failed)?;
        let args = addr(&raw const *cradle.args);
        let call = Call::clone_task(args, CLONE_ARGS_SIZE, addr(&raw const *cradle.mailbox));
        let end = Call::system("end", libc::SYS_exit_group, [0; 6]);
        let job = Job { calls: vec![call, end], newborn: Some(cradle), ..Job::default() };
        crew.make(maker, Kind::Process, tid, job).map(|(ret, _)| ret)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut crew = crew();
        crew.members = crew.members.saturating_sub(1);
        if crew.members == 0 {
            while let Some(tid) = crew.hands.keys().next().copied() {
                crew.dismiss(tid);
            }
        }
    }
}

/// One actor.
#[derive(Debug)]
struct Hand {
    tgid: u32,
    /// The actor that its role has for its parent, if that has to be a certain one.
    parent: Option<u32>,
    /// The actor that made it; only the keeper has none.
    maker: Option<u32>,
    process: Arc<OwnedFd>,
    shown: Shown,
    cradle: Cradle,
}

#[derive(Debug)]
struct Crew {
    hands: BTreeMap<u32, Hand>,
    members: usize,
    /// A pidfd of this process, by which actors see that it has ended.
    owner: Option<OwnedFd>,
    /// The actor that makes those of no particular parent, and whose children nobody has to wait for: an actor that makes way
    /// leaves its pid at once, whatever the test is doing.
    keeper: Option<u32>,
    /// In how many PID namespaces, from the innermost to the first, this process is. Programs see ids of the first.
    levels: Option<usize>,
}

impl Crew {
    fn attempt(&mut self, role: &Role, job: &mut Job) -> Result<(), ActorError> {
        self.ensure(role)?;
        self.undisturbed(role, job)
    }

    /// Has an actor do a job. While a thread is at work, the first thread of its process does not make way: that would
    /// end both.
    fn undisturbed(&mut self, role: &Role, job: &mut Job) -> Result<(), ActorError> {
        if role.tid != role.tgid {
            self.make_way(role.tgid, false)?;
        }
        let done = self.work(role.tid, job);
        if role.tid != role.tgid && done.is_ok() {
            // If the process ends right here, the job is done all the same.
            let _ = self.make_way(role.tgid, true);
        }
        done
    }

    /// Lets an actor without a job make way when it is asked, or not. It waits anew, so this holds from now on.
    fn make_way(&mut self, tid: u32, does: bool) -> Result<(), ActorError> {
        if let Some(hand) = self.hands.get(&tid) {
            hand.cradle.mailbox.makes_way.store(does, Ordering::Release);
        }
        self.work(tid, &mut Job::default()).map_err(not_begun)
    }

    /// Makes the task of a role, if it is not there, and lets it look as the role says.
    fn ensure(&mut self, role: &Role) -> Result<(), ActorError> {
        for other in [&role.parent, &role.leader].into_iter().flatten() {
            self.ensure(other)?;
        }
        let parent = role.parent.as_ref().map(|p| p.tid);
        let hand = self.hands.get(&role.tid);
        let ended = hand.is_some_and(|h| watch::ended(&h.process, Duration::ZERO));
        if ended || hand.is_none_or(|h| h.tgid != role.tgid || h.parent != parent) {
            self.dismiss(role.tid);
            if ended {
                std::thread::sleep(holder::OTHERS_TURN);
            }
            self.spawn(role, parent)?;
        }
        let shown = self.hands.get(&role.tid).map(|h| h.shown).unwrap_or_default();
        let mut job = show::job(role, shown);
        if job.calls.is_empty() {
            return Ok(());
        }
        self.undisturbed(role, &mut job).map_err(not_begun)?;
        if let Some((call, source)) = job.failure() {
            if call.number == word_of(libc::SYS_sched_setaffinity) {
                return Err(ActorError::Cpu { cpu: role.cpu, cpus: show::cpus() });
            }
            return Err(ActorError::Call { pid: role.tid, what: call.what, source });
        }
        if let Some(hand) = self.hands.get_mut(&role.tid) {
            hand.shown = Shown::of(role);
        }
        Ok(())
    }

    fn spawn(&mut self, role: &Role, parent: Option<u32>) -> Result<(), ActorError> {
        let maker = match (&role.leader, parent) {
            (Some(_), _) => role.tgid,
            (None, Some(parent)) => parent,
            (None, None) => self.keeper()?,
        };
        let kind = if role.leader.is_some() { Kind::Thread } else { Kind::Process };
        let tid = holder::checked(role.tid)?;
        let patience = Instant::now() + holder::PATIENCE;
        let mut turn = Instant::now() + holder::TURN;
        loop {
            let (ret, cradle) = self.try_levels(kind, tid, maker)?;
            if ret > 0 {
                let process = match kind {
                    Kind::Thread => self.hands.get(&role.tgid).map(|h| Arc::clone(&h.process)),
                    _ => cradle.take_pidfd(),
                };
                let Some(process) = process else {
                    // It runs, and cannot be ended: what it runs on stays.
                    std::mem::forget(cradle);
                    let why = "clone3() gives no pidfd, which Linux 5.2 has";
                    return Err(ActorError::Machine(why.to_owned()));
                };
                let hand = Hand {
                    tgid: role.tgid,
                    parent,
                    maker: Some(maker),
                    process,
                    shown: Shown::default(),
                    cradle,
                };
                self.hands.insert(role.tid, hand);
                return Ok(());
            }
            if ret != -(libc::EEXIST as isize) || !holder::will_go(role.tid) || Instant::now() >= patience {
                return Err(holder::explain(role.tid, &error_of(ret)));
            }
            std::thread::sleep(Duration::from_millis(2));
            if Instant::now() >= turn {
                holder::ask(role.tid);
                turn = Instant::now() + holder::TURN;
            }
        }
    }

    /// The keeper, made if it is not there.
    fn keeper(&mut self) -> Result<u32, ActorError> {
        let machine = |e: io::Error| ActorError::Machine(format!("the first actor cannot be made: {e}"));
        if let Some(keeper) = self.keeper {
            if self.hands.get(&keeper).is_some_and(|h| !watch::ended(&h.process, Duration::ZERO)) {
                return Ok(keeper);
            }
            self.dismiss(keeper);
        }
        let owner = self.owner.as_ref().ok_or_else(|| machine(io::ErrorKind::NotFound.into()))?;
        let cradle = Cradle::new(Kind::Keeper, 0, 0, owner).map_err(machine)?;
        let ret = cradle.start();
        let Ok(tid @ 1..) = u32::try_from(ret) else { return Err(machine(error_of(ret))) };
        let Some(process) = cradle.take_pidfd() else {
            // As in `spawn`.
            std::mem::forget(cradle);
            return Err(machine(io::ErrorKind::Unsupported.into()));
        };
        // No role has this parent, so none is played by the keeper.
        let parent = Some(0);
        let hand = Hand { tgid: tid, parent, maker: None, process, shown: Shown::default(), cradle };
        self.hands.insert(tid, hand);
        self.keeper = Some(tid);
        Ok(tid)
    }

    /// Makes the task with its id in every PID namespace that this process is in: the deepest nesting that the kernel takes.
    fn try_levels(&mut self, kind: Kind, tid: i32, maker: u32) -> Result<(isize, Cradle), ActorError> {
        let machine = |e: io::Error| ActorError::Machine(format!("an actor cannot be prepared: {e}"));
        let mut level = self.levels.unwrap_or_else(holder::deepest_level);
        loop {
            let owner = self.owner.as_ref().ok_or_else(|| machine(io::ErrorKind::NotFound.into()))?;
            let cradle = Cradle::new(kind, tid, level, owner).map_err(machine)?;
            let args = addr(&raw const *cradle.args);
            let call = Call::clone_task(args, CLONE_ARGS_SIZE, addr(&raw const *cradle.mailbox));
            let mut ignore = Block::new(&libc::SIG_IGN.to_ne_bytes(), KERNEL_SIGACTION);
            let args = [word(libc::SIGCHLD), ignore.addr(), 0, size_of::<u64>(), 0, 0];
            let ignored = Call::system("not wait for its children", libc::SYS_rt_sigaction, args);
            let job = Job {
                calls: vec![ignored, call],
                blocks: vec![ignore],
                newborn: Some(cradle),
                ..Job::default()
            };
            let (ret, cradle) = self.make(maker, kind, tid, job)?;
            if ret == -(libc::EINVAL as isize) && level > 1 && self.levels.is_none() {
                level -= 1;
                continue;
            }
            if ret > 0 {
                self.levels = Some(level);
            }
            return Ok((ret, cradle));
        }
    }

    /// Has an actor do the job that makes a task. Gives what `clone3()` gave, and what the new task lives on.
    fn make(
        &mut self,
        maker: u32,
        kind: Kind,
        tid: i32,
        mut job: Job,
    ) -> Result<(isize, Cradle), ActorError> {
        let done = self.work(maker, &mut job).map_err(not_begun);
        // If the maker could not be ended, the job was forgotten, and with it the cradle, which it may still use.
        let cradle = job.newborn.take();
        match (done, cradle) {
            (Ok(()), Some(cradle)) => {
                Ok((job.calls.iter().rev().find(is_clone).map_or(NOT_DONE, |c| c.ret), cradle))
            }
            (Err(e), Some(cradle)) => {
                orphan::end(cradle, kind, tid);
                Err(e)
            }
            (Err(e), None) => Err(e),
            (Ok(()), None) => Err(ActorError::Machine("a task was made from nothing".to_owned())),
        }
    }

    /// Has an actor do a job, and waits until it is done or the actor is gone: then the job's memory is ours again.
    fn work(&mut self, tid: u32, job: &mut Job) -> Result<(), ActorError> {
        let failed = |source| ActorError::Call { pid: tid, what: "be told what to do", source };
        let hand = self.hands.get(&tid).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let (mailbox, cradle) = (&hand.cradle.mailbox, &hand.cradle);
        mailbox.calls.store(job.calls.as_mut_ptr() as usize, Ordering::Release);
        mailbox.count.store(job.calls.len(), Ordering::Release);
        mailbox.begun.store(false, Ordering::Release);
        watch::signal(&cradle.go).map_err(failed)?;
        let waited = watch::either(&cradle.done, &hand.process, Instant::now() + job.limit.0);
        if let Ok(Some(true)) = waited {
            watch::take(&cradle.done).map_err(failed)?;
            std::sync::atomic::fence(Ordering::Acquire);
            return Ok(());
        }
        let begun = mailbox.begun.load(Ordering::Acquire);
        let gone = self.dismiss(tid);
        if !gone {
            // It could not be ended, so it may still use the memory.
            std::mem::forget(std::mem::take(job));
        }
        Err(match (waited, gone) {
            (Ok(Some(_)), true) => ActorError::Died { pid: tid, begun },
            (Err(source), _) => failed(source),
            _ => ActorError::TimedOut { pid: tid, limit: job.limit.0 },
        })
    }

    /// Ends an actor with all threads of its process and the processes it made, and says whether it is gone.
    fn dismiss(&mut self, tid: u32) -> bool {
        let hand = self.hands.get(&tid).map(|h| (h.tgid, h.maker, Arc::clone(&h.process)));
        let Some((tgid, maker, process)) = hand else { return true };
        let children = |crew: &Self| {
            let ours = |tid: u32| crew.hands.get(&tid).is_some_and(|h| h.tgid == tgid);
            crew.hands.iter().find(|(_, h)| h.tgid != tgid && h.maker.is_some_and(ours)).map(|(tid, _)| *tid)
        };
        while let Some(child) = children(self) {
            self.dismiss(child);
        }
        // SAFETY: no memory is involved; the signal goes to the process of the pidfd, or nowhere.
        unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, 0, 0);
        }
        let gone = watch::ended(&process, END);
        if maker.is_none() {
            reap(tgid);
        }
        let group: Vec<u32> =
            self.hands.iter().filter(|(_, h)| h.tgid == tgid).map(|(tid, _)| *tid).collect();
        for tid in group {
            let hand = self.hands.remove(&tid);
            if !gone {
                // It may still run on this stack.
                std::mem::forget(hand);
            }
        }
        gone
    }
}

/// What happened to a task before the job of the caller.
fn not_begun(error: ActorError) -> ActorError {
    match error {
        ActorError::Died { pid, .. } => ActorError::Died { pid, begun: false },
        other => other,
    }
}

/// Takes the keeper, which is our child, out of the kernel's table. `__WALL`, since it ends without SIGCHLD.
fn reap(tgid: u32) {
    // SAFETY: the status is not asked for.
    unsafe {
        libc::waitpid(tgid.cast_signed(), std::ptr::null_mut(), libc::__WALL | libc::WNOHANG);
    }
}

fn is_clone(call: &&Call) -> bool {
    call.number == CLONE
}

fn word_of(number: libc::c_long) -> usize {
    word(i32::try_from(number).unwrap_or(-1))
}
