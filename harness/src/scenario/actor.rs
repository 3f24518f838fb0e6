//! The task that a scenario's stimuli are acts of.
//!
//! On a kernel it is a thread of its own, which does nothing else: what the test does meanwhile (attaching, reading
//! maps) has another thread id, so that a tool that is told to look at this one sees the stimuli and nothing else.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use minijinja::value::Value as Any;

use super::stimulus::Act;
use crate::bpf::Bpf;
use crate::error::Error;
use crate::stimulus::Stimulated;
use crate::tier::Tier;
use crate::value::Value;

/// The task and, on a kernel, its thread.
#[derive(Debug)]
pub(super) struct Actor {
    comm: String,
    pid: u32,
    tgid: u32,
    thread: Option<Thread>,
}

/// A machine on its way to the thread, with what is to be done.
type Job = (Box<Bpf>, Act);
/// The same machine, and what came of it.
type Answer = (Box<Bpf>, Result<Stimulated, Error>);

#[derive(Debug)]
struct Thread {
    jobs: Sender<Job>,
    answers: Receiver<Answer>,
    handle: JoinHandle<()>,
}

impl Actor {
    /// The actor, before anything is compiled or loaded: texts may want to know its numbers.
    pub(super) fn new(comm: &str, tier: Tier) -> Result<Self, String> {
        if tier == Tier::Simulator {
            let pid = bpf_helpers_mock::state::Tasks::default().running(0).pid;
            return Ok(Self { comm: comm.to_owned(), pid, tgid: pid, thread: None });
        }
        let (jobs, todo) = channel::<Job>();
        let (done, answers) = channel::<Answer>();
        let (hello, numbers) = channel::<Option<(u32, u32)>>();
        let work = move || {
            // Whoever made this thread is gone if it cannot be told; so it is everywhere below.
            let _ = hello.send(thread_id());
            #[cfg(feature = "kernel")]
            crate::kernel::actions::stay();
            for (mut bpf, act) in todo {
                let result = bpf.stimulate(&*act);
                if done.send((bpf, result)).is_err() {
                    break;
                }
            }
        };
        let named = std::thread::Builder::new().name(comm.to_owned());
        let handle =
            named.spawn(work).map_err(|e| format!("a thread for the stimuli cannot be made: {e}"))?;
        let numbers = numbers.recv().ok().flatten();
        let (tgid, pid) = numbers.ok_or("the number of a thread cannot be read: is /proc mounted?")?;
        // As the kernel keeps it (`TASK_COMM_LEN`).
        let comm = String::from_utf8_lossy(comm.as_bytes().get(..15).unwrap_or(comm.as_bytes())).into_owned();
        Ok(Self { comm, pid, tgid, thread: Some(Thread { jobs, answers, handle }) })
    }

    /// Gives a simulated machine's running task the actor's name.
    pub(super) fn appear(&self, bpf: &mut Bpf) {
        if self.thread.is_none() {
            let tasks = &mut bpf.machine().kernel.state.tasks;
            if let Some(task) = tasks.get_mut(self.pid) {
                task.comm.clone_from(&self.comm);
            }
        }
    }

    /// A compiler's flag with the actor's numbers in it.
    pub(super) fn flag(&self, flag: &str) -> String {
        flag.replace("$actor.tgid", &self.tgid.to_string()).replace("$actor.pid", &self.pid.to_string())
    }

    /// A value with the actor's numbers in place of `$actor.pid` and `$actor.tgid`, wherever in it they are.
    pub(super) fn value(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::Text(text) => match text.strip_prefix("$actor.") {
                Some("pid") => self.pid.into(),
                Some("tgid") => self.tgid.into(),
                Some(_) => {
                    return Err(format!("'{text}' is no number: there are $actor.pid and $actor.tgid"));
                }
                None => value.clone(),
            },
            Value::List(all) => Value::List(all.iter().map(|v| self.value(v)).collect::<Result<_, _>>()?),
            Value::Struct(members) => {
                let member = |(name, v): &(String, Value)| Ok((name.clone(), self.value(v)?));
                Value::Struct(members.iter().map(member).collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }

    /// What expressions know as `actor`.
    pub(super) fn names(&self) -> Any {
        Any::from_pairs([
            ("pid", Any::from(self.pid)),
            ("tgid", Any::from(self.tgid)),
            ("comm", Any::from(self.comm.as_str())),
        ])
    }

    /// Lets the actor act.
    pub(super) fn act(&self, bpf: Bpf, act: Act) -> Result<(Bpf, Stimulated), String> {
        let Some(thread) = &self.thread else {
            let mut bpf = bpf;
            let done = bpf.stimulate(&*act).map_err(|e| e.to_string())?;
            return Ok((bpf, done));
        };
        let gone = "the thread of the stimuli has ended";
        thread.jobs.send((Box::new(bpf), act)).map_err(|_| gone)?;
        let (bpf, result) = thread.answers.recv().map_err(|_| gone)?;
        Ok((*bpf, result.map_err(|e| e.to_string())?))
    }

    /// Ends the thread.
    pub(super) fn end(self) {
        if let Some(Thread { jobs, answers, handle }) = self.thread {
            drop((jobs, answers));
            // A panic of a closure has been said by the panic itself.
            let _ = handle.join();
        }
    }
}

/// Process and thread id of this thread: `/proc/thread-self` is a link to `TGID/task/TID`.
fn thread_id() -> Option<(u32, u32)> {
    let link = std::fs::read_link("/proc/thread-self").ok()?;
    let mut parts = link.to_str()?.split("/task/");
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
