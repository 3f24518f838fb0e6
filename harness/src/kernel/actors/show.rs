//! How an actor comes to look like its role: the calls that change what differs.

use super::body::Call;
use super::cast::word;
use super::job::{Block, Job};
use super::role::Role;

/// Keeps the capabilities when the user changes (`include/uapi/linux/securebits.h`).
const SECBIT_NO_SETUID_FIXUP: usize = 1 << 2;
/// Room for 8192 CPUs, the most that a kernel can be built for (`NR_CPUS`).
const CPU_BYTES: usize = 1024;

/// What an actor shows now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Shown {
    ids: Option<(u32, u32)>,
    comm: Option<[u8; 16]>,
    cpu: Option<u32>,
}

impl Shown {
    /// After [`job`] is done.
    pub(super) fn of(role: &Role) -> Self {
        Self { ids: Some((role.uid, role.gid)), comm: Some(role.comm), cpu: Some(role.cpu) }
    }
}

/// The calls that lead from what is shown to the role.
///
/// The user changes with all capabilities kept, so that test runs work and the next role can be played. That the user changes
/// makes the kernel take the process's memory, which is the test's too, for undumpable (`commit_creds()`); it is set back.
pub(super) fn job(role: &Role, shown: Shown) -> Job {
    let mut job = Job::default();
    if shown.comm != Some(role.comm) {
        let mut comm = Block::new(&role.comm, 16);
        let args = [word(libc::PR_SET_NAME), comm.addr(), 0, 0, 0, 0];
        job.calls.push(Call::system("have its name", libc::SYS_prctl, args));
        job.blocks.push(comm);
    }
    if shown.ids != Some((role.uid, role.gid)) {
        let (uid, gid) = (role.uid as usize, role.gid as usize);
        let keep = [word(libc::PR_SET_SECUREBITS), SECBIT_NO_SETUID_FIXUP, 0, 0, 0, 0];
        job.calls.push(Call::system("keep its capabilities", libc::SYS_prctl, keep));
        job.calls.push(Call::system("have its group", libc::SYS_setresgid, [gid, gid, gid, 0, 0, 0]));
        job.calls.push(Call::system("have its user", libc::SYS_setresuid, [uid, uid, uid, 0, 0, 0]));
        // SAFETY: asks for a number.
        if unsafe { libc::prctl(libc::PR_GET_DUMPABLE) } == 1 {
            let dumpable = [word(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0];
            job.calls.push(Call::system("keep the test dumpable", libc::SYS_prctl, dumpable));
        }
    }
    if shown.cpu != Some(role.cpu) {
        let at = role.cpu as usize;
        let mut mask = vec![0u8; CPU_BYTES.max(at / 8 + 1)];
        if let Some(byte) = mask.get_mut(at / 8) {
            *byte = 1 << (at % 8);
        }
        let mut mask = Block::new(&mask, 0);
        let args = [0, mask.len() as usize, mask.addr(), 0, 0, 0];
        job.calls.push(Call::system("run on its CPU", libc::SYS_sched_setaffinity, args));
        job.blocks.push(mask);
    }
    job
}

/// How many CPUs are online.
pub(super) fn cpus() -> usize {
    // SAFETY: asks for a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1)
}
