//! A packet that a device receives (`net/core/dev.c`).

use super::simulation::{Occasion, STEP_NS, Simulation};
use super::{Action, Real, Stimulated, real};
use crate::bpf::Point;
use crate::error::Error;

/// `XDP_PASS`
const XDP_PASS: u64 = 2;
/// `TC_ACT_OK`, `TC_ACT_PIPE` and `TC_ACT_UNSPEC`, with which a packet goes on.
const GO_ON: [i32; 3] = [0, 3, -1];

/// A packet arrives; see [`Stimulus::packet`](super::Stimulus::packet).
#[derive(Clone, Debug)]
pub struct Packet {
    bytes: Vec<u8>,
    device: Option<String>,
}

impl Packet {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, device: None }
    }

    /// The device through which it is sent on a kernel, if not the loopback of the test's own network: one end of a pair,
    /// so that the other receives it.
    #[must_use]
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.device = Some(name.into());
        self
    }
}

impl Action for Packet {
    /// The places of a packet on its way in: XDP, sockets that take all packets, traffic control, the control group. What
    /// a program makes of it the next one gets; it goes no further than it is let. `ret` is 1 if it came to the end, 0
    /// if a program kept it.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let mut packet = self.bytes.clone();
        let mut arrive = |sim: &mut Simulation<'_>, point: Point| -> Result<Option<u64>, Error> {
            sim.advance(STEP_NS)?;
            let changes = matches!(point, Point::Xdp | Point::Tc);
            let verdict = sim.happen(point, &Occasion { packet: packet.clone(), ..Occasion::default() })?;
            if changes
                && verdict.is_some()
                && let Some(new) = sim.last_packet()
            {
                packet = new;
            }
            Ok(verdict)
        };
        let kept = Stimulated { ret: 0, ..Stimulated::default() };
        if arrive(sim, Point::Xdp)?.is_some_and(|v| v != XDP_PASS) {
            return Ok(kept);
        }
        arrive(sim, Point::Socket)?;
        if arrive(sim, Point::Tc)?.is_some_and(|v| !GO_ON.contains(&(v as u32 as i32))) {
            return Ok(kept);
        }
        if arrive(sim, Point::CgroupSkb)?.is_some_and(|v| v & 1 == 0) {
            return Ok(kept);
        }
        Ok(Stimulated { ret: 1, ..Stimulated::default() })
    }

    fn perform(&self, real: &mut Real<'_>) -> Result<Stimulated, Error> {
        match &self.device {
            Some(device) => real::packet(device, &self.bytes),
            None => {
                real.send_packet(&self.bytes)?;
                Ok(Stimulated::returning(1))
            }
        }
    }
}
