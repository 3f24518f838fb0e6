//! Packets: bytes in guest memory with exact bounds, room before and after them, and their context structures.
//!
//! Only what lies between `data_meta` and `data_end` exists for the program. A helper that changes a packet moves it to
//! a new address, so that a pointer that the program should have derived again is a use after free, as the verifier
//! would have said (`bpf_helper_changes_pkt_data` in `net/core/filter.c`).

use std::collections::BTreeMap;

use bpf_vm_shim::mem::{Alloc, Area, MemError, Memory, Perm, RegionKind};

/// Room before a packet that XDP programs get (`XDP_PACKET_HEADROOM`).
pub const XDP_HEADROOM: usize = 256;
/// Room before a packet in a socket buffer of a test run (`NET_SKB_PAD`).
pub const SKB_HEADROOM: usize = 64;
/// Length of an Ethernet header.
pub const ETH_HLEN: usize = 14;
/// The longest packet of one XDP buffer: a page without head room and `struct skb_shared_info`.
pub const XDP_MAX_LEN: usize = 4096 - XDP_HEADROOM - 320;
/// The longest packet that socket-buffer helpers make (`BPF_SKB_MAX_LEN`).
pub const SKB_MAX_LEN: usize = 16384 - 320;

/// Which context structure a packet has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketKind {
    /// `struct xdp_md`.
    Xdp,
    /// `struct __sk_buff`.
    Skb,
}

/// Offsets of fields that follow the packet.
impl PacketKind {
    /// `data`, `data_end` and `data_meta`.
    const fn pointers(self) -> [u64; 3] {
        match self {
            Self::Xdp => [0, 4, 8],
            Self::Skb => [76, 80, 140],
        }
    }
}

/// A packet.
#[derive(Clone, Debug)]
pub struct Packet {
    kind: PacketKind,
    /// The whole buffer: what programs have cut off can come back.
    frame: Vec<u8>,
    meta: usize,
    data: usize,
    end: usize,
    /// Where the part ends that the program may touch directly; the rest of a non-linear buffer lies elsewhere.
    linear: usize,
    /// Where the link layer's header starts.
    pub(crate) mac: usize,
    /// Where the network layer's header starts.
    pub(crate) net: usize,
    /// The guest address of the context structure.
    pub(crate) ctx: u64,
    /// The guest address of the packet's first byte, metadata included.
    addr: u64,
    /// Whether the program may write to it directly.
    writable: bool,
}

impl Packet {
    /// A packet in guest memory, `meta` right before it. Its context's fields are not yet set.
    ///
    /// # Errors
    /// If memory is exhausted.
    pub fn new(
        mem: &mut Memory,
        kind: PacketKind,
        meta: &[u8],
        bytes: &[u8],
        ctx: u64,
    ) -> Result<Self, MemError> {
        let headroom = match kind {
            PacketKind::Xdp => XDP_HEADROOM,
            PacketKind::Skb => SKB_HEADROOM,
        };
        let data = headroom.max(meta.len());
        let mut frame = vec![0; data - meta.len()];
        frame.extend_from_slice(meta);
        frame.extend_from_slice(bytes);
        let end = frame.len();
        let mut packet = Self {
            kind,
            frame,
            meta: data - meta.len(),
            data,
            end,
            linear: end,
            mac: data,
            net: data + ETH_HLEN,
            ctx,
            addr: 0,
            writable: true,
        };
        packet.place(mem)?;
        Ok(packet)
    }

    /// Bytes between `data` and `data_end`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.data
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which context structure it has.
    #[must_use]
    pub fn kind(&self) -> PacketKind {
        self.kind
    }

    /// Bytes of metadata before `data`.
    #[must_use]
    pub fn meta_len(&self) -> usize {
        self.data - self.meta
    }

    /// The guest address of its context structure.
    #[must_use]
    pub fn ctx(&self) -> u64 {
        self.ctx
    }

    /// The guest address of `data`.
    #[must_use]
    pub fn data_addr(&self) -> u64 {
        self.addr + self.meta_len() as u64
    }

    /// Room before the metadata.
    pub(crate) fn headroom(&self) -> usize {
        self.meta
    }

    /// Where `data` is in the whole buffer, the frame of reference of `mac` and `net`.
    pub(crate) fn data(&self) -> usize {
        self.data
    }

