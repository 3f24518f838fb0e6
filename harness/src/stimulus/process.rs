//! Processes and threads: made, run, ended (`kernel/fork.c`, `fs/exec.c`, `kernel/exit.c`).

use std::path::{Path, PathBuf};

use bpf_helpers_mock::objects::Value;
use bpf_helpers_mock::state::Task;
use bpf_vm_shim::object::Arch;

use super::sched::{DEAD, PRIO, SLEEPS, ZOMBIE};
use super::signal::generate;
use super::simulation::{Occasion, Simulation};
use super::{Action, Real, Stimulated, file, real};
use crate::bpf::Point;
use crate::error::Error;

const SIGCHLD: u64 = 17;
/// The flags of `clone` that say which signal ends it.
const CSIGNAL: u64 = 0xff;
/// What makes a thread (`CLONE_VM`, `FS`, `FILES`, `SIGHAND`, `THREAD`, `SYSVSEM`), with its id cleared when it ends.
pub(crate) const THREAD_FLAGS: u64 = 0x0025_0f00;
/// `WEXITED`: what `wait4` waits for.
const WEXITED: u64 = 4;
/// `CLD_EXITED`
const CLD_EXITED: i64 = 1;
/// The program that is run if none is named: it exits with 0.
pub(crate) const DEFAULT_PROGRAM: &str = "/tmp/bpf-true";

/// A child that exits; see [`Stimulus::fork`](super::Stimulus::fork).
#[derive(Clone, Default, Debug)]
pub struct Fork {
    status: u8,
}

/// A child that runs a program; see [`Stimulus::exec`](super::Stimulus::exec).
#[derive(Clone, Default, Debug)]
pub struct Exec {
    program: Option<PathBuf>,
    args: Vec<String>,
}

/// A thread that exits; see [`Stimulus::thread`](super::Stimulus::thread).
#[derive(Clone, Default, Debug)]
pub struct Thread {}

impl Fork {
    /// The status that the child exits with; 0 if nothing is said.
    #[must_use]
    pub fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }
}

impl Exec {
    /// The program. If none is named it is `/tmp/bpf-true`, a few bytes that exit with 0, which are put there on a kernel.
    #[must_use]
    pub fn program(mut self, path: impl AsRef<Path>) -> Self {
        self.program = Some(path.as_ref().to_owned());
        self
    }

    /// An argument behind the program's name.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    fn path(&self) -> &Path {
        self.program.as_deref().unwrap_or(Path::new(DEFAULT_PROGRAM))
    }
}

impl Action for Fork {
    /// `ret` is the child's id, `child` too.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let child = clone(sim, SIGCHLD)?;
        if child >= 0 {
            wait(sim, child, |sim| exit(sim, "exit_group", u64::from(self.status), None))?;
        }
        Ok(made(child))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::fork(self.status)
    }
}

impl Action for Exec {
    /// `ret` is the child's id, `child` too; the value `exec` is what `execve` has returned.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let path = self.path().to_string_lossy().into_owned();
        let child = clone(sim, SIGCHLD)?;
        let mut result = 0;
        if child >= 0 {
            wait(sim, child, |sim| {
                result = exec(sim, &path, &self.args)?;
                exit(sim, "exit_group", if result < 0 { 127 } else { 0 }, None)
            })?;
        }
        Ok(made(child).with("exec", result.cast_unsigned()))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::exec(self.program.as_deref(), &self.args)
    }
}

impl Action for Thread {
    /// `ret` is the thread's id, `child` too.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let child = clone(sim, THREAD_FLAGS)?;
        if child < 0 {
            return Ok(made(child));
        }
        let me = sim.pid();
        // It waits while the word is what it was before the thread.
        let word = sim.user_bytes(&(-1i32).to_le_bytes())?;
        sim.syscall("futex", &[word, 0, u64::MAX, 0], |sim| {
            sim.switch_to(pid(child), SLEEPS)?;
            arrive(sim)?;
            exit(sim, "exit", 0, Some(me))?;
            release(sim, pid(child))?;
            sim.switch_to(me, DEAD)?;
            Ok(0)
        })?;
        sim.bpf.machine().kernel.state.tasks.remove(pid(child));
        Ok(made(child))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::thread()
    }
}

fn pid(ret: i64) -> u32 {
    u32::try_from(ret).unwrap_or_default()
}

