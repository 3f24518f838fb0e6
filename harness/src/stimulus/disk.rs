//! A disk is read (`block/blk-mq.c`, `drivers/block/loop.c`).

use bpf_helpers_mock::objects::Value;
use bpf_helpers_mock::state::Task;

use super::file::{FIRST_FD, O_LARGEFILE, Way, transfer};
use super::simulation::Simulation;
use super::{Action, Real, Stimulated, real};
use crate::error::Error;

/// Bytes in a sector.
const SECTOR: u64 = 512;
/// The most that is read as one request, whatever the device.
const MOST: u32 = 128 << 10;
/// The first loop device, as the kernel writes devices: 7:0.
const DEVICE: u64 = 7 << 20;
const O_DIRECT: u64 = 0o40000;
/// `S_IFBLK`, readable and writable for its owner and group.
const BLOCK: u64 = 0o060_660;
/// `TASK_UNINTERRUPTIBLE` and `TASK_REPORT_IDLE`, as `sched_switch` has them.
const WAITS: u64 = 2;
const RESTS: u64 = 0x80;
/// `IOPRIO_DEFAULT`: of the class `IOPRIO_CLASS_BE`, in its middle.
const BEST_EFFORT: u64 = 2 << 13 | 4;
/// The parent of all kernel threads.
const KTHREADD: u32 = 2;

/// Sectors of a disk are read past the page cache; see [`Stimulus::read_disk`](super::Stimulus::read_disk).
#[derive(Clone, Debug)]
pub struct ReadDisk {
    bytes: u32,
}

impl ReadDisk {
    pub(super) fn new(bytes: u32) -> Self {
        Self { bytes }
    }

    fn check(&self) -> Result<u64, Error> {
        let bytes = u64::from(self.bytes);
        if self.bytes == 0 || self.bytes > MOST || !bytes.is_multiple_of(SECTOR) {
            return Err(Error::Invalid(format!(
                "a disk is read in sectors of {SECTOR} bytes, {MOST} bytes at most: {bytes} are not possible"
            )));
        }
        Ok(bytes)
    }
}

impl Action for ReadDisk {
    /// One request: the reader gives it to the driver, and a worker of the kernel ends it. `ret` is how much was read; the
    /// value `fd` is the descriptor.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let bytes = self.check()?;
        let file = sim.file("/dev/loop0", O_DIRECT | O_LARGEFILE, 0)?;
        sim.set_object(file, "file", &[("f_inode.i_mode", BLOCK.into()), ("f_inode.i_rdev", DEVICE.into())])?;
        let buf = sim.user_bytes(&vec![0; bytes as usize])?;
        let fd = FIRST_FD.cast_unsigned();
        let ret = sim.syscall("read", &[fd, buf, bytes], |sim| {
            transfer(sim, Way::Read, fd, file, buf, bytes, |sim| request(sim, bytes))
        })?;
        Ok(Stimulated::returning(ret).with("fd", fd))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        let bytes = self.check()?;
        real::read_disk(bytes as usize)
    }
}

/// A request for the first sectors, from the driver to its end.
fn request(sim: &mut Simulation<'_>, bytes: u64) -> Result<i64, Error> {
    let disk = sim.object("gendisk", &[("disk_name", "loop0".into()), ("major", 7.into())])?;
    let queue = sim.object("request_queue", &[("disk", disk.into())])?;
    let members = [("q", queue.into()), ("__data_len", bytes.into()), ("__sector", 0.into())];
    let request = sim.object("request", &members)?;
    let comm = sim.comm();
    let fields: &[(&str, Value)] = &[
        ("dev", DEVICE.into()),
        ("sector", 0.into()),
        ("nr_sector", (bytes / SECTOR).into()),
        ("bytes", bytes.into()),
        // The reader waits in `submit_bio_wait`, which says so.
        ("rwbs", if sim.since(6, 0) { "RS" } else { "R" }.into()),
        ("ioprio", BEST_EFFORT.into()),
        ("comm", comm.into()),
    ];
    sim.function("blk_mq_start_request", &[request], |sim| {
        sim.tracepoint("block", "block_rq_issue", fields, &[request])?;
        Ok(0)
    })?;
    let (reader, worker) = (sim.pid(), worker(sim));
    sim.function("schedule", &[], |sim| {
        sim.switch_to(worker, WAITS)?;
        sim.function("blk_mq_end_request", &[request, 0], |sim| {
            sim.function("blk_update_request", &[request, 0, bytes], |sim| {
                sim.tracepoint("block", "block_rq_complete", fields, &[request, 0, bytes])?;
                sim.wake_up(reader)?;
                Ok(0)
            })
        })?;
        sim.switch_to(reader, RESTS)?;
        Ok(0)
    })?;
    Ok(bytes.cast_signed())
}

/// The thread that reads the file behind the device: a worker, before 5.14 one of the device's own.
fn worker(sim: &mut Simulation<'_>) -> u32 {
    let comm = if sim.since(5, 14) { "kworker/u8:1" } else { "loop0" };
    let tasks = &mut sim.bpf.machine().kernel.state.tasks;
    if let Some(known) = tasks.iter().find(|t| t.kthread && t.comm == comm) {
        return known.pid;
    }
    let pid = tasks.next_pid();
    tasks.insert(Task { kthread: true, parent: KTHREADD, ..Task::new(pid, comm) });
    pid
}
