//! Signals (`kernel/signal.c`).

use bpf_helpers_mock::objects::Value;

use super::simulation::Simulation;
use super::{Action, Real, Stimulated, real};
use crate::error::Error;

const ESRCH: i64 = 3;
/// Signals without a handler that the kernel drops: `SIGCHLD`, `SIGCONT`, `SIGURG`, `SIGWINCH`; and 0, which is none.
const IGNORED: [u32; 5] = [0, 17, 18, 23, 28];
/// `SIGKILL` and `SIGSTOP`, which cannot be ignored.
const FATAL: [u32; 2] = [9, 19];
/// The largest process id there can be, which no process has (`PID_MAX_LIMIT` is 4194304).
const NOBODY: u32 = i32::MAX as u32;
/// `TRACE_SIGNAL_IGNORED` (`include/trace/events/signal.h`)
const RESULT_IGNORED: u64 = 1;
/// `PIDTYPE_TGID`
const GROUP: u64 = 1;

/// A signal is sent; see [`Stimulus::kill`](super::Stimulus::kill).
#[derive(Clone, Debug)]
pub struct Kill {
    signal: u32,
    nobody: bool,
}

impl Kill {
    pub(super) fn itself(signal: u32) -> Self {
        Self { signal, nobody: false }
    }

    pub(super) fn nobody(signal: u32) -> Self {
        Self { signal, nobody: true }
    }

    fn check(&self) -> Result<(), Error> {
        if !self.nobody && (FATAL.contains(&self.signal) || self.signal > 64) {
            return Err(Error::Invalid(format!(
                "signal {} cannot be ignored, and a process that gets it ends: send it to nobody, or another one",
                self.signal
            )));
        }
        Ok(())
    }

    fn needs_ignoring(&self) -> bool {
        !self.nobody && !IGNORED.contains(&self.signal)
    }
}

impl Action for Kill {
    /// `ret` is what `kill` has returned.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        self.check()?;
        let me = sim.tgid();
        let target = if self.nobody { NOBODY } else { me };
        let signal = u64::from(self.signal);
        let action = sim.user_bytes(&[0; 32])?;
        let old = sim.user_bytes(&[0; 32])?;
        if self.needs_ignoring() {
            sim.syscall("rt_sigaction", &[signal, action, old, 8], |_| Ok(0))?;
        }
        let ret = sim.syscall("kill", &[target.into(), signal], |sim| {
            // `SEND_SIG_NOINFO`: what there is to be said is said where the signal is put.
            let info = if sim.since(7, 3) {
                0
            } else {
                sim.object("kernel_siginfo", &[("si_signo", signal.into())])?
            };
            // Compilers put it into the system call since.
            let whole = sim.has_function("kill_something_info").unwrap_or(true) && !sim.since(7, 0);
            if whole {
                sim.function("kill_something_info", &[signal, info, target.into()], |sim| {
                    self.send(sim, info)
                })
            } else {
                self.send(sim, info)
            }
        })?;
        if self.needs_ignoring() {
            sim.syscall("rt_sigaction", &[signal, old, 0, 8], |_| Ok(0))?;
        }
        Ok(Stimulated { ret, ..Stimulated::default() }.with("target", target.into()))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        self.check()?;
        let target = self.nobody.then_some(NOBODY);
        real::kill(target, self.signal, self.needs_ignoring())
    }
}

impl Kill {
    fn send(&self, sim: &mut Simulation<'_>, info: u64) -> Result<i64, Error> {
        let signal = u64::from(self.signal);
        let function = sim.named(&[("kill_pid_info_type", (6, 11)), ("kill_pid_info", (2, 6))]);
        // The process is found by its first thread, if there is a task of that name.
        let tgid = sim.tgid();
        let me = if sim.bpf.machine().kernel.state.tasks.get(tgid).is_some() { tgid } else { sim.pid() };
        let pid = sim.process_id(tgid)?;
        sim.function(function, &[signal, info, if self.nobody { 0 } else { pid }, GROUP], |sim| {
            if self.nobody {
                return Ok(-ESRCH);
            }
            let task = sim.task(me)?;
            let allowed = sim.function("check_kill_permission", &[signal, info, task], |sim| {
                sim.hook("task_kill", &[task, info, signal, 0])
            })?;
            if allowed < 0 || self.signal == 0 {
                return Ok(allowed);
            }
            sim.function("do_send_sig_info", &[signal, info, task, GROUP], |sim| {
                let function = sim.named(&[("send_signal_locked", (5, 19)), ("send_signal", (2, 6))]);
                sim.function(function, &[signal, info, task, GROUP], |sim| {
                    generate(sim, signal, task, me, 0, RESULT_IGNORED)
                })
            })
        })
    }
}

/// A signal is put to a task: `__send_signal` and `signal:signal_generate`.
pub(super) fn generate(
    sim: &mut Simulation<'_>,
    signal: u64,
    task: u64,
    pid: u32,
    code: i64,
    result: u64,
) -> Result<i64, Error> {
    let function = sim.named(&[("__send_signal_locked", (5, 19)), ("__send_signal", (2, 6))]);
    let info = if code == 0 && sim.since(7, 3) {
        0
    } else {
        sim.object("kernel_siginfo", &[("si_signo", signal.into()), ("si_code", code.into())])?
    };
    sim.function(function, &[signal, info, task, GROUP, 0], |sim| {
        let comm = sim.comm_of(pid);
        let fields: &[(&str, Value)] = &[
            ("sig", signal.into()),
            ("code", code.into()),
            ("comm", comm.into()),
            ("pid", pid.into()),
            ("group", 1.into()),
            ("result", result.into()),
        ];
        sim.tracepoint("signal", "signal_generate", fields, &[signal, info, task, 1, result])?;
        Ok(0)
    })
}
