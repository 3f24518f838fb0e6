//! A packet that a device receives (`net/core/dev.c`).

use super::network::{Device, Passage};
use super::simulation::{Occasion, STEP_NS, Simulation};
use super::{Action, Real, Stimulated, real};
use crate::bpf::{Point, turns};
use crate::error::Error;

/// Length of an Ethernet header.
const ETH_HLEN: usize = 14;
/// `XDP_PASS`
const XDP_PASS: u32 = 2;
/// `TC_ACT_OK`
const TC_ACT_OK: i32 = 0;

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

    /// The device of the machine through which it is sent on a kernel, if not the one of the test's own network
    /// ([`Network`](super::Network)): one end of a pair, so that the other receives it.
    #[must_use]
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.device = Some(name.into());
        self
    }
}

impl Action for Packet {
    /// The places of a packet on its way: traffic control of the device that sends it, then of the one that receives it
    /// XDP, sockets that take all packets, traffic control. What a program makes of it the next one gets; it goes no
    /// further than it is let. `ret` is 1 if it came to the end, 0 if a program kept it.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let net = sim.bpf().network()?;
        check_len(&self.bytes, &net.sender)?;
        let (mut packet, mut meta) = (self.bytes.clone(), Vec::new());
        let mut mark = 0;
        for place in PLACES {
            sim.advance(STEP_NS)?;
            let mut passage = match place {
                Place::Egress => Passage::egress(&net.sender),
                _ => Passage::ingress(&net.receiver, &packet),
            };
            passage.mark = mark;
            let occasion = Occasion {
                packet: packet.clone(),
                meta: meta.clone(),
                passage: Some(passage),
                ..Occasion::default()
            };
            let Some(verdict) = sim.happen(place.point(), &occasion)? else { continue };
            if place != Place::Socket
                && let Some(new) = sim.last_packet()
            {
                packet.clone_from(&new.packet);
                match place {
                    Place::Xdp => meta.clone_from(&new.meta),
                    _ => mark = marked(&new.ctx),
                }
            }
            if !place.lets_through(verdict) {
                return Ok(Stimulated { ret: 0, ..Stimulated::default() });
            }
        }
        Ok(Stimulated { ret: 1, ..Stimulated::default() })
    }

    fn perform(&self, real: &mut Real<'_>) -> Result<Stimulated, Error> {
        match &self.device {
            Some(device) => real::packet(device, &self.bytes),
            None => {
                let net = real.bpf().network()?;
                check_len(&self.bytes, &net.sender)?;
                Ok(Stimulated::returning(real.send_packet(&self.bytes)?.into()))
            }
        }
    }
}

/// Where programs see a packet, in order.
const PLACES: [Place; 4] = [Place::Egress, Place::Xdp, Place::Socket, Place::Ingress];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Egress,
    Xdp,
    Socket,
    Ingress,
}

impl Place {
    fn point(self) -> Point {
        match self {
            Self::Egress | Self::Ingress => Point::Tc,
            Self::Xdp => Point::Xdp,
            Self::Socket => Point::Socket,
        }
    }

    /// Whether the packet goes on after this verdict. A socket has a copy.
    fn lets_through(self, verdict: u64) -> bool {
        match self {
            Self::Egress | Self::Ingress => turns::action(verdict).is_none_or(|action| action == TC_ACT_OK),
            Self::Xdp => verdict as u32 == XDP_PASS,
            Self::Socket => true,
        }
    }
}

/// `mark` of `struct __sk_buff`.
fn marked(ctx: &[u8]) -> u32 {
    ctx.get(8..12).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// A device takes frames with an Ethernet header, no longer than its MTU (`packet_snd`).
fn check_len(frame: &[u8], device: &Device) -> Result<(), Error> {
    let longest = device.mtu as usize + ETH_HLEN;
    if (ETH_HLEN..=longest).contains(&frame.len()) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "a packet of {} bytes cannot be sent through {}: with its Ethernet header it may have {ETH_HLEN} to {longest}",
        frame.len(),
        device.name
    )))
}
