//! Objects that stand for tasks.

use bpf_vm_shim::btf::{Btf, TypeId};
use bpf_vm_shim::fault::Trap;
use bpf_vm_shim::mem::Memory;

use super::builder::{Object, set};
use super::error::ObjectError;
use super::value::Value;
use super::{Known, OPAQUE_SIZE, Thing, UNTYPED, alloc, alloc_type, find_type};
use crate::kernel::Kernel;
use crate::state::Task;

/// `PF_KTHREAD` of `include/linux/sched.h`.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Parents that are followed when a task gets its object; those above get theirs when they are asked for.
const MAX_FAMILY: usize = 64;

impl Kernel {
    /// The address of a task's `struct task_struct`, made when it is first asked for: by the kernel's BTF, with what
    /// the task says in whichever of the usual members that type has; a zeroed block without BTF.
    ///
    /// # Errors
    /// If there is no memory, or the BTF is broken.
    pub fn task_object(&mut self, mem: &mut Memory, pid: u32) -> Result<u64, Trap> {
        Ok(self.make_task(mem, pid)?)
    }

    /// As [`Kernel::task_object`], with the error as a test can use it.
    pub(crate) fn make_task(&mut self, mem: &mut Memory, pid: u32) -> Result<u64, ObjectError> {
        let types = self.types().cloned();
        let typed = types.as_ref().and_then(|btf| Some((btf, find_type(btf, "struct task_struct")?)));
        let set = typed.map_or(UNTYPED, |(btf, _)| self.state.objects.set(btf));
        let generation = self.state.tasks.generation();
        // The task and its family, each allocated before any is filled: they point to each other.
        let mut todo = vec![pid];
        let mut at = 0;
        while let Some(pid) = todo.get(at).copied() {
            at += 1;
            let known = self.state.objects.known.get(&(Thing::Task(pid), set)).copied();
            if known.is_some_and(|k| k.generation == generation) {
                continue;
            }
            let addr = match (known, typed) {
                (Some(known), _) => known.addr,
                (None, Some((btf, id))) => alloc_type(mem, btf, id)?,
                (None, None) => alloc(mem, OPAQUE_SIZE, "struct task_struct")?,
            };
            self.state.objects.known.insert((Thing::Task(pid), set), Known { addr, generation });
            self.state.tasks.note_object(addr, pid);
            if let (Some(task), true) = (self.state.tasks.get(pid), todo.len() < MAX_FAMILY) {
                todo.extend([task.tgid, task.parent].into_iter().filter(|p| *p != pid));
            }
        }
        if let Some((btf, id)) = typed {
            todo.truncate(at);
            todo.sort_unstable();
            todo.dedup();
            for pid in todo {
                self.fill_task(mem, btf, id, set, pid, generation)?;
            }
        }
        let known = self.state.objects.known.get(&(Thing::Task(pid), set));
        Ok(known.map_or(0, |k| k.addr))
    }

    fn fill_task(
        &mut self,
        mem: &mut Memory,
        btf: &Btf,
        type_id: TypeId,
        types: u32,
        pid: u32,
        _generation: u64,
    ) -> Result<(), ObjectError> {
        let addr_of = |k: &Self, pid| k.state.objects.known.get(&(Thing::Task(pid), types)).map(|k| k.addr);
        let Some(task) = self.state.tasks.get(pid).cloned() else { return Ok(()) };
        let Some(addr) = addr_of(self, pid) else { return Ok(()) };
        let object = Object { addr, type_id };
        let mut fields = plain_fields(&task);
        let leader = addr_of(self, task.tgid).unwrap_or(addr);
        fields.push(("group_leader", leader.into()));
        if let Some(parent) = addr_of(self, task.parent) {
            fields.extend([("real_parent", parent.into()), ("parent", parent.into())]);
        }
        if let Some(cgroup) = self.make_cgroup(mem, task.cgroup)? {
            fields.push(("cgroups.dfl_cgrp", cgroup.into()));
        }
        if !task.kthread {
            // An `mm` of its own, shared by the threads of a group.
            match (task.tgid != pid).then(|| pointer(btf, mem, leader, type_id, "mm")).flatten() {
                Some(mm) if mm != 0 => fields.push(("mm", mm.into())),
                _ => fields.push(("mm.owner", addr.into())),
            }
        }
        for (path, value) in fields {
            optional(set(btf, mem, object, path, &value))?;
        }
        self.fill_cpus(mem, btf, object)?;
        // Both credentials are one object, as for a task that does not act for another.
        if let Some(cred) = pointer(btf, mem, addr, type_id, "cred").filter(|c| *c != 0) {
            optional(set(btf, mem, object, "real_cred", &cred.into()))?;
        }
        Ok(())
    }
}

