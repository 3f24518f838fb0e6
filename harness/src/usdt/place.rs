//! Puts argument values where their specifications say: the simulator's side of a USDT probe.

use std::collections::BTreeMap;

use super::spec::{ArgKind, ArgSpec, Surroundings};

/// Registers and user memory that hold given arguments.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Placement {
    /// Registers by their place in `struct pt_regs`.
    pub registers: BTreeMap<u16, u64>,
    /// User memory: addresses and bytes, not overlapping in what they say.
    pub memory: Vec<(u64, Vec<u8>)>,
}

/// Arguments that cannot be placed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("argument {index} ({spec}): {why}")]
#[non_exhaustive]
pub struct PlaceError {
    /// Which argument, from 1.
    pub index: usize,
    /// Its specification.
    pub spec: String,
    /// What is wrong.
    pub why: String,
}

/// Where memory is put that registers of nobody's choice point to: below the stack's usual place.
const ZONES: u64 = 0x7ff0_0000_0000;
/// The program counter's place in `struct pt_regs`.
const PC_X86_64: u16 = 16 * 8;
const PC_ARM64: u16 = 32 * 8;
/// How far such places are apart. The registers point to the middle.
const ZONE: u64 = 0x10_0000;

impl Placement {
    /// Places values; those that are missing are zero. `pc` is the probe's address in the process, and `symbol` gives the
    /// address of a symbol there.
    ///
    /// # Errors
    /// If two arguments share a place and differ, a constant is given another value, a value does not fit its size, or
    /// a symbol has no address.
    pub fn new(
        specs: &[ArgSpec],
        values: &[u64],
        pc: u64,
        symbol: impl Fn(&str) -> Option<u64>,
    ) -> Result<Self, PlaceError> {
        let mut cells = Cells { registers: BTreeMap::new(), memory: BTreeMap::new(), pc, symbol: &symbol };
        let value = |i: usize| values.get(i).copied().unwrap_or(0);
        let error =
            |i: usize, spec: &ArgSpec, why: String| PlaceError { index: i + 1, spec: spec.to_string(), why };
        if values.len() > specs.len() {
            let why = format!("the probe has {} arguments only", specs.len());
            return Err(PlaceError { index: specs.len() + 1, spec: "none".to_owned(), why });
        }
        for (i, spec) in specs.iter().enumerate() {
            let value = value(i);
            if !fits(spec, value) {
                let why = format!("{:#x} does not fit {} bytes", value, spec.size);
                return Err(error(i, spec, why));
            }
            match &spec.kind {
                ArgKind::Const(c)
                    if values.get(i).is_some() && spec.extend(c.cast_unsigned()) != spec.extend(value) =>
                {
                    return Err(error(i, spec, format!("it is always {c}, and cannot be {value}")));
                }
                ArgKind::Register(r) => {
                    cells.set_register(r.offset, r.shift, spec.size, value).map_err(|()| {
                        error(i, spec, "another argument has this register with another value".to_owned())
                    })?
                }
                _ => {}
            }
        }
        // Registers that only point to memory get places of their own; indexes count nothing.
        let mut zone = ZONES;
        for spec in specs {
            if let ArgKind::Memory { base: Some(base), .. } = &spec.kind
                && !base.is_pc()
                && !cells.registers.contains_key(&base.offset)
            {
                cells.registers.insert(base.offset, (zone + ZONE / 2, u64::MAX));
                zone += ZONE;
            }
        }
        for (i, spec) in specs.iter().enumerate() {
            if !matches!(spec.kind, ArgKind::Memory { .. }) {
                continue;
            }
            let Some(addr) = spec.address(&cells) else {
                return Err(error(
                    i,
                    spec,
                    "the address of its symbol is not known in this process".to_owned(),
                ));
            };
            let bytes = value(i).to_le_bytes();
            cells.write(addr, bytes.get(..usize::from(spec.size)).unwrap_or_default()).map_err(|()| {
                error(i, spec, "another argument has the same memory with another value".to_owned())
            })?;
        }
        Ok(cells.finish())
    }
}

/// Whether a value is what the argument can hold, taken as signed or unsigned.
fn fits(spec: &ArgSpec, value: u64) -> bool {
    let bits = 8 * u32::from(spec.size.min(8));
    bits == 64 || value >> bits == 0 || (value.cast_signed() >> (bits - 1)) == -1
}

struct Cells<'a> {
    /// Value and mask of what is decided.
    registers: BTreeMap<u16, (u64, u64)>,
    memory: BTreeMap<u64, u8>,
    pc: u64,
    symbol: &'a dyn Fn(&str) -> Option<u64>,
}

impl Cells<'_> {
    fn set_register(&mut self, offset: u16, shift: u8, size: u8, value: u64) -> Result<(), ()> {
        let ones = if size >= 8 { u64::MAX } else { (1 << (8 * u32::from(size))) - 1 };
        let (value, mask) = ((value & ones) << shift, ones << shift);
        let (old, decided) = self.registers.get(&offset).copied().unwrap_or_default();
        if (old ^ value) & mask & decided != 0 {
            return Err(());
        }
        self.registers.insert(offset, (old | value, decided | mask));
        Ok(())
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), ()> {
        for (i, byte) in bytes.iter().enumerate() {
            let old = self.memory.insert(addr.wrapping_add(i as u64), *byte);
            if old.is_some_and(|old| old != *byte) {
                return Err(());
            }
        }
        Ok(())
    }

    fn finish(self) -> Placement {
        let mut memory: Vec<(u64, Vec<u8>)> = Vec::new();
        for (addr, byte) in self.memory {
            match memory.last_mut() {
                Some((start, bytes)) if start.wrapping_add(bytes.len() as u64) == addr => bytes.push(byte),
                _ => memory.push((addr, vec![byte])),
            }
        }
        Placement { registers: self.registers.into_iter().map(|(r, (v, _))| (r, v)).collect(), memory }
    }
}

