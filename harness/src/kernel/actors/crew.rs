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
use super::body::{Call, NOT_DONE};
use super::cast::{addr, word};
use super::error::ActorError;
use super::holder;
use super::job::{Block, Job, error_of};
use super::role::Role;
use super::show::{self, Shown};
use super::spawn::{CLONE_ARGS_SIZE, Cradle, Kind};
use super::watch;

/// How often a task is made anew that ends before it begins: because somebody killed it, or it made way for other tests.
const ATTEMPTS: usize = 100;
/// `sizeof(struct sigaction)` of the kernel, with its set of 64 signals.
const KERNEL_SIGACTION: usize = 32;
/// How long a killed task may take to go.
const END: Duration = Duration::from_secs(10);

static CREW: Mutex<Crew> = Mutex::new(Crew { hands: BTreeMap::new(), members: 0, owner: None, levels: None });

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
        // A task that somebody else has ended is made anew, as long as it has not begun.
        for _ in 0..ATTEMPTS {
            match crew.attempt(role, &mut job) {
                Err(ActorError::Died { begun: false, .. }) => {}
                done => return done.map(|()| job),
            }
        }
        crew.attempt(role, &mut job).map(|()| job)
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
    /// The actor that made it, if one did.
    parent: Option<u32>,
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
    /// In how many PID namespaces, from the innermost to the first, this process is. Programs see ids of the first.
    levels: Option<usize>,
}

impl Crew {
    fn attempt(&mut self, role: &Role, job: &mut Job) -> Result<(), ActorError> {
        self.ensure(role)?;
        self.work(role.tid, job)
    }

    /// Makes the task of a role, if it is not there, and lets it look as the role says.
    fn ensure(&mut self, role: &Role) -> Result<(), ActorError> {
        for other in [&role.parent, &role.leader].into_iter().flatten() {
            self.ensure(other)?;
        }
        let parent = role.parent.as_ref().map(|p| p.tid);
        let fits = self.hands.get(&role.tid).is_some_and(|h| {
            h.tgid == role.tgid && h.parent == parent && !watch::ended(&h.process, Duration::ZERO)
        });
        if !fits {
            self.dismiss(role.tid);
            self.spawn(role, parent)?;
        }
        let shown = self.hands.get(&role.tid).map(|h| h.shown).unwrap_or_default();
        let mut job = show::job(role, shown);
        if job.calls.is_empty() {
            return Ok(());
        }
        self.work(role.tid, &mut job).map_err(not_begun)?;
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
        let maker = if role.leader.is_some() { Some(role.tgid) } else { parent };
        let kind = match (&role.leader, parent) {
            (Some(_), _) => Kind::Thread,
            (None, Some(_)) => Kind::ChildOfActor,
            (None, None) => Kind::Process,
        };
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
                let process = process.ok_or_else(|| {
                    ActorError::Machine("clone3() gives no pidfd, which Linux 5.2 has".to_owned())
                })?;
                let hand = Hand { tgid: role.tgid, parent, process, shown: Shown::default(), cradle };
                self.hands.insert(role.tid, hand);
                return Ok(());
            }
            // Who waits must not keep others waiting.
            self.dismiss_threads_but(role);
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

    /// Ends processes with more than one thread, which do not make way by themselves, but not those that a role needs.
    fn dismiss_threads_but(&mut self, role: &Role) {
        let mut needed = vec![role.tgid];
        let mut ancestor = role.leader.as_ref().unwrap_or(&Box::new(role.clone())).parent.clone();
        while let Some(role) = ancestor {
            needed.push(role.tgid);
            ancestor = role.leader.as_ref().map_or(role.parent.clone(), |leader| leader.parent.clone());
        }
        let other =
            |(tid, hand): (&u32, &Hand)| (*tid != hand.tgid && !needed.contains(&hand.tgid)).then_some(*tid);
        while let Some(tid) = self.hands.iter().find_map(other) {
            self.dismiss(tid);
        }
    }

