//! Maps as plain structures in a section `maps`: libbpf before 1.0, aya, gobpf (`maps/name`), iproute2,
//! ir-keytable (`lirc_mode2/maps`).
//!
//! All of them begin with `struct bpf_map_def`: type, key size, value size, capacity, flags, each 32 bits.
//! The rest (id, pinning, inner map, name space) differs and is long or short.

use super::elf::{Elf, SymbolKind, next_offsets};
use super::error::LoadError;
use super::kinds::MapType;
use super::map::{MapDef, MapOrigin, adjust_ringbuf_size};
use super::parse::MapPlace;

/// Type, key size, value size and capacity are always there; flags came later.
const MIN_SIZE: u64 = 16;

/// Collects the maps of every such section, each with its place.
pub(super) fn collect(elf: &Elf<'_>) -> Result<Vec<(MapDef, MapPlace)>, LoadError> {
    let mut out = Vec::new();
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
        for (sym, end) in symbols.iter().zip(ends) {
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
            out.push((map, MapPlace { section: index, offset: sym.value, size, values_at: None }));
        }
    }
    Ok(out)
}