fn made(ret: i64) -> Stimulated {
    Stimulated { ret, child: u32::try_from(ret).ok(), ..Stimulated::default() }
}

/// `clone`, seen by the parent; gives the child's id, or `-errno` if a program refuses it.
fn clone(sim: &mut Simulation<'_>, flags: u64) -> Result<i64, Error> {
    let is_thread = flags == THREAD_FLAGS;
    // A thread brings its stack, and the word that its end clears.
    let own = |sim: &mut Simulation<'_>| if is_thread { sim.user_bytes(&[0; 16]) } else { Ok(0) };
    let (stack, word) = (own(sim)?, own(sim)?);
    let arm = sim.bpf.machine().kernel.profile.arch == Arch::Arm64;
    let call = if arm { [flags, stack, 0, 0, word] } else { [flags, stack, 0, word, 0] };
    sim.syscall("clone", &call, |sim| {
        let function = sim.named(&[("kernel_clone", (5, 10)), ("_do_fork", (2, 6))]);
        let args = sim.object(
            "kernel_clone_args",
            &[
                ("flags", (flags & !CSIGNAL).into()),
                ("exit_signal", (flags & CSIGNAL).into()),
                ("stack", stack.into()),
                ("child_tid", word.into()),
            ],
        )?;
        sim.function(function, &[args], |sim| {
            let child = spawn(sim, is_thread);
            let task = sim.task(child)?;
            let copied = sim.function("copy_process", &[0, 0, u64::MAX, args], |sim| {
                // A copy of its parent, ids and all, until it has its own.
                let me = sim.pid();
                let ids = |pid: u32, tgid: u32| [("pid", Value::from(pid)), ("tgid", Value::from(tgid))];
                let (parents, own) = (ids(me, sim.tgid()), ids(child, sim.tgid_of(child)));
                sim.set_object(task, "task_struct", &parents)?;
                let refused = sim.hook("task_alloc", &[task, flags & !CSIGNAL])?;
                sim.set_object(task, "task_struct", &own)?;
                if refused < 0 {
                    return Ok(refused);
                }
                let comm = sim.comm();
                let fields: &[(&str, Value)] = &[
                    ("pid", child.into()),
                    ("comm", comm.into()),
                    ("clone_flags", (flags & !CSIGNAL).into()),
                ];
                sim.tracepoint("task", "task_newtask", fields, &[task, flags & !CSIGNAL])?;
                Ok(task.cast_signed())
            })?;
            if (-4095..0).contains(&copied) {
                sim.bpf.machine().kernel.state.tasks.remove(child);
                return Ok(copied);
            }
            let parent = sim.pid();
            let parent_task = sim.task(parent)?;
            let comm = sim.comm();
            let fields: &[(&str, Value)] = &[
                ("parent_comm", comm.as_str().into()),
                ("parent_pid", parent.into()),
                ("child_comm", comm.as_str().into()),
                ("child_pid", child.into()),
            ];
            sim.tracepoint("sched", "sched_process_fork", fields, &[parent_task, task])?;
            sim.function("wake_up_new_task", &[task], |sim| {
                sim.woken("sched_wakeup_new", child)?;
                Ok(0)
            })?;
            Ok(child.into())
        })
    })
}

/// A task like the running one, with the next free id.
fn spawn(sim: &mut Simulation<'_>, is_thread: bool) -> u32 {
    let now = sim.bpf.now();
    let state = &mut sim.bpf.machine().kernel.state;
    let me = Task::clone(state.current());
    let child = state.tasks.next_pid();
    let (tgid, parent) = if is_thread { (me.tgid, me.parent) } else { (child, me.tgid) };
    let user =
        if is_thread { me.user.clone() } else { state.tasks.user(me.pid).cloned().unwrap_or_default() };
    state.tasks.insert(Task {
        pid: child,
        tgid,
        parent,
        user,
        start_time: now,
        ns_ids: None,
        kernel_stack: Vec::new(),
        ..me
    });
    child
}

/// A new task begins to run: it returns from the call that its parent made.
fn arrive(sim: &mut Simulation<'_>) -> Result<(), Error> {
    sim.leave_kernel("clone", 0)
}