impl Kernel {
    /// Tasks may run on all CPUs.
    fn fill_cpus(&self, mem: &mut Memory, btf: &Btf, task: Object) -> Result<(), ObjectError> {
        let cpus = self.state.cpus.count;
        for word in 0..cpus.div_ceil(64) {
            let here = (cpus - word * 64).min(64);
            let bits = u64::MAX >> (64 - here);
            optional(set(btf, mem, task, &format!("cpus_mask.bits[{word}]"), &bits.into()))?;
        }
        optional(set(btf, mem, task, "nr_cpus_allowed", &cpus.into()))?;
        match super::walk::walk(btf, mem, (task.addr, task.type_id), "cpus_mask", false) {
            Ok(mask) => optional(set(btf, mem, task, "cpus_ptr", &mask.addr.into())),
            // An object's own types may have the pointer alone; it leads to a mask of its own then.
            Err(_) => {
                optional(set(btf, mem, task, "cpus_ptr->bits[0]", &(u64::MAX >> (64 - cpus.min(64))).into()))
            }
        }
    }
}

/// A pointer in an object, if its type has it.
fn pointer(btf: &Btf, mem: &mut Memory, addr: u64, type_id: TypeId, path: &str) -> Option<u64> {
    let place = super::walk::walk(btf, mem, (addr, type_id), path, false).ok()?;
    let mut word = [0; 8];
    mem.peek(place.addr, &mut word).ok()?;
    Some(u64::from_le_bytes(word))
}

/// Members differ from kernel to kernel, and an object's own types have only what its programs use.
fn optional(result: Result<(), ObjectError>) -> Result<(), ObjectError> {
    match result {
        Err(ObjectError::Memory(e)) => Err(e.into()),
        _ => Ok(()),
    }
}

/// What a task says about itself, by the members of `struct task_struct` over the kernels.
fn plain_fields(task: &Task) -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("pid", task.pid.into()),
        ("tgid", task.tgid.into()),
        ("comm", task.comm_bytes().to_vec().into()),
        ("start_time", task.start_time.into()),
        ("start_boottime", task.start_time.into()),
        ("real_start_time", task.start_time.into()),
        ("nsproxy.uts_ns.ns.inum", task.ns.uts.into()),
        ("nsproxy.ipc_ns.ns.inum", task.ns.ipc.into()),
        ("nsproxy.mnt_ns.ns.inum", task.ns.mnt.into()),
        ("nsproxy.pid_ns_for_children.ns.inum", task.ns.pid.into()),
        ("nsproxy.net_ns.ns.inum", task.ns.net.into()),
        ("nsproxy.cgroup_ns.ns.inum", task.ns.cgroup.into()),
        ("nsproxy.time_ns.ns.inum", task.ns.time.into()),
        ("cred.user_ns.ns.inum", task.ns.user.into()),
    ];
    for (group, id) in [("uid", task.uid), ("gid", task.gid)] {
        for kind in ["", "e", "s", "fs"] {
            let path =
                CRED_FIELDS.iter().find(|p| p.strip_prefix("cred.") == Some(&format!("{kind}{group}.val")));
            fields.extend(path.map(|p| (*p, id.into())));
        }
    }
    let (pid, tgid) = task.ns_ids.unwrap_or((task.pid, task.tgid));
    fields.push(("thread_pid.numbers[0].nr", task.pid.into()));
    if task.ns_ids.is_some() {
        fields.push(("thread_pid.level", 1.into()));
        fields.push(("thread_pid.numbers[1].nr", pid.into()));
        fields.push(("signal.pids[1].level", 1.into()));
        fields.push(("signal.pids[1].numbers[1].nr", tgid.into()));
    }
    fields.push(("signal.pids[1].numbers[0].nr", task.tgid.into()));
    if task.kthread {
        fields.push(("flags", PF_KTHREAD.into()));
    }
    fields
}

const CRED_FIELDS: &[&str] = &[
    "cred.uid.val",
    "cred.euid.val",
    "cred.suid.val",
    "cred.fsuid.val",
    "cred.gid.val",
    "cred.egid.val",
    "cred.sgid.val",
    "cred.fsgid.val",
];
