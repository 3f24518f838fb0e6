//! What an object says about a map before anything is created.

use super::kinds::MapType;
use crate::btf::TypeId;

/// `BPF_F_RDONLY_PROG`: programs may only read the map.
pub const BPF_F_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_MMAPABLE`: user space may map the map's memory.
pub const BPF_F_MMAPABLE: u32 = 1 << 10;
/// `BPF_F_LINK`: a `struct_ops` map is attached through a link.
pub const BPF_F_LINK: u32 = 1 << 13;

/// The kernel's `BPF_OBJ_NAME_LEN`, with the final NUL.
const OBJ_NAME_LEN: usize = 16;

/// Where a map comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MapOrigin {
    /// A structure of numbers in a section `maps` (libbpf before 1.0, aya, iproute2).
    Legacy,
    /// A definition in `.maps`, told through BTF.
    Btf,
    /// Global variables: `.data*`.
    Data,
    /// Global constants: `.rodata*`.
    Rodata,
    /// Zeroed global variables: `.bss*`.
    Bss,
    /// Kernel configuration values: `.kconfig` externs.
    Kconfig,
    /// A kernel structure of function pointers: `.struct_ops*`.
    StructOps,
    /// Targets of an indirect jump: `.jumptables`. Made by linking.
    JumpTable,
    /// Made by the host, not by an object.
    Host,
}

/// Whether and how the definition asks for pinning. Nothing is ever pinned by this library.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum Pinning {
    /// Not pinned.
    #[default]
    None,
    /// `LIBBPF_PIN_BY_NAME`: shared by all objects that pin the same name.
    ByName,
    /// Another number, of another loader's meaning.
    Other(u32),
}

/// The single value of a map made from a data section: its first bytes and its size.
///
/// What lies beyond the bytes is zero, so `.bss` holds none, however large it is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MapData {
    bytes: Vec<u8>,
    size: u32,
}

impl MapData {
    pub(super) fn new(bytes: Vec<u8>, size: u32) -> Self {
        Self { bytes, size }
    }

    /// Size in bytes.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The leading bytes that may be other than zero; never more than [`MapData::size`].
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All bytes, zeroes included.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = self.bytes.clone();
        all.resize(self.size as usize, 0);
        all
    }

    /// Copies bytes out; `None` if they are not all inside.
    #[must_use]
    pub fn read(&self, offset: u32, len: u32) -> Option<Vec<u8>> {
        let end = offset.checked_add(len).filter(|end| *end <= self.size)?;
        let present = self.bytes.len().min(end as usize);
        let mut out = self.bytes.get(offset as usize..present).unwrap_or_default().to_vec();
        out.resize(len as usize, 0);
        Some(out)
    }

    /// Overwrites bytes; `None`, and nothing happens, if they do not all fit.
    pub fn write(&mut self, offset: u32, bytes: &[u8]) -> Option<()> {
        let len = u32::try_from(bytes.len()).ok()?;
        let end = offset.checked_add(len).filter(|end| *end <= self.size)?;
        if self.bytes.len() < end as usize {
            self.bytes.resize(end as usize, 0);
        }
        self.bytes.get_mut(offset as usize..end as usize)?.copy_from_slice(bytes);
        Some(())
    }
}

/// What an initial value of a map refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SlotTarget {
    /// Index into [`super::Object::maps`].
    Map(usize),
    /// Index into [`super::Object::programs`].
    Program(usize),
}

/// One element that the object's `values` puts into a map when it is created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InitialValue {
    /// The key: array index, or the hash key of the same number.
    pub slot: u32,
    /// The map or program stored there.
    pub target: SlotTarget,
}

/// What `.struct_ops` says beyond an ordinary map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StructOps {
    /// The object's own idea of the kernel structure.
    pub type_id: TypeId,
    /// Its name, such as `tcp_congestion_ops`.
    pub type_name: String,
    /// Members that are programs, by their offset.
    pub members: Vec<StructOpsMember>,
}

/// A function pointer of a `struct_ops` map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StructOpsMember {
    /// Member name.
    pub name: String,
    /// Offset in the structure, in bytes.
    pub offset: u32,
    /// Index into [`super::Object::programs`].
    pub program: usize,
}

/// A map as the object defines it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MapDef {
    /// Name as libbpf gives it (`bpf_map__name`): data sections carry the start of the object's name.
    pub name: String,
    /// The ELF section of the definition; `.kconfig` for configuration values.
    pub section: String,
    /// Where it comes from.
    pub origin: MapOrigin,
    /// Type.
    pub map_type: MapType,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// Capacity: elements, or bytes of a ring buffer.
    pub max_entries: u32,
    /// Creation flags.
    pub map_flags: u32,
    /// Type-specific extra (`map_extra`).
    pub map_extra: u64,
    /// NUMA node asked for.
    pub numa_node: Option<u32>,
    /// Pinning asked for.
    pub pinning: Pinning,
    /// Type of a key.
    pub key_type: Option<TypeId>,
    /// Type of a value; the data section for global variables.
    pub value_type: Option<TypeId>,
    /// What the maps inside a map of maps look like.
    pub inner: Option<Box<MapDef>>,
    /// Elements present from the start.
    pub values: Vec<InitialValue>,
    /// The value present from the start, of maps made from data sections.
    pub data: Option<MapData>,
    /// What `.struct_ops` adds.
    pub struct_ops: Option<StructOps>,
    /// Created when the object is loaded; off for a `?` section.
    pub autocreate: bool,
}

impl MapDef {
    /// A definition that says nothing but its name.
    pub(super) fn new(name: impl Into<String>, section: impl Into<String>, origin: MapOrigin) -> Self {
        Self {
            name: name.into(),
            section: section.into(),
            origin,
            map_type: MapType::Unspec,
            key_size: 0,
            value_size: 0,
            max_entries: 0,
            map_flags: 0,
            map_extra: 0,
            numa_node: None,
            pinning: Pinning::None,
            key_type: None,
            value_type: None,
            inner: None,
            values: Vec::new(),
            data: None,
            struct_ops: None,
            autocreate: true,
        }
    }

    /// The definition of a map that no object defines: what `BPF_MAP_CREATE` needs at the least.
    #[must_use]
    pub fn of_type(
        name: impl Into<String>,
        map_type: MapType,
        (key_size, value_size): (u32, u32),
        max_entries: u32,
    ) -> Self {
        let def = Self::new(name, "", MapOrigin::Host);
        Self { map_type, key_size, value_size, max_entries, ..def }
    }

    /// The name as the kernel holds it: cut to 15 bytes.
    #[must_use]
    pub fn kernel_name(&self) -> &str {
        let end = (0..OBJ_NAME_LEN).rev().find(|i| self.name.is_char_boundary(*i)).unwrap_or(0);
        self.name.get(..end).unwrap_or(&self.name)
    }

    /// Whether the programs may only read it.
    #[must_use]
    pub const fn is_readonly(&self) -> bool {
        self.map_flags & BPF_F_RDONLY_PROG != 0
    }

    /// Whether user space may map its memory.
    #[must_use]
    pub const fn is_mmapable(&self) -> bool {
        self.map_flags & BPF_F_MMAPABLE != 0
    }

    /// Whether its value holds the object's global variables.
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        matches!(self.origin, MapOrigin::Data | MapOrigin::Rodata | MapOrigin::Bss | MapOrigin::Kconfig)
    }
}

/// The name of a map made from a data section (libbpf's `internal_map_name` and `bpf_map__name`).
///
/// `.rodata` of `my_object_name` is `my_objec.rodata`; a section with two dots keeps its own name.
pub(super) fn internal_name(object: &str, section: &str) -> String {
    const USABLE: usize = OBJ_NAME_LEN - 1;
    let custom = section.get(1..).is_some_and(|s| s.contains('.'));
    if custom && (section.starts_with(".data.") || section.starts_with(".rodata.")) {
        return section.to_owned();
    }
    let suffix_len = section.len().clamp(7, USABLE);
    let prefix_len = if custom { 0 } else { USABLE - suffix_len };
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '_' };
    let prefix = object.chars().take(prefix_len).map(keep);
    prefix.chain(section.chars().take(suffix_len).map(keep)).collect()
}

/// Rounds a ring buffer's size up to a power of two of pages (libbpf's `adjust_ringbuf_sz`).
pub(super) fn adjust_ringbuf_size(size: u32) -> u32 {
    const PAGE: u32 = 4096;
    if size == 0 || (size.is_multiple_of(PAGE) && (size / PAGE).is_power_of_two()) {
        return size;
    }
    let mut rounded = PAGE;
    while rounded <= size {
        match rounded.checked_mul(2) {
            Some(next) => rounded = next,
            None => return size,
        }
    }
    rounded
}

#[cfg(test)]
mod tests {
    use super::{MapData, adjust_ringbuf_size, internal_name};

    #[test]
    fn data_sections_are_named_as_libbpf_names_them() {
        let table = [
            ("my_object_name", ".rodata", "my_objec.rodata"),
            ("my_object_name", ".bss", "my_objec.bss"),
            ("my_object_name", ".kconfig", "my_obje.kconfig"),
            ("a-b", ".data", "a_b.data"),
            ("obj", ".rodata.abracadabra", ".rodata.abracadabra"),
            ("obj", ".bss.abracadabra", ".bss.abracadabr"),
            ("", ".rodata", ".rodata"),
        ];
        for (object, section, expected) in table {
            assert_eq!(internal_name(object, section), expected);
        }
    }

    #[test]
    fn ring_buffers_are_rounded_up() {
        for (size, expected) in [(0, 0), (1, 4096), (4096, 4096), (4097, 8192), (12288, 16384)] {
            assert_eq!(adjust_ringbuf_size(size), expected);
        }
        assert_eq!(adjust_ringbuf_size(u32::MAX), u32::MAX);
    }

    #[test]
    fn data_reads_zero_behind_its_bytes() {
        let mut data = MapData::new(vec![1, 2], 4);
        assert_eq!(data.read(1, 3), Some(vec![2, 0, 0]));
        assert_eq!(data.read(2, 3), None);
        assert_eq!(data.write(3, &[9]), Some(()));
        assert_eq!(data.to_vec(), [1, 2, 0, 9]);
        assert_eq!(data.write(4, &[9]), None);
        assert_eq!(data.read(u32::MAX, 2), None);
    }
}
