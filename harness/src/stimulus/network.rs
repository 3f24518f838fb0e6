//! The network of a test: the devices that its packets come by, the same on both tiers.

use bpf_helpers_mock::state::device;

/// A network device, as programs see it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Device {
    /// Its name in the test's network namespace.
    pub name: String,
    /// Its index there: `ingress_ifindex` of `struct xdp_md`, `ifindex` of `struct __sk_buff`.
    pub ifindex: u32,
    /// Its Ethernet address.
    pub address: [u8; 6],
    /// The longest packet behind the Ethernet header.
    pub mtu: u32,
}

impl Device {
    fn of(device: device::NetDevice) -> Self {
        let device::NetDevice { name, ifindex, address, mtu, .. } = device;
        Self { name: name.to_owned(), ifindex, address, mtu }
    }
}

/// The network of a test's own: a pair of devices, what one sends the other receives.
///
/// On a kernel it is a pair of `veth` in a network namespace made for the test, so nothing of the machine's own network is
/// touched or seen; on the simulator a description with the same names, numbers and addresses:
///
/// | device | index | address | programs |
/// |---|---|---|---|
/// | `veth0`, which receives | 16 | 02:00:00:00:00:10 | XDP, sockets, traffic control on the way in |
/// | `veth1`, which sends | 17 | 02:00:00:00:00:11 | traffic control on the way out |
///
/// They have no IP addresses, so that nobody answers: the only packets are those that a test sends, and they end where the
/// protocol would take them.
///
/// **A kernel without `veth`** (neither built in nor loaded) has its loopback device in both places: name `lo`, index 1,
/// address of zeros, larger packets. That is the one difference between kernels that programs could see, so take names,
/// numbers and addresses from [`Bpf::network`](crate::Bpf::network) and do not write them down.
///
/// Made-up events (`Bpf::xdp` and the like) come by no device but what `BPF_PROG_TEST_RUN` gives: the loopback's index, 1.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Network {
    /// Where packets of the test leave.
    pub sender: Device,
    /// Where they arrive.
    pub receiver: Device,
}

impl Network {
    /// The pair.
    pub(crate) fn pair() -> Self {
        let [receiver, sender] = device::PAIR.map(Device::of);
        Self { sender, receiver }
    }

    /// The loopback device alone.
    pub(crate) fn loopback() -> Self {
        let lo = Device::of(device::LOOPBACK);
        Self { sender: lo.clone(), receiver: lo }
    }

    /// Whether it is one device only, because the kernel has no `veth`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.sender == self.receiver
    }
}

/// How a packet passes a program: which way, and by which device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Passage {
    /// On its way out.
    pub egress: bool,
    /// The device's index.
    pub ifindex: u32,
    /// The index of the device that has received it; 0 on its way out.
    pub ingress_ifindex: u32,
    /// Whom it is for (`PACKET_HOST` and so on), as the device's address tells.
    pub pkt_type: u32,
    /// The packet's mark, which stays with it.
    pub mark: u32,
    /// What else a program of traffic control leaves for the next one at the same place.
    pub left: Left,
}

/// Fields of `struct __sk_buff` that a program of traffic control writes and the next one at the same place reads.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Left {
    /// `queue_mapping`
    pub queue_mapping: u32,
    /// `priority`
    pub priority: u32,
    /// `tc_index`
    pub tc_index: u32,
    /// `cb`
    pub cb: [u32; 5],
    /// `tstamp`
    pub tstamp: u64,
}

// <linux/if_packet.h>
const PACKET_HOST: u32 = 0;
const PACKET_BROADCAST: u32 = 1;
const PACKET_MULTICAST: u32 = 2;
const PACKET_OTHERHOST: u32 = 3;

impl Passage {
    /// A frame arrives at a device (`eth_type_trans`).
    #[must_use]
    pub fn ingress(device: &Device, frame: &[u8]) -> Self {
        let pkt_type = match frame.get(..6).unwrap_or_default() {
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => PACKET_BROADCAST,
            [first, ..] if first & 1 == 1 => PACKET_MULTICAST,
            to if to == device.address => PACKET_HOST,
            _ => PACKET_OTHERHOST,
        };
        let ifindex = device.ifindex;
        Self { egress: false, ifindex, ingress_ifindex: ifindex, pkt_type, mark: 0, left: Left::default() }
    }

    /// A packet leaves by a device.
    #[must_use]
    pub fn egress(device: &Device) -> Self {
        let (ifindex, left) = (device.ifindex, Left::default());
        Self { egress: true, ifindex, ingress_ifindex: 0, pkt_type: PACKET_HOST, mark: 0, left }
    }

    /// The same passage behind a program of traffic control that has left this `struct __sk_buff`.
    pub(crate) fn behind(mut self, ctx: &[u8]) -> Self {
        let word = |at: usize| {
            let word = ctx.get(at..).and_then(|b| b.first_chunk::<4>());
            word.map_or(0, |b| u32::from_le_bytes(*b))
        };
        self.mark = word(8);
        self.left = Left {
            queue_mapping: word(12),
            priority: word(32),
            tc_index: word(44),
            cb: std::array::from_fn(|i| word(48 + 4 * i)),
            tstamp: u64::from(word(152)) | u64::from(word(156)) << 32,
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, Passage};

    #[test]
    fn a_device_knows_for_whom_a_frame_is() {
        let net = Network::pair();
        let frame = |to: [u8; 6]| to.to_vec();
        for (to, expected) in
            [(net.receiver.address, 0), ([0xff; 6], 1), ([1, 0, 0x5e, 0, 0, 1], 2), (net.sender.address, 3)]
        {
            assert_eq!(Passage::ingress(&net.receiver, &frame(to)).pkt_type, expected, "{to:?}");
        }
    }
}
