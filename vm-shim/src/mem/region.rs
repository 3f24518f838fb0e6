//! What lies where: the allocations behind guest addresses, for permissions and for naming them in faults.

use std::fmt;
use std::sync::Arc;

/// Where in the guest's address space an allocation goes.
///
/// The upper half of an address tells the area, in the style of an x86-64 kernel; the lower half is unique over all
/// areas. Packets lie below 4 GiB, so that the 32-bit `data` and `data_end` fields of `struct xdp_md` and
/// `struct __sk_buff` hold working pointers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Area {
    /// Program stacks.
    Stack,
    /// Context structures.
    Context,
    /// Map values, keys and global data.
    Map,
    /// Ring-buffer records and objects that programs allocate.
    Heap,
    /// Packet bytes, below 4 GiB.
    Packet,
    /// Kernel objects, read by probing or through typed pointers only.
    Kernel,
}

impl Area {
    /// The upper 32 bits of every address in this area.
    pub(crate) const fn high(self) -> u64 {
        match self {
            Self::Stack => 0xffff_c900 << 32,
            Self::Context => 0xffff_c901 << 32,
            Self::Map => 0xffff_8881 << 32,
            Self::Heap => 0xffff_8882 << 32,
            Self::Packet => 0,
            Self::Kernel => 0xffff_8880 << 32,
        }
    }
}

/// What an allocation is, in the words of a diagnostic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum RegionKind {
    /// A program's stack frame.
    Stack,
    /// The context argument.
    Context,
    /// A map element's value.
    MapValue,
    /// A map element's key.
    MapKey,
    /// Packet data.
    Packet,
    /// A record of a ring buffer.
    RingbufRecord,
    /// An object from `bpf_obj_new` and the like.
    Object,
    /// A kernel object.
    Kernel,
    /// Anything else.
    Other,
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stack => "stack frame",
            Self::Context => "context",
            Self::MapValue => "map value",
            Self::MapKey => "map key",
            Self::Packet => "packet",
            Self::RingbufRecord => "ring buffer record",
            Self::Object => "allocated object",
            Self::Kernel => "kernel object",
            Self::Other => "memory",
        })
    }
}

/// What a program may do with an allocation at first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Perm {
    /// Read and write; the bytes count as initialised.
    ReadWrite,
    /// Read only.
    ReadOnly,
    /// Write; each byte becomes readable once written (a stack).
    Uninit,
    /// Not accessible to the program; the kernel's probing helpers may read it.
    ProbeOnly,
    /// Not accessible at all.
    None,
}

/// A request for memory.
#[derive(Clone, Debug)]
pub struct Alloc {
    /// Bytes per element.
    pub size: u32,
    /// How many elements, each with its own red zone.
    pub count: u32,
    /// Alignment of each element in bytes, a power of two.
    pub align: u32,
    /// Where it goes.
    pub area: Area,
    /// What it is.
    pub kind: RegionKind,
    /// Its name in diagnostics (`map 'start'`), may be empty.
    pub name: Arc<str>,
    /// What the program may do with it.
    pub perm: Perm,
}

impl Alloc {
    /// One element of `size` bytes, 8-byte aligned, readable and writable.
    #[must_use]
    pub fn new(area: Area, kind: RegionKind, size: u32, name: impl Into<Arc<str>>) -> Self {
        Self { size, count: 1, align: 8, area, kind, name: name.into(), perm: Perm::ReadWrite }
    }

    /// With another permission.
    #[must_use]
    pub fn perm(self, perm: Perm) -> Self {
        Self { perm, ..self }
    }

    /// With `count` elements.
    #[must_use]
    pub fn count(self, count: u32) -> Self {
        Self { count, ..self }
    }

    /// With another alignment.
    #[must_use]
    pub fn align(self, align: u32) -> Self {
        Self { align, ..self }
    }

    /// The distance from one element to the next, red zone included; `None` if it is beyond all limits.
    #[must_use]
    pub fn pitch(&self) -> Option<u32> {
        Region::pitch_of(self)
    }
}

/// Bytes kept inaccessible after every element.
pub(crate) const RED_ZONE: u32 = 16;

/// An allocation.
#[derive(Clone, Debug)]
pub struct Region {
    pub(crate) start: u32,
    pub(crate) pitch: u32,
    pub(crate) alloc: Alloc,
    pub(crate) freed: bool,
}

impl Region {
    /// The distance from one element to the next, red zone included.
    pub(crate) fn pitch_of(alloc: &Alloc) -> Option<u32> {
        alloc.size.checked_add(RED_ZONE)?.checked_next_multiple_of(alloc.align.max(8))
    }

    /// Bytes from the first element to the end of the last red zone.
    pub(crate) fn span(&self) -> u64 {
        u64::from(self.pitch) * u64::from(self.alloc.count)
    }

    pub(crate) fn end(&self) -> u64 {
        u64::from(self.start) + self.span()
    }

    /// The guest address of the first element.
    #[must_use]
    pub fn addr(&self) -> u64 {
        self.alloc.area.high() | u64::from(self.start)
    }

    /// The first byte of the element that holds (or precedes) an address inside this allocation.
    #[must_use]
    pub fn element_of(&self, addr: u64) -> u64 {
        let distance = addr.saturating_sub(self.addr());
        self.addr() + distance - distance % u64::from(self.pitch.max(1))
    }

    /// The distance from one element to the next, in bytes.
    #[must_use]
    pub fn pitch(&self) -> u64 {
        self.pitch.into()
    }

    /// What was asked for.
    #[must_use]
    pub fn alloc(&self) -> &Alloc {
        &self.alloc
    }

    /// Whether it has been freed.
    #[must_use]
    pub fn freed(&self) -> bool {
        self.freed
    }
}

/// A region as a diagnostic tells it: plain data, independent of the memory it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegionInfo {
    /// What it is.
    pub kind: RegionKind,
    /// Its name, may be empty.
    pub name: Arc<str>,
    /// Bytes per element.
    pub size: u32,
    /// Which element the access is at or next to.
    pub element: u32,
    /// The access's first byte, relative to the element's start.
    pub offset: i64,
    /// Whether the region has been freed.
    pub freed: bool,
}

impl RegionInfo {
    /// The access's place in the words of a BPF author: bytes from R10 for a stack, else bytes from the start.
    #[must_use]
    pub fn place(&self) -> String {
        match self.kind {
            RegionKind::Stack => format!("fp{:+}", self.offset - i64::from(self.size)),
            _ => format!("offset {}", self.offset),
        }
    }
}

impl fmt::Display for RegionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == RegionKind::Stack {
            return write!(f, "stack frame of {} bytes (call depth {})", self.size, self.element);
        }
        write!(f, "{}", self.kind)?;
        if !self.name.is_empty() {
            write!(f, " of {}", self.name)?;
        }
        if self.element > 0 {
            write!(f, " (element {})", self.element)?;
        }
        write!(f, ", {} byte{}", self.size, if self.size == 1 { "" } else { "s" })?;
        if self.freed { write!(f, ", freed") } else { Ok(()) }
    }
}