    /// Gives the program's bytes their place in guest memory and the context its pointers.
    fn place(&mut self, mem: &mut Memory) -> Result<(), MemError> {
        let len = self.linear - self.meta;
        let old = std::mem::take(&mut self.addr);
        let alloc = Alloc::new(Area::Packet, RegionKind::Packet, len as u32, "");
        let perm = if self.writable { Perm::ReadWrite } else { Perm::ReadOnly };
        self.addr = mem.alloc(alloc.perm(perm))?;
        let lost = |_| MemError::NotAllocated { addr: self.addr };
        if len > 0 {
            mem.poke(self.addr, self.frame.get(self.meta..self.linear).unwrap_or_default()).map_err(lost)?;
        }
        if old != 0 {
            mem.free(old)?;
        }
        if self.ctx != 0 {
            self.publish(mem).map_err(lost)?;
        }
        Ok(())
    }

    /// Writes `data`, `data_end`, `data_meta` and, for socket buffers, `len` into the context.
    fn publish(&self, mem: &mut Memory) -> Result<(), bpf_vm_shim::mem::BadAccess> {
        let data = self.data_addr();
        let [at_data, at_end, at_meta] = self.kind.pointers();
        for (at, v) in
            [(at_data, data), (at_end, data + (self.linear - self.data) as u64), (at_meta, self.addr)]
        {
            mem.poke(self.ctx + at, &(v as u32).to_le_bytes())?;
        }
        if self.kind == PacketKind::Skb {
            mem.poke(self.ctx, &(self.len() as u32).to_le_bytes())?;
        }
        Ok(())
    }

    /// Fetches what the program has written into the packet.
    fn fetch(&mut self, mem: &mut Memory) {
        if let Some(bytes) = self.frame.get_mut(self.meta..self.linear).filter(|b| !b.is_empty()) {
            // The region is this packet's own, so reading it cannot fail.
            let _ = mem.peek(self.addr, bytes);
        }
    }

    /// The bytes between `data` and `data_end` as they are now.
    pub fn bytes(&mut self, mem: &mut Memory) -> Vec<u8> {
        self.fetch(mem);
        self.frame.get(self.data..self.end).unwrap_or_default().to_vec()
    }

    /// The metadata before `data` as it is now.
    pub fn meta_bytes(&mut self, mem: &mut Memory) -> Vec<u8> {
        self.fetch(mem);
        self.frame.get(self.meta..self.data).unwrap_or_default().to_vec()
    }

    /// Sets the metadata, which has as many bytes as there is room for it.
    pub(crate) fn set_meta(&mut self, mem: &mut Memory, meta: &[u8]) {
        if meta.len() == self.meta_len() && !meta.is_empty() {
            let _ = mem.poke(self.addr, meta);
        }
    }

    /// `len` bytes at `offset` from a place in the buffer, if they lie between its start and `data_end`.
    pub(crate) fn read_from(
        &mut self,
        mem: &mut Memory,
        base: usize,
        offset: i64,
        len: usize,
    ) -> Option<Vec<u8>> {
        let start = usize::try_from(base as i64 + offset).ok()?;
        let end = start.checked_add(len).filter(|e| *e <= self.end)?;
        self.fetch(mem);
        self.frame.get(start..end).map(<[u8]>::to_vec)
    }

    /// `len` bytes at `offset` from `data`.
    pub(crate) fn read(&mut self, mem: &mut Memory, offset: u32, len: usize) -> Option<Vec<u8>> {
        self.read_from(mem, self.data, offset.into(), len)
    }

    /// Overwrites bytes at `offset` from `data` without moving the packet; `false` if they are not there.
    pub(crate) fn write(&mut self, mem: &mut Memory, offset: u32, bytes: &[u8]) -> bool {
        let fits = (offset as usize).checked_add(bytes.len()).is_some_and(|e| e <= self.len());
        if !fits {
            return false;
        }
        self.fetch(mem);
        let at = self.data + offset as usize;
        if let Some(place) = self.frame.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        let direct = self.linear.saturating_sub(at).min(bytes.len());
        bytes
            .get(..direct)
            .is_none_or(|b| b.is_empty() || mem.poke(self.data_addr() + u64::from(offset), b).is_ok())
    }

    /// Moves the packet, so that old pointers into it are invalid.
    pub(crate) fn moved(&mut self, mem: &mut Memory) -> Result<(), MemError> {
        self.fetch(mem);
        self.place(mem)
    }

    /// Sets the borders, as distances from the present `data`, and moves the packet. New bytes after the end are zeros.
    /// The caller has checked the limits.
    pub(crate) fn resize(
        &mut self,
        mem: &mut Memory,
        meta: i64,
        data: i64,
        len: usize,
    ) -> Result<(), MemError> {
        self.fetch(mem);
        let at = |d: i64| usize::try_from(self.data as i64 + d).unwrap_or(0);
        let (meta, data) = (at(meta), at(data));
        let end = data + len;
        if end > self.end {
            self.frame.truncate(self.end);
            self.frame.resize(end, 0);
        }
        (self.meta, self.data, self.end, self.linear) = (meta, data, end, end);
        self.place(mem)
    }