impl Surroundings for Cells<'_> {
    fn register(&self, offset: u16) -> u64 {
        // Where the probe is was decided before.
        if [PC_X86_64, PC_ARM64].contains(&offset) {
            return self.pc;
        }
        self.registers.get(&offset).map_or(0, |(value, _)| *value)
    }

    fn memory(&self, addr: u64, out: &mut [u8]) -> bool {
        out.iter_mut().enumerate().all(|(i, to)| match self.memory.get(&addr.wrapping_add(i as u64)) {
            Some(byte) => {
                *to = *byte;
                true
            }
            None => false,
        })
    }

    fn symbol(&self, name: &str) -> Option<u64> {
        (self.symbol)(name)
    }
}

#[cfg(test)]
mod tests {
    use bpf_vm_shim::object::Arch;
    use proptest::prelude::*;

    use super::super::spec::{ArgSpec, Surroundings};
    use super::Placement;

    const PC: u64 = 0x5000_1200;

    struct Process<'a>(&'a Placement);

    impl Surroundings for Process<'_> {
        fn register(&self, offset: u16) -> u64 {
            assert!(!self.0.registers.contains_key(&super::PC_X86_64), "the program counter stays");
            if offset == super::PC_X86_64 { PC } else { self.0.registers.get(&offset).copied().unwrap_or(0) }
        }

        fn memory(&self, addr: u64, out: &mut [u8]) -> bool {
            self.0.memory.iter().any(|(start, bytes)| {
                let Some(from) = addr.checked_sub(*start).and_then(|o| bytes.get(o as usize..)) else {
                    return false;
                };
                let Some(from) = from.get(..out.len()) else { return false };
                out.copy_from_slice(from);
                true
            })
        }

        fn symbol(&self, name: &str) -> Option<u64> {
            (name == "counter").then_some(0x6000_0000)
        }
    }

    #[track_caller]
    fn check(specs: &str, values: &[u64], read: &[u64]) {
        let specs = ArgSpec::parse_all(specs, Arch::X86_64).unwrap();
        let placed =
            Placement::new(&specs, values, PC, |s| Process(&Placement::default()).symbol(s)).unwrap();
        let got: Vec<_> = specs.iter().map(|s| s.read(&Process(&placed)).unwrap()).collect();
        assert_eq!(got, read);
    }

    #[test]
    fn values_are_read_back_by_their_specifications() {
        check("-4@%edi 8@%rsi 8@$5", &[u64::MAX, 7, 5], &[u64::MAX, 7, 5]);
        check("4@%edi", &[0xffff_ffff], &[0xffff_ffff]);
        check("8@-16(%rbp) -2@-24(%rbp) 8@(%rax,%rbx,4)", &[1, 0xfffe, 3], &[1, u64::MAX - 1, 3]);
        check("4@counter(%rip) 4@counter+4(%rip)", &[8, 9], &[8, 9]);
        check("8@16(%rip) 8@counter(%rip)", &[5, 6], &[5, 6]);
        check("1@%ah 1@%al", &[2, 3], &[2, 3]);
        // The same place twice, and a pointer with what it points to.
        check("4@%edi 8@%rdi", &[7, 7], &[7, 7]);
        check("8@%rdi 8@8(%rdi)", &[0x5000, 9], &[0x5000, 9]);
        check("8@%rdi -4@%esi", &[1], &[1, 0]);
    }

    #[test]
    fn what_cannot_be_placed_says_why() {
        for (specs, values, index, why) in [
            ("8@$5", &[6u64][..], 1, "always 5"),
            ("4@%edi 8@%rdi", &[7, 0x1_0000_0008], 2, "register"),
            ("1@%al", &[256], 1, "does not fit 1 bytes"),
            ("8@-8(%rbp) 8@-8(%rbp)", &[1, 2], 2, "memory"),
            ("8@nobody(%rip)", &[1], 1, "symbol"),
            ("8@%rdi", &[1, 2], 2, "1 arguments only"),
        ] {
            let parsed = ArgSpec::parse_all(specs, Arch::X86_64).unwrap();
            let error = Placement::new(&parsed, values, PC, |_| None).unwrap_err();
            assert!(error.index == index && error.why.contains(why), "{specs}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_placed_is_read(
            specs in proptest::collection::vec(super::super::parse::tests::any_spec(Arch::X86_64), 1..6),
            raw in proptest::collection::vec(any::<u64>(), 6),
        ) {
            let values: Vec<u64> = specs.iter().zip(&raw).map(|(s, v)| match s.kind {
                super::super::spec::ArgKind::Const(c) => s.extend(c.cast_unsigned()),
                _ => s.extend(*v),
            }).collect();
            // Arguments that share a place are refused, others are read back as they were given.
            if let Ok(placed) = Placement::new(&specs, &values, PC, |_| None) {
                for (spec, value) in specs.iter().zip(&values) {
                    prop_assert_eq!(spec.read(&Process(&placed)), Some(*value), "{}", spec);
                }
            }
        }
    }
}
