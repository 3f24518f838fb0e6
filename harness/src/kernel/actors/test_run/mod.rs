//! `BPF_PROG_TEST_RUN`, called by an actor: a test run happens in the task that asks for it.

#[cfg(test)]
mod tests;
mod types;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use super::Actors;
use super::body::Call;
use super::error::ActorError;
use super::job::{Block, Job};
use super::role::Role;
use super::stats;
use types::{ENOTSUPP, TypeRow};

/// What a program is run on.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct TestRun {
    /// The context, for types that take one: arguments as words (raw tracepoint, syscall), `struct __sk_buff`, `struct
    /// xdp_md`, `struct bpf_sk_lookup`. Empty for none.
    pub(crate) ctx: Vec<u8>,
    /// The packet, for types that take one.
    pub(crate) data: Vec<u8>,
    /// How often; 0 means once.
    pub(crate) repeat: u32,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub(crate) struct TestRunOutput {
    /// What the program returned, the last time. Of a flow dissector before Linux 6.1 it is 1 where the program returned
    /// `BPF_OK`, else 0. `None` for programs on functions: there the kernel says something of the functions.
    pub(crate) retval: Option<u32>,
    /// The packet (a flow dissector's: `struct bpf_flow_keys`), for types that take one.
    pub(crate) data: Vec<u8>,
    /// The context as the program left it, for types that give it back; else empty.
    pub(crate) ctx: Vec<u8>,
    /// What the kernel says that one run took on average; zero for types that it does not measure.
    pub(crate) duration: Duration,
}

/// Where in a job's blocks the output is.
struct Places {
    data_out: usize,
    ctx_out: usize,
}

impl Actors {
    /// Runs a program of a type that the kernel can test run, in the task of a role.
    ///
    /// # Errors
    /// If the running kernel cannot test run this type, or refuses the input.
    pub(crate) fn test_run(
        &mut self,
        prog: impl AsFd,
        input: &TestRun,
        role: &Role,
    ) -> Result<TestRunOutput, ActorError> {
        let fd = prog.as_fd();
        let before = stats::of(fd)?;
        let row = types::row(before.prog_type);
        let repeat = input.repeat.max(1);
        // Types that the kernel runs once for each call are called so often.
        let (calls, repeat) = if row.repeats { (1, repeat) } else { (repeat, 0) };
        let (job, places) = prepare(fd.as_raw_fd(), &row, input, calls, repeat);
        let job = self.member.perform(role, job)?;
        if let Some((_, source)) = job.failure() {
            return Err(refused(&row, source, input));
        }
        if row.attaches && stats::of(fd)?.run_cnt == before.run_cnt {
            return Err(ActorError::NotCalled);
        }
        let attr = job.blocks.first().map(|b| b.bytes(usize::MAX)).unwrap_or_default();
        let field = |at: usize| {
            let bytes = attr.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
            bytes.map_or(0, u32::from_ne_bytes)
        };
        let out = |place: usize, len: usize| job.blocks.get(place).map(|b| b.bytes(len)).unwrap_or_default();
        let ctx_len = if row.ctx_in_place { input.ctx.len() } else { field(attr::CTX_SIZE_OUT) as usize };
        Ok(TestRunOutput {
            retval: (!row.attaches).then(|| field(attr::RETVAL)),
            data: if row.data {
                out(places.data_out, field(attr::DATA_SIZE_OUT) as usize)
            } else {
                Vec::new()
            },
            ctx: if row.ctx_in_place || row.ctx_out { out(places.ctx_out, ctx_len) } else { Vec::new() },
            duration: Duration::from_nanos(u64::from(field(attr::DURATION))),
        })
    }
}

/// Where what is in `struct { ... } test` of `union bpf_attr`.
mod attr {
    use libbpf_sys::bpf_attr__bindgen_ty_7 as Test;
    use std::mem::offset_of;