    /// Puts `bytes` in at `offset` from `data`: what was before it moves towards the front (`skb_push` and a move).
    pub(crate) fn insert(&mut self, mem: &mut Memory, offset: usize, bytes: &[u8]) -> Result<(), MemError> {
        if offset > self.len() {
            return Err(MemError::NotAllocated { addr: self.data_addr() + offset as u64 });
        }
        self.fetch(mem);
        self.linear = self.end;
        let n = bytes.len();
        if self.data < n + self.meta_len() {
            let more = n + SKB_HEADROOM;
            self.frame.splice(0..0, std::iter::repeat_n(0, more));
            for at in [
                &mut self.meta,
                &mut self.data,
                &mut self.end,
                &mut self.linear,
                &mut self.mac,
                &mut self.net,
            ] {
                *at += more;
            }
        }
        let (start, gap) = (self.data - n, self.data + offset - n);
        self.frame.copy_within(self.data..self.data + offset, start);
        if let Some(room) = self.frame.get_mut(gap..gap + n) {
            room.copy_from_slice(bytes);
        }
        // Metadata does not survive a push.
        (self.meta, self.data, self.mac) = (start, start, self.mac.saturating_sub(n));
        self.place(mem)
    }

    /// Takes `n` bytes out at `offset` from `data`: what was before them moves towards the back.
    pub(crate) fn remove(&mut self, mem: &mut Memory, offset: usize, n: usize) -> Result<(), MemError> {
        if offset.saturating_add(n) > self.len() {
            return Err(MemError::NotAllocated { addr: self.data_addr() + offset as u64 });
        }
        self.fetch(mem);
        self.linear = self.end;
        self.frame.copy_within(self.data..self.data + offset, self.data + n);
        (self.meta, self.data, self.mac) = (self.data + n, self.data + n, self.mac + n);
        self.place(mem)
    }

    /// Lets the program read the packet only (`may_access_direct_pkt_data`).
    pub(crate) fn make_read_only(&mut self, mem: &mut Memory) {
        self.writable = false;
        mem.protect(self.addr, (self.linear - self.meta) as u64, Perm::ReadOnly);
    }

    /// Sets what lies before `data` when headers have been pulled off before the program runs (`eth_type_trans`).
    pub(crate) fn pull(&mut self, mem: &mut Memory, n: usize) -> Result<(), MemError> {
        self.fetch(mem);
        let n = n.min(self.len());
        (self.meta, self.data) = (self.data + n, self.data + n);
        self.linear = self.linear.max(self.data);
        self.place(mem)
    }

    /// Keeps only the first `len` bytes where the program may touch them directly.
    pub(crate) fn fragment(&mut self, mem: &mut Memory, len: usize) -> Result<(), MemError> {
        self.fetch(mem);
        self.linear = (self.data + len).min(self.end);
        self.place(mem)
    }

    /// Makes at least the first `len` bytes directly accessible (`pskb_may_pull`) and moves the packet.
    pub(crate) fn linearize(&mut self, mem: &mut Memory, len: usize) -> Result<(), MemError> {
        self.fetch(mem);
        self.linear = self.linear.max((self.data + len).min(self.end));
        self.place(mem)
    }
}

/// A packet that a program sent elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redirect {
    /// The interface.
    pub ifindex: u32,
    /// The helper's flags.
    pub flags: u64,
    /// The helper.
    pub by: &'static str,
    /// The bytes, for clones (`bpf_clone_redirect`), which leave at once.
    pub clone: Option<Vec<u8>>,
}

/// All packets in flight.
#[derive(Clone, Default, Debug)]
pub struct Packets {
    by_id: BTreeMap<u32, Packet>,
    next: u32,
    /// Where programs asked packets to go, in order.
    pub redirects: Vec<Redirect>,
}

impl Packets {
    /// Adds a packet and gives its number.
    pub fn insert(&mut self, packet: Packet) -> u32 {
        let id = self.next;
        self.next += 1;
        self.by_id.insert(id, packet);
        id
    }

    /// A packet by its number.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut Packet> {
        self.by_id.get_mut(&id)
    }

    /// The packet whose context is at this address.
    pub fn by_ctx(&mut self, ctx: u64) -> Option<&mut Packet> {
        self.by_id.values_mut().rev().find(|p| p.ctx == ctx)
    }

    /// Takes a packet out and frees its memory; gives its bytes and metadata.
    pub fn remove(&mut self, mem: &mut Memory, id: u32) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut packet = self.by_id.remove(&id)?;
        let out = (packet.bytes(mem), packet.meta_bytes(mem));
        let _ = mem.free(packet.addr);
        if packet.ctx != 0 {
            let _ = mem.free(packet.ctx);
        }
        Some(out)
    }
}
