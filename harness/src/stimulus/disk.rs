//! A disk is read (`block/blk-mq.c`, `drivers/block/loop.c`).

use bpf_helpers_mock::objects::Value;

use super::simulation::Simulation;
use super::{Action, Real, Stimulated, real};
use crate::error::Error;

/// Bytes in a sector.
const SECTOR: u64 = 512;
/// The most that is read as one request, whatever the device.
const MOST: u32 = 128 << 10;
/// The first loop device, as the kernel writes devices: 7:0.
const DEVICE: u64 = 7 << 20;

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
    /// One request, from where it is given to the driver to its end. `ret` is how much was read.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let bytes = self.check()?;
        let disk = sim.object("gendisk", &[("disk_name", "loop0".into()), ("major", 7.into())])?;
        let queue = sim.object("request_queue", &[("disk", disk.into())])?;
        let request = sim.object(
            "request",
            &[("q", queue.into()), ("__data_len", bytes.into()), ("__sector", 0.into())],
        )?;
        let comm = sim.comm();
        let fields: &[(&str, Value)] = &[
            ("dev", DEVICE.into()),
            ("sector", 0.into()),
            ("nr_sector", (bytes / SECTOR).into()),
            ("bytes", bytes.into()),
            ("rwbs", "R".into()),
            ("comm", comm.into()),
        ];
        sim.function("blk_mq_start_request", &[request], |sim| {
            sim.tracepoint("block", "block_rq_issue", fields, &[request])?;
            Ok(0)
        })?;
        sim.function("blk_mq_end_request", &[request, 0], |sim| {
            sim.function("blk_update_request", &[request, 0, bytes], |sim| {
                sim.tracepoint("block", "block_rq_complete", fields, &[request, 0, bytes])?;
                Ok(0)
            })
        })?;
        Ok(Stimulated::returning(bytes.cast_signed()))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        let bytes = self.check()?;
        real::read_disk(bytes as usize)
    }
}