/// `wait4` of the parent, during which the child lives.
fn wait(
    sim: &mut Simulation<'_>,
    child: i64,
    life: impl FnOnce(&mut Simulation<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (me, comm) = (sim.pid(), sim.comm());
    let status = sim.user_bytes(&[0; 4])?;
    let upid = child.cast_unsigned();
    sim.syscall("wait4", &[upid, status, 0, 0], |sim| {
        sim.function("kernel_wait4", &[upid, status, 0, 0], |sim| {
            let id = sim.process_id(pid(child))?;
            let options = sim.object("wait_opts", &[("wo_flags", WEXITED.into()), ("wo_pid", id.into())])?;
            sim.function("do_wait", &[options], |sim| {
                let fields: &[(&str, Value)] =
                    &[("comm", comm.into()), ("pid", child.into()), ("prio", PRIO.into())];
                sim.tracepoint("sched", "sched_process_wait", fields, &[id])?;
                sim.function("schedule", &[], |sim| {
                    sim.switch_to(pid(child), SLEEPS)?;
                    arrive(sim)?;
                    life(sim)?;
                    let parent = sim.task(me)?;
                    generate(sim, SIGCHLD, parent, me, CLD_EXITED, 1)?;
                    sim.wake_up_parent(me)?;
                    sim.switch_to(me, ZOMBIE)?;
                    Ok(0)
                })?;
                release(sim, pid(child))?;
                Ok(child)
            })
        })
    })?;
    sim.bpf.machine().kernel.state.tasks.remove(pid(child));
    Ok(())
}

fn release(sim: &mut Simulation<'_>, child: u32) -> Result<(), Error> {
    let task = sim.task(child)?;
    sim.leaf("release_task", &[task], 0)?;
    Ok(())
}

/// The end of a task: nothing of it returns. `waiter` waits for its memory to be given up, which since 6.16 comes behind
/// the tracepoint.
fn exit(sim: &mut Simulation<'_>, call: &str, status: u64, waiter: Option<u32>) -> Result<(), Error> {
    sim.enter_syscall(call, &[status])?;
    let code = status << 8;
    if call == "exit_group" {
        sim.enter("do_group_exit", &[code])?;
    }
    sim.enter("do_exit", &[code])?;
    let me = sim.pid();
    let (task, comm) = (sim.task(me)?, sim.comm());
    sim.set_object(task, "task_struct", &[("exit_code", code.into())])?;
    let last = u64::from(call == "exit_group");
    let fields: &[(&str, Value)] =
        &[("comm", comm.into()), ("pid", me.into()), ("prio", PRIO.into()), ("group_dead", last.into())];
    let late = sim.since(6, 16);
    if let Some(waiter) = waiter.filter(|_| !late) {
        sim.wake_up(waiter)?;
    }
    sim.tracepoint("sched", "sched_process_exit", fields, &[task, last])?;
    match waiter.filter(|_| late) {
        Some(waiter) => sim.wake_up(waiter),
        None => Ok(()),
    }
}

impl Simulation<'_> {
    /// A task's process.
    fn tgid_of(&mut self, pid: u32) -> u32 {
        self.bpf.machine().kernel.state.tasks.get(pid).map_or(pid, |t| t.tgid)
    }

    /// `struct pid` of a number.
    pub(super) fn process_id(&mut self, number: u32) -> Result<u64, Error> {
        let id = self.object("pid", &[])?;
        self.set_object(id, "pid", &[("numbers[0].nr", number.into())])?;
        Ok(id)
    }

    /// A function is entered that does not return.
    ///
    /// # Errors
    /// As [`Simulation::happen`].
    pub fn enter(&mut self, name: &str, args: &[u64]) -> Result<(), Error> {
        self.advance(super::STEP_NS)?;
        let occasion = Occasion { args: args.to_vec(), ..Occasion::default() };
        self.happen(Point::Kprobe(name.to_owned()), &occasion)?;
        let point = Point::Fentry(name.to_owned());
        if self.bpf.is_attached_at(&point) {
            self.happen(point, &occasion)?;
        }
        Ok(())
    }
}

