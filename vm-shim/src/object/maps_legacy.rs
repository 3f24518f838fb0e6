//! Maps as plain structures in a section `maps`: libbpf before 1.0, aya, gobpf (`maps/name`), iproute2,
//! ir-keytable (`lirc_mode2/maps`).
//!
//! All of them begin with `struct bpf_map_def`: type, key size, value size, capacity, flags, each 32 bits.
//! The rest (id, pinning, inner map, name space) differs and is long or short: which loader it was made for is told by its
//! length, and by whether the map is one that the words make sense for.

use super::elf::{Elf, SymbolKind, next_offsets};
use super::error::LoadError;
use super::kinds::MapType;
use super::map::{InitialValue, MapDef, MapOrigin, Pinning, SlotTarget, adjust_ringbuf_size};
use super::parse::MapPlace;

/// Type, key size, value size and capacity are always there; flags came later.
const MIN_SIZE: u64 = 16;
/// `BPF_F_NUMA_NODE`.
const NUMA_NODE: u32 = 1 << 2;

/// Collects the maps of every such section, each with its place.
pub(super) fn collect(elf: &Elf<'_>) -> Result<Vec<(MapDef, MapPlace)>, LoadError> {
    let mut out = Vec::new();
    let mut insides = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        let named = section.name.split('/').any(|part| part == "maps");
        if !named || !section.is_progbits() || section.exec || section.data.is_empty() {
            continue;
        }
        let symbols: Vec<_> = elf
            .symbols_in(index)
            .filter(|s| matches!(s.kind, SymbolKind::Object | SymbolKind::None) && !s.name.is_empty())
            .collect();
        let offsets: Vec<_> = symbols.iter().map(|s| s.value).collect();
        let ends = next_offsets(&offsets, section.data.len() as u64);
        for (nth, (sym, end)) in symbols.iter().zip(ends).enumerate() {
            let room = end.saturating_sub(sym.value);
            let size = if sym.size > 0 { sym.size.min(room) } else { room };
            if size < MIN_SIZE {
                return Err(LoadError::map(
                    &sym.name,
                    format!(
                        "a definition of {size} bytes in section '{}'; at least {MIN_SIZE} are needed",
                        section.name
                    ),
                ));
            }
            let word = |n: u64| -> u32 {
                let at = usize::try_from(sym.value.saturating_add(n * 4)).unwrap_or(usize::MAX);
                let inside = n * 4 + 4 <= size;
                let bytes = section.data.get(at..).and_then(|d| d.first_chunk::<4>()).filter(|_| inside);
                bytes.map_or(0, |b| u32::from_le_bytes(*b))
            };
            let mut map = MapDef::new(&sym.name, &section.name, MapOrigin::Legacy);
            map.map_type = MapType::from_number(word(0));
            map.key_size = word(1);
            map.value_size = word(2);
            map.max_entries = word(3);
            map.map_flags = word(4);
            if map.map_type.is_ringbuf() {
                map.max_entries = adjust_ringbuf_size(map.max_entries);
            }
            let rest = Rest::of(size);
            let first = out.len() - nth;
            rest.read(&mut map, word);
            insides.push(rest.inside(&map, first, word));
            out.push((map, MapPlace { section: index, offset: sym.value, size, values_at: None }));
        }
    }
    link(&insides, &mut out);
    Ok(out)
}

/// What follows the common words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rest {
    /// Nothing, or nothing known.
    None,
    /// Two words: `inner_map_idx` and `numa_node` (the kernel's `samples/bpf`), or `id` and `pinning` (aya, iproute2).
    Two,
    /// `id`, `pinning`, `inner_id`, `inner_idx` (iproute2's `struct bpf_elf_map`).
    Four,
    /// `pinning` and a name space of 256 bytes (gobpf).
    Namespace,
}

/// What a map has to do with maps of maps, before all maps are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Inside {
    Nothing,
    /// It holds maps like the one of this index.
    Index(usize),
    /// It holds maps like those with this id.
    Holds(u32),
    /// It is inside the map that holds this id, in this slot unless that is -1.
    Is(u32, u32),
}

impl Rest {
    fn of(size: u64) -> Self {
        match size {
            28 => Self::Two,
            36 => Self::Four,
            280 => Self::Namespace,
            _ => Self::None,
        }
    }

    fn read(self, map: &mut MapDef, word: impl Fn(u64) -> u32) {
        let numa = map.map_flags & NUMA_NODE != 0;
        let pinning = match self {
            Self::Two if numa => {
                map.numa_node = Some(word(6));
                0
            }
            Self::Two if map.map_type.is_map_in_map() => 0,
            Self::Two | Self::Four => word(6),
            Self::Namespace => word(5),
            Self::None => 0,
        };
        map.pinning = match pinning {
            0 => Pinning::None,
            1 => Pinning::ByName,
            n => Pinning::Other(n),
        };
    }

    /// `first` is the index of the first map of the section.
    fn inside(self, map: &MapDef, first: usize, word: impl Fn(u64) -> u32) -> Inside {
        let outer = map.map_type.is_map_in_map();
        match self {
            Self::Two if outer => Inside::Index(first.saturating_add(word(5) as usize)),
            Self::Four if outer && word(7) != 0 => Inside::Holds(word(7)),
            Self::Four if !outer && word(5) != 0 => Inside::Is(word(5), word(8)),
            _ => Inside::Nothing,
        }
    }
}

/// Says what is inside the maps of maps: what the maps there look like, and which are there from the start.
fn link(insides: &[Inside], maps: &mut [(MapDef, MapPlace)]) {
    for (outer, inside) in insides.iter().enumerate() {
        let (template, mut values) = match *inside {
            Inside::Index(template) => (Some(template), Vec::new()),
            Inside::Holds(id) => {
                let members = insides.iter().enumerate().filter_map(|(i, inside)| match inside {
                    Inside::Is(own, slot) if *own == id => Some((i, *slot)),
                    _ => None,
                });
                let placed = members.clone().filter(|(_, slot)| *slot != u32::MAX);
                let values =
                    placed.map(|(map, slot)| InitialValue { slot, target: SlotTarget::Map(map) }).collect();
                (members.map(|(i, _)| i).next(), values)
            }
            Inside::Nothing | Inside::Is(..) => continue,
        };
        let Some((template, _)) = template.filter(|i| *i != outer).and_then(|i| maps.get(i)) else {
            continue;
        };
        let mut template = template.clone();
        let Some((map, _)) = maps.get_mut(outer) else { continue };
        template.name = format!("{}.inner", map.name);
        template.inner = None;
        template.values = Vec::new();
        map.inner = Some(Box::new(template));
        map.values.append(&mut values);
    }
}
