//! Kernel symbols: names and addresses (`kernel/kallsyms.c`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use bpf_vm_shim::object::SymbolNames;

/// A symbol's place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its address.
    pub addr: u64,
    /// The module that has it, if it is not the kernel proper.
    pub module: Option<String>,
}

/// Kernel text and data symbols.
#[derive(Clone, Default, Debug)]
pub struct Symbols {
    by_name: BTreeMap<String, u64>,
    by_addr: BTreeMap<u64, Symbol>,
    /// Functions that the kernel's profile lists. Where no address is given they have one by their place in the list,
    /// so that it does not depend on who asks for what first.
    listed: SymbolNames,
    /// Data symbols that have a copy per CPU: their size and the copies' addresses, by the symbol's.
    percpu: BTreeMap<u64, (u64, Vec<u64>)>,
    next: u64,
}

/// Where symbols without a given address are put.
const BASE: u64 = 0xffff_ffff_8100_0000;
const PITCH: u64 = 0x1000;
/// Where the symbols of the profile's list are put, and how much room there is (the kernel's text ends at
/// `0xffffffffa0000000`).
const LISTED: u64 = 0xffff_ffff_9000_0000;
const LISTED_ROOM: u64 = 0x1000_0000;
/// The longest function: an address further behind a symbol belongs to none.
const REACH: u64 = 0x10_0000;

impl Symbols {
    /// A kernel with these functions.
    pub(super) fn listed(names: SymbolNames) -> Self {
        Self { listed: names, ..Self::default() }
    }

    /// The distance of listed symbols.
    fn listed_pitch(&self) -> u64 {
        let room = LISTED_ROOM / (self.listed.len() as u64).max(1);
        // A power of two, at most a page.
        (1 << room.max(1).ilog2()).min(PITCH)
    }

    fn listed_addr(&self, name: &str) -> Option<u64> {
        Some(LISTED + self.listed.position(name)? as u64 * self.listed_pitch())
    }

    fn listed_at(&self, addr: u64) -> Option<(Symbol, u64)> {
        let (offset, pitch) = (addr.checked_sub(LISTED)?, self.listed_pitch());
        let name = self.listed.get(usize::try_from(offset / pitch).ok()?)?;
        // Given another address, it is not here.
        let here = !self.by_name.contains_key(name);
        here.then(|| {
            (Symbol { name: name.to_owned(), addr: addr - offset % pitch, module: None }, offset % pitch)
        })
    }

    /// The address of a symbol; one is made up, the same every time, if the test gave none.
    pub fn intern(&mut self, name: &str) -> u64 {
        if let Some(addr) = self.addr(name) {
            return addr;
        }
        let mut addr = BASE + self.next * PITCH;
        while self.by_addr.range(addr..addr + PITCH).next().is_some() {
            self.next += 1;
            addr = BASE + self.next * PITCH;
        }
        self.next += 1;
        self.define(name, addr);
        addr
    }

    /// Gives a symbol of the kernel proper its address.
    pub fn define(&mut self, name: &str, addr: u64) {
        self.insert(Symbol { name: name.to_owned(), addr, module: None });
    }

    /// Gives a symbol of a module its address.
    pub fn define_in_module(&mut self, module: &str, name: &str, addr: u64) {
        self.insert(Symbol { name: name.to_owned(), addr, module: Some(module.to_owned()) });
    }

    fn insert(&mut self, symbol: Symbol) {
        if let Some(old) = self.by_name.insert(symbol.name.clone(), symbol.addr) {
            self.by_addr.remove(&old);
        }
        self.by_addr.insert(symbol.addr, symbol);
    }

    /// Reads symbols in the format of `/proc/kallsyms`: address, type letter, name, and the module in brackets.
    ///
    /// # Errors
    /// The first line that has another form, from 1.
    pub fn define_kallsyms(&mut self, text: &str) -> Result<(), usize> {
        for (i, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let (Some(addr), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else {
                if line.trim().is_empty() {
                    continue;
                }
                return Err(i + 1);
            };
            let addr = u64::from_str_radix(addr, 16).map_err(|_| i + 1)?;
            let module = words.next().map(|m| m.trim_matches(['[', ']']).to_owned());
            self.insert(Symbol { name: name.to_owned(), addr, module });
        }
        Ok(())
    }

    /// The address of a known symbol (`kallsyms_lookup_name`).
    #[must_use]
    pub fn addr(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).copied().or_else(|| self.listed_addr(name))
    }

