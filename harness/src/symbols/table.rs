//! Symbols of one file, by name and by address.

use std::collections::BTreeMap;

/// A function or variable.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Symbol {
    /// Its name, as the linker knows it.
    pub name: String,
    /// Its address, as the file has it.
    pub addr: u64,
    /// Its bytes; 0 if that is not known.
    pub size: u64,
    /// It is a function.
    pub function: bool,
}

/// All symbols of a file. Of several functions at one address the first one counts.
#[derive(Clone, Default, Debug)]
pub struct SymbolTable {
    by_addr: BTreeMap<u64, Symbol>,
    by_name: BTreeMap<String, (u64, u64, bool)>,
}

impl SymbolTable {
    /// Adds a symbol; a name that is there stays as it is.
    pub(super) fn insert(&mut self, symbol: Symbol) {
        let place = (symbol.addr, symbol.size, symbol.function);
        self.by_name.entry(symbol.name.clone()).or_insert(place);
        self.by_addr.entry(symbol.addr).or_insert(symbol);
    }

    /// A symbol by its name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<Symbol> {
        let (addr, size, function) = *self.by_name.get(name)?;
        Some(Symbol { name: name.to_owned(), addr, size, function })
    }

    /// The function or variable that an address is in, and how many bytes behind its start. One without a size reaches
    /// up to the next symbol.
    #[must_use]
    pub fn at(&self, addr: u64) -> Option<(&Symbol, u64)> {
        let (start, symbol) = self.by_addr.range(..=addr).next_back()?;
        let offset = addr - start;
        (symbol.size == 0 || offset < symbol.size).then_some((symbol, offset))
    }

    /// Names and addresses of functions, sorted by name.
    pub fn functions(&self) -> impl Iterator<Item = (&str, u64)> {
        self.by_name.iter().filter(|(_, p)| p.2).map(|(n, p)| (n.as_str(), p.0))
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Symbol, SymbolTable};

    #[test]
    fn an_address_belongs_to_the_symbol_around_it() {
        let mut table = SymbolTable::default();
        for (name, addr, size) in [("f", 0x1000, 0x10), ("alias", 0x1000, 0x10), ("g", 0x2000, 0)] {
            table.insert(Symbol { name: name.into(), addr, size, function: true });
        }
        for (addr, expected) in [
            (0xfff, None),
            (0x1000, Some(("f", 0))),
            (0x100f, Some(("f", 15))),
            (0x1010, None),
            (0x2345, Some(("g", 0x345))),
        ] {
            assert_eq!(table.at(addr).map(|(s, o)| (s.name.as_str(), o)), expected, "{addr:#x}");
        }
        assert_eq!(table.by_name("alias").map(|s| s.addr), Some(0x1000));
        assert_eq!(table.functions().count(), 3);
    }
}
