//! A pair of `veth` devices, made through rtnetlink (`drivers/net/veth.c`, `net/core/rtnetlink.c`).

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, State,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::stimulus::{Device, Network};

/// How long the kernel may take to notice that both ends are up: it has a worker do it.
const CARRIER: Duration = Duration::from_secs(2);

/// Makes the pair in the namespace of this thread, up, silent and ready. False where the kernel has no such devices.
pub(super) fn make(net: &Network) -> io::Result<bool> {
    let mut link = Rtnetlink::open()?;
    let mut peer = new(&net.sender);
    let mut message = new(&net.receiver);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(std::mem::take(&mut peer)))),
    ]));
    match link.ask(NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLink(message)) {
        Ok(_) => {}
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(false),
        Err(e) => return Err(e),
    }
    for device in [&net.receiver, &net.sender] {
        link.silence(device)?;
    }
    // The last one that comes up has its queue at once, the other when the kernel has noticed.
    for device in [&net.receiver, &net.sender] {
        link.bring_up(device)?;
    }
    link.wait_for_carrier(&net.receiver)?;
    Ok(true)
}

/// A device to be.
fn new(device: &Device) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = device.ifindex;
    message.attributes = vec![
        LinkAttribute::IfName(device.name.clone()),
        LinkAttribute::Address(device.address.to_vec()),
        LinkAttribute::Mtu(device.mtu),
    ];
    message
}

/// A connection to the kernel's part that makes devices.
struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

impl Rtnetlink {
    fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request and waits for its answer; nothing where the kernel only agrees.
    fn ask(&mut self, flags: u16, request: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        if !matches!(request, RouteNetlinkMessage::GetLink(_)) {
            header.flags |= NLM_F_ACK;
        }
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::Error(e) if e.raw_code() != 0 => Err(e.to_io()),
            NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
            _ => Ok(None),
        }
    }

    /// `ip link set DEVICE addrgenmode none`: a device that gets an address of IPv6 by itself sends packets about it.
    fn silence(&mut self, device: &Device) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = device.ifindex;
        message.attributes =
            vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
                In6AddrGenMode::None,
            )])])];
        match self.ask(0, RouteNetlinkMessage::SetLink(message)) {
            // Without IPv6 it is silent anyway.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => Ok(()),
            other => other.map(drop),
        }
    }

    /// `ip link set DEVICE up`
    fn bring_up(&mut self, device: &Device) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = device.ifindex;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.ask(0, RouteNetlinkMessage::SetLink(message)).map(drop)
    }

    /// Until then a device has a queue that drops what it is to send (`noop_qdisc`).
    fn wait_for_carrier(&mut self, device: &Device) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            let mut message = LinkMessage::default();
            message.header.index = device.ifindex;
            let answer = self.ask(0, RouteNetlinkMessage::GetLink(message))?;
            if let Some(RouteNetlinkMessage::NewLink(link)) = answer
                && link.attributes.contains(&LinkAttribute::OperState(State::Up))
            {
                return Ok(());
            }
            if begin.elapsed() > CARRIER {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{} does not come up", device.name),
                ));
            }
            sleep(Duration::from_micros(200));
        }
    }
}