    /// Makes the task with its id in every PID namespace that this process is in: the deepest nesting that the kernel takes.
    fn try_levels(
        &mut self,
        kind: Kind,
        tid: i32,
        maker: Option<u32>,
    ) -> Result<(isize, Cradle), ActorError> {
        let machine = |e: io::Error| ActorError::Machine(format!("an actor cannot be prepared: {e}"));
        let mut level = self.levels.unwrap_or_else(holder::deepest_level);
        loop {
            let owner = self.owner.as_ref().ok_or_else(|| machine(io::ErrorKind::NotFound.into()))?;
            let cradle = Cradle::new(kind, tid, level, owner).map_err(machine)?;
            let ret = match maker {
                None => cradle.start(),
                Some(maker) => {
                    let args = addr(&raw const *cradle.args);
                    let call = Call::clone_task(args, CLONE_ARGS_SIZE, addr(&raw const *cradle.mailbox));
                    let mut ignore = Block::new(&libc::SIG_IGN.to_ne_bytes(), KERNEL_SIGACTION);
                    let args = [word(libc::SIGCHLD), ignore.addr(), 0, size_of::<u64>(), 0, 0];
                    let ignored = Call::system("not wait for its children", libc::SYS_rt_sigaction, args);
                    let mut job = Job { calls: vec![ignored, call], blocks: vec![ignore], ..Job::default() };
                    if let (Kind::Thread, Some(leader)) = (kind, self.hands.get(&maker)) {
                        leader.cradle.mailbox.makes_way.store(false, Ordering::Release);
                    }
                    self.work(maker, &mut job).map_err(not_begun)?;
                    job.calls.last().map_or(NOT_DONE, |c| c.ret)
                }
            };
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
        let how = self.dismiss(tid);
        if how.is_none() {
            // It could not be ended, so it may still use the memory.
            std::mem::forget(std::mem::take(job));
        }
        Err(match (waited, how) {
            (Ok(Some(_)), Some(how)) => ActorError::Died { pid: tid, how, begun },
            (Err(source), _) => failed(source),
            _ => ActorError::TimedOut { pid: tid, limit: job.limit.0 },
        })
    }

    /// Ends an actor with all threads of its process and the processes it made, and says how it ended; `None` if it did not
    /// end. Nothing happens if there is no such actor.
    fn dismiss(&mut self, tid: u32) -> Option<String> {
        let (tgid, process) = self.hands.get(&tid).map(|h| (h.tgid, Arc::clone(&h.process)))?;
        let children = |crew: &Self| {
            let ours = |tid: u32| crew.hands.get(&tid).is_some_and(|h| h.tgid == tgid);
            crew.hands.iter().find(|(_, h)| h.tgid != tgid && h.parent.is_some_and(ours)).map(|(tid, _)| *tid)
        };
        while let Some(child) = children(self) {
            self.dismiss(child);
        }
        // SAFETY: no memory is involved; the signal goes to the process of the pidfd, or nowhere.
        unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, 0, 0);
        }
        let gone = watch::ended(&process, END);
        let how = reap(tgid);
        let group: Vec<u32> =
            self.hands.iter().filter(|(_, h)| h.tgid == tgid).map(|(tid, _)| *tid).collect();
        for tid in group {
            let hand = self.hands.remove(&tid);
            if !gone {
                // It may still run on this stack.
                std::mem::forget(hand);
            }
        }
        gone.then_some(how)
    }
}

/// What happened to a task before the job of the caller.
fn not_begun(error: ActorError) -> ActorError {
    match error {
        ActorError::Died { pid, how, .. } => ActorError::Died { pid, how, begun: false },
        other => other,
    }
}

/// Takes the process out of the kernel's table, if it is our child and has ended, and says how it ended.
fn reap(tgid: u32) -> String {
    let mut status = 0;
    // SAFETY: the status is a local variable. `__WALL`, since such children end without SIGCHLD.
    let pid = unsafe { libc::waitpid(tgid.cast_signed(), &raw mut status, libc::__WALL | libc::WNOHANG) };
    if pid > 0 && libc::WIFSIGNALED(status) {
        format!("was ended by signal {}", libc::WTERMSIG(status))
    } else if pid > 0 && libc::WIFEXITED(status) {
        format!("exited with {}", libc::WEXITSTATUS(status))
    } else {
        "ended".to_owned()
    }
}

fn word_of(number: libc::c_long) -> usize {
    word(i32::try_from(number).unwrap_or(-1))
}