/// `execve` of the running task.
fn exec(sim: &mut Simulation<'_>, path: &str, args: &[String]) -> Result<i64, Error> {
    let filename = sim.user_text(path)?;
    let base = path.rsplit('/').next().unwrap_or(path).to_owned();
    let mut words = vec![sim.user_text(&base)?];
    for arg in args {
        words.push(sim.user_text(arg)?);
    }
    words.push(0);
    let argc = words.len() as u64 - 1;
    let argv = sim.user_bytes(&words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>())?;
    let envp = sim.user_bytes(&[0; 8])?;
    sim.syscall("execve", &[filename, argv, envp], |sim| {
        let text = sim.kernel_bytes(path.as_bytes())?;
        let name = sim.object("filename", &[("name", text.into())])?;
        sim.function("do_execveat_common", &[file::AT_FDCWD, name, argv, envp, 0], |sim| {
            let early = sim.since(6, 7);
            let mut opened = if early { open_program(sim, name, path)? } else { Ok(0) };
            if let Err(errno) = opened {
                return Ok(errno);
            }
            let bprm = sim.object(
                "linux_binprm",
                &[("filename", text.into()), ("interp", text.into()), ("argc", argc.into())],
            )?;
            let args = if early { vec![bprm] } else { vec![bprm, file::AT_FDCWD, name, 0] };
            sim.function("bprm_execve", &args, |sim| {
                if !early {
                    opened = open_program(sim, name, path)?;
                }
                match opened {
                    Ok(file) => sim.set_object(bprm, "linux_binprm", &[("file", file.into())])?,
                    Err(errno) => return Ok(errno),
                }
                load(sim, bprm, path, &base)
            })
        })
    })
}

fn open_program(sim: &mut Simulation<'_>, name: u64, path: &str) -> Result<Result<u64, i64>, Error> {
    let mut opened = Ok(0);
    sim.function("do_open_execat", &[file::AT_FDCWD, name, 0], |sim| {
        opened = file::open_file(sim, path, (file::O_LARGEFILE | file::FMODE_EXEC, 0), Some(132))?;
        Ok(opened.map_or_else(|e| e, u64::cast_signed))
    })?;
    Ok(opened)
}

/// From a program's file to the program.
fn load(sim: &mut Simulation<'_>, bprm: u64, path: &str, base: &str) -> Result<i64, Error> {
    for (function, hook) in [
        ("security_bprm_creds_for_exec", "bprm_creds_for_exec"),
        ("security_bprm_check", "bprm_check_security"),
    ] {
        let refused = sim.hook_by(function, hook, &[bprm])?;
        if refused < 0 {
            return Ok(refused);
        }
    }
    // Not `load_elf_binary`: kernels have it twice, and take no probe by such a name any more.
    sim.function("begin_new_exec", &[bprm], |sim| become_program(sim, bprm, path, base))?;
    sim.leaf("setup_new_exec", &[bprm], 0)?;
    sim.leaf("finalize_exec", &[bprm], 0)?;
    let me = sim.pid();
    let task = sim.task(me)?;
    let fields: &[(&str, Value)] = &[("filename", path.into()), ("pid", me.into()), ("old_pid", me.into())];
    sim.tracepoint("sched", "sched_process_exec", fields, &[task, me.into(), bprm])?;
    Ok(0)
}

/// The point of no return: the task has the program's name from here on.
fn become_program(sim: &mut Simulation<'_>, bprm: u64, path: &str, base: &str) -> Result<i64, Error> {
    let (me, comm) = (sim.pid(), sim.comm());
    let task = sim.task(me)?;
    if sim.has_tracepoint("sched", "sched_prepare_exec") {
        let fields: &[(&str, Value)] = &[
            ("interp", path.into()),
            ("filename", path.into()),
            ("pid", me.into()),
            ("comm", comm.as_str().into()),
        ];
        sim.tracepoint("sched", "sched_prepare_exec", fields, &[task, bprm])?;
    }
    let fields: &[(&str, Value)] = &[
        ("pid", me.into()),
        ("oldcomm", comm.into()),
        ("newcomm", base.chars().take(15).collect::<String>().into()),
    ];
    let new = sim.kernel_bytes(base.as_bytes())?;
    sim.tracepoint("task", "task_rename", fields, &[task, new])?;
    if let Some(task) = sim.bpf.machine().kernel.state.tasks.get_mut(me) {
        base.clone_into(&mut task.comm);
    }
    sim.leaf("security_bprm_committing_creds", &[bprm], 0)?;
    sim.leaf("security_bprm_committed_creds", &[bprm], 0)
}
