//! What is known before an instruction.

use std::collections::BTreeMap;

use super::kinds::{Detail, Kinds, Value};

/// Slots of a frame: 512 bytes.
const SLOTS: i32 = 64;

/// Registers and the function's own stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) regs: [Value; 11],
    /// Eight-byte slots by their place below the frame's end, from 1; those that are missing were never written.
    pub(super) stack: BTreeMap<i32, Value>,
    /// The registers that every path has written.
    pub(super) definite: u16,
}

impl State {
    /// At the start of a function that was called with nothing.
    pub(super) fn entry(function: usize) -> Self {
        let mut regs = [Value::NONE; 11];
        let detail = Detail::Stack { owner: function as u32, off: 0, exact: true };
        regs[10] = Value { kinds: Kinds::STACK, detail };
        Self { regs, stack: BTreeMap::new(), definite: 1 << 10 }
    }

    pub(super) fn reg(&self, n: u8) -> Value {
        self.regs.get(n as usize).copied().unwrap_or(Value::UNKNOWN)
    }

    pub(super) fn set(&mut self, n: u8, value: Value) {
        if let Some(reg) = self.regs.get_mut(n as usize).filter(|_| n != 10) {
            *reg = value;
            let bit = 1 << n;
            self.definite = if value.kinds.is_empty() { self.definite & !bit } else { self.definite | bit };
        }
    }

    /// The registers that hold something.
    pub(super) fn written(&self) -> u16 {
        let bits = self.regs.iter().enumerate().filter(|(_, v)| !v.kinds.is_empty());
        bits.fold(0, |all, (i, _)| all | 1 << i)
    }

    /// Adds what another path brings; whether anything changed.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let mut changed = self.definite & !other.definite != 0;
        self.definite &= other.definite;
        let mut merge = |mine: &mut Value, theirs: Value| {
            let joined = mine.join(theirs);
            changed |= joined != *mine;
            *mine = joined;
        };
        for (mine, theirs) in self.regs.iter_mut().zip(&other.regs) {
            merge(mine, *theirs);
        }
        for (slot, theirs) in &other.stack {
            merge(self.stack.entry(*slot).or_insert(Value::NONE), *theirs);
        }
        changed
    }

    /// The bytes from `off` on are numbers now: that many, or an unknown number of them.
    pub(super) fn overwrite(&mut self, off: i32, len: Option<u64>) {
        match len {
            Some(len) => {
                for slot in slots(off, len) {
                    self.stack.insert(slot, Value::SCALAR);
                }
            }
            None => self.blur(off, Value::SCALAR),
        }
    }

    /// A value may have been written anywhere from `off` on.
    pub(super) fn blur(&mut self, off: i32, value: Value) {
        let value = Value::of(value.kinds);
        for slot in slots(off, 512) {
            let old = self.stack.entry(slot).or_insert(Value::NONE);
            *old = old.join(value);
        }
    }
}

/// The slots that some bytes touch.
pub(super) fn slots(off: i32, len: u64) -> impl Iterator<Item = i32> {
    let first = i64::from(off).clamp(-8 * i64::from(SLOTS), 0);
    let end = i64::from(off).saturating_add(len.min(1 << 20) as i64).min(0);
    // The slot of a byte, where the frame's last byte is -1.
    let slot = |byte: i64| ((7 - byte) / 8) as i32;
    let some = first < end;
    (slot(end - 1)..=slot(first)).filter(move |_| some)
}

#[cfg(test)]
mod tests {
    use super::slots;

    #[test]
    fn bytes_touch_the_slots_around_them() {
        let all = |off, len| slots(off, len).collect::<Vec<_>>();
        assert_eq!(all(-8, 8), [1]);
        assert_eq!(all(-12, 4), [2]);
        assert_eq!(all(-12, 8), [1, 2]);
        assert_eq!(all(-16, 16), [1, 2]);
        assert_eq!(all(-4, 4), [1]);
        assert_eq!(all(-16, 0), Vec::<i32>::new());
        assert_eq!(all(-16, 512), [1, 2]);
        assert_eq!(all(0, 512), Vec::<i32>::new());
    }
}