    pub(super) const PROG_FD: usize = offset_of!(Test, prog_fd);
    pub(super) const RETVAL: usize = offset_of!(Test, retval);
    pub(super) const DATA_SIZE_IN: usize = offset_of!(Test, data_size_in);
    pub(super) const DATA_SIZE_OUT: usize = offset_of!(Test, data_size_out);
    pub(super) const DATA_IN: usize = offset_of!(Test, data_in);
    pub(super) const DATA_OUT: usize = offset_of!(Test, data_out);
    pub(super) const REPEAT: usize = offset_of!(Test, repeat);
    pub(super) const DURATION: usize = offset_of!(Test, duration);
    pub(super) const CTX_SIZE_IN: usize = offset_of!(Test, ctx_size_in);
    pub(super) const CTX_SIZE_OUT: usize = offset_of!(Test, ctx_size_out);
    pub(super) const CTX_IN: usize = offset_of!(Test, ctx_in);
    pub(super) const CTX_OUT: usize = offset_of!(Test, ctx_out);
    /// As much as Linux 5.10 knows; later fields stay zero.
    pub(super) const SIZE: usize = offset_of!(Test, batch_size);
}

/// Room for what a program may add to its packet, and for the kernel's context structures, which only grow.
const MORE_DATA: usize = 4096;
const MORE_CTX: usize = 256;

fn prepare(fd: i32, row: &TypeRow, input: &TestRun, calls: u32, repeat: u32) -> (Job, Places) {
    let mut data = Block::new(&input.data, 0);
    let mut ctx = Block::new(&input.ctx, 0);
    let data_out = if row.data { input.data.len() + MORE_DATA } else { 0 };
    let ctx_out = if row.ctx_out && !input.ctx.is_empty() { input.ctx.len() + MORE_CTX } else { 0 };
    let (mut data_out, mut ctx_out) = (Block::new(&[], data_out), Block::new(&[], ctx_out));

    let mut bytes = [0u8; attr::SIZE];
    let mut put = |at: usize, value: &[u8]| {
        for (to, from) in bytes.iter_mut().skip(at).zip(value) {
            *to = *from;
        }
    };
    put(attr::PROG_FD, &fd.to_ne_bytes());
    put(attr::REPEAT, &repeat.to_ne_bytes());
    for (block, size_at, addr_at) in [
        (&mut data, attr::DATA_SIZE_IN, attr::DATA_IN),
        (&mut data_out, attr::DATA_SIZE_OUT, attr::DATA_OUT),
        (&mut ctx, attr::CTX_SIZE_IN, attr::CTX_IN),
        (&mut ctx_out, attr::CTX_SIZE_OUT, attr::CTX_OUT),
    ] {
        put(size_at, &block.len().to_ne_bytes());
        put(addr_at, &(block.addr() as u64).to_ne_bytes());
    }
    let mut attr = Block::new(&bytes, 0);
    let args = [libbpf_sys::BPF_PROG_TEST_RUN as usize, attr.addr(), attr::SIZE, 0, 0, 0];
    let call = Call::system("test run a program", libc::SYS_bpf, args);
    let places = Places { data_out: 3, ctx_out: if row.ctx_in_place { 2 } else { 4 } };
    let blocks = vec![attr, data, ctx, data_out, ctx_out];
    let calls = vec![call; calls as usize];
    (Job { calls, blocks, ..Job::default() }, places)
}

/// What the kernel's error means, for this type, input and kernel.
fn refused(row: &TypeRow, source: io::Error, input: &TestRun) -> ActorError {
    let running = types::running();
    let prog_type = row.name();
    let unsupported = matches!(source.raw_os_error(), Some(ENOTSUPP | libc::EOPNOTSUPP));
    let too_old = row.since.is_some_and(|since| running.parse().is_some_and(|now| now < since));
    if unsupported || too_old {
        let since = match row.since {
            Some((major, minor)) if too_old => format!("Linux {major}.{minor} and later can"),
            Some(_) if row.prog_type == libbpf_sys::BPF_PROG_TYPE_STRUCT_OPS => {
                "of these only the kernel's own `bpf_dummy_ops`; let a Stimulus make it run".to_owned()
            }
            Some(_) => "it was built without (CONFIG_NET, or a similar option)".to_owned(),
            None => "no kernel can; let a Stimulus make it run".to_owned(),
        };
        return ActorError::NoTestRun { running: running.text, prog_type, since };
    }
    let hint = match source.raw_os_error() {
        Some(libc::EINVAL) => row.hint(input.data.len(), input.ctx.len()),
        Some(libc::EPERM) => " (CAP_BPF and CAP_NET_ADMIN are needed)".to_owned(),
        Some(libc::EFAULT) if row.attaches => {
            " (of fentry and its like, only programs of bpf_fentry_test1 and so on \
                                               can be test run)"
                .to_owned()
        }
        _ => String::new(),
    };
    ActorError::TestRun { running: running.text, prog_type, source, hint }
}
