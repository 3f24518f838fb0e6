//! Kernel symbols: names and addresses.

use std::collections::BTreeMap;

/// Kernel text and data symbols.
#[derive(Clone, Default, Debug)]
pub struct Symbols {
    by_name: BTreeMap<String, u64>,
    next: u64,
}

/// Where symbols without a given address are put.
const BASE: u64 = 0xffff_ffff_8100_0000;
const PITCH: u64 = 0x1000;

impl Symbols {
    /// The address of a symbol; one is made up, the same every time, if the test gave none.
    pub fn intern(&mut self, name: &str) -> u64 {
        if let Some(addr) = self.by_name.get(name) {
            return *addr;
        }
        let addr = BASE + self.next * PITCH;
        self.next += 1;
        self.by_name.insert(name.to_owned(), addr);
        addr
    }
}
