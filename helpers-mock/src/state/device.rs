//! The network devices that packets come by.

/// A network device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NetDevice {
    /// Its name.
    pub name: &'static str,
    /// Its index.
    pub ifindex: u32,
    /// Its Ethernet address.
    pub address: [u8; 6],
    /// The longest packet behind the Ethernet header.
    pub mtu: u32,
}

/// The loopback device, which is the one of a test run (`BPF_PROG_TEST_RUN`).
pub const LOOPBACK: NetDevice = NetDevice { name: "lo", ifindex: 1, address: [0; 6], mtu: 65536 };

/// A pair of devices, what one sends the other receives: first the receiver. Their numbers leave room for the devices that
/// some kernels put into every network namespace; their addresses are of local use, as the second bit says.
pub const PAIR: [NetDevice; 2] = [
    NetDevice { name: "veth0", ifindex: 16, address: [2, 0, 0, 0, 0, 0x10], mtu: 1500 },
    NetDevice { name: "veth1", ifindex: 17, address: [2, 0, 0, 0, 0, 0x11], mtu: 1500 },
];

/// The device of an index, if there is one.
#[must_use]
pub fn device(ifindex: u32) -> Option<NetDevice> {
    [LOOPBACK].into_iter().chain(PAIR).find(|d| d.ifindex == ifindex)
}