    /// The symbol that an address belongs to, and how far behind its start it is (`kallsyms_lookup`).
    #[must_use]
    pub fn lookup(&self, addr: u64) -> Option<(Cow<'_, Symbol>, u64)> {
        let given = self.by_addr.range(..=addr).next_back().map(|(at, symbol)| (symbol, addr - at));
        let given = given.filter(|(_, offset)| *offset < REACH).map(|(s, offset)| (Cow::Borrowed(s), offset));
        let listed = self.listed_at(addr).map(|(s, offset)| (Cow::Owned(s), offset));
        [given, listed].into_iter().flatten().min_by_key(|(_, offset)| *offset)
    }

    /// An address as the kernel prints it: `name+0x10` or `name+0x10 [module]` for `%pS`; hexadecimal if unknown.
    #[must_use]
    pub fn describe(&self, addr: u64) -> String {
        match self.lookup(addr) {
            None => format!("{addr:#x}"),
            Some((s, offset)) => {
                let module = s.module.as_ref().map_or_else(String::new, |m| format!(" [{m}]"));
                format!("{}+{offset:#x}{module}", s.name)
            }
        }
    }

    /// All symbols by address, but for those of the profile's list that nobody gave an address.
    pub fn iter(&self) -> impl Iterator<Item = &Symbol> {
        self.by_addr.values()
    }

    /// Notes that a data symbol of `size` bytes has a copy for each CPU.
    pub fn set_percpu(&mut self, addr: u64, size: u64, copies: Vec<u64>) {
        self.percpu.insert(addr, (size, copies));
    }

    /// The address of a CPU's copy of what is at `addr`, which may lie inside the symbol (`per_cpu_ptr`).
    #[must_use]
    pub fn percpu(&self, addr: u64, cpu: u32) -> Option<u64> {
        let (base, (size, copies)) = self.percpu.range(..=addr).next_back()?;
        if addr - base >= *size {
            return None;
        }
        Some(copies.get(cpu as usize)?.wrapping_add(addr - base))
    }
}

#[cfg(test)]
mod tests {
    use super::{SymbolNames, Symbols};

    #[test]
    fn names_and_addresses_find_each_other() {
        let mut s = Symbols::default();
        s.define_kallsyms(
            "ffffffff81000000 T _stext\nffffffffc0001000 t nf_hook [nf_tables]\n\nffffffff81001000 T do_exit",
        )
        .unwrap();
        assert_eq!(s.addr("do_exit"), Some(0xffff_ffff_8100_1000));
        assert_eq!(s.describe(0xffff_ffff_8100_1004), "do_exit+0x4");
        assert_eq!(s.describe(0xffff_ffff_c000_1010), "nf_hook+0x10 [nf_tables]");
        assert_eq!(s.describe(0x10), "0x10");
        let made_up = s.intern("vfs_read");
        assert_eq!(made_up, 0xffff_ffff_8100_2000, "given addresses are not used again");
        assert_eq!(s.intern("vfs_read"), made_up);
        assert_eq!(s.define_kallsyms("nonsense"), Err(1));
    }
    #[test]
    fn listed_functions_have_addresses_whoever_asks_first() {
        let names: SymbolNames = ["a", "b", "c"].into_iter().collect();
        let (mut s, mut t) = (Symbols::listed(names.clone()), Symbols::listed(names));
        assert_eq!((s.intern("a"), s.intern("b")), {
            let b = t.intern("b");
            (t.intern("a"), b)
        });
        let b = s.addr("b").unwrap();
        assert_eq!(s.describe(b + 4), "b+0x4");
        s.define("b", 0xffff_ffff_8100_0000);
        assert_eq!(s.describe(0xffff_ffff_8100_0000), "b+0x0");
        assert_eq!(s.lookup(b), None);
        s.define("inside", b + 8);
        assert_eq!(s.describe(b + 9), "inside+0x1");
        assert_eq!(s.addr("d"), None);
    }
}
