//! What a register or a stack slot may hold: a set of kinds, and a detail where all paths agree on it.

use std::fmt;

/// A set of the kinds of values (the verifier's `enum bpf_reg_type`, coarser).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Kinds(u16);

impl Kinds {
    /// Never written.
    pub const NONE: Self = Self(0);
    /// The program's context.
    pub const CTX: Self = Self(1);
    /// A frame's stack.
    pub const STACK: Self = Self(1 << 1);
    /// The value of a map, global data included.
    pub const MAP_VALUE: Self = Self(1 << 2);
    /// Memory of a known size: a ring-buffer record, a dynptr's slice, a map's key.
    pub const MEM: Self = Self(1 << 3);
    /// Packet data or metadata.
    pub const PACKET: Self = Self(1 << 4);
    /// The end of a packet, which is only compared with.
    pub const PACKET_END: Self = Self(1 << 5);
    /// A typed kernel object (`PTR_TO_BTF_ID`), sockets included: loads read 0 where nothing is mapped.
    pub const BTF: Self = Self(1 << 6);
    /// A map.
    pub const MAP: Self = Self(1 << 7);
    /// A function of the program.
    pub const FUNC: Self = Self(1 << 8);
    /// Memory of an arena.
    pub const ARENA: Self = Self(1 << 9);
    /// A number, which an untyped kernel or user pointer is too.
    pub const SCALAR: Self = Self(1 << 10);
    /// Zero, which a pointer that was not found is too.
    pub const ZERO: Self = Self(1 << 11);
    /// Not modelled: anything.
    pub const UNKNOWN: Self = Self(1 << 12);

    /// What pointer arithmetic starts from.
    const POINTERS: Self = Self(0x3ff);
    const NAMES: [&'static str; 13] = [
        "ctx",
        "fp",
        "map_value",
        "mem",
        "pkt",
        "pkt_end",
        "ptr_",
        "map_ptr",
        "func",
        "arena",
        "scalar",
        "zero",
        "unknown",
    ];

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without another's kinds.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether they have a kind in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing was ever written.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The pointers among them.
    pub(super) const fn pointers(self) -> Self {
        Self(self.0 & Self::POINTERS.0)
    }

    /// Whether a load through it can do without `bpf_probe_read`. A pointer that may be null can: the kernel wants
    /// the program to have tested it, and refuses it otherwise.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        !self.intersects(Self::SCALAR.union(Self::UNKNOWN)) && self.0 != Self::ZERO.0
    }

    /// Whether no path brings a pointer that can be read: the verifier's `scalar`.
    #[must_use]
    pub const fn is_number(self) -> bool {
        !self.is_empty() && self.without(Self::SCALAR.union(Self::ZERO)).is_empty()
    }

    /// Whether it may be a typed kernel object.
    #[must_use]
    pub const fn may_be_typed(self) -> bool {
        self.intersects(Self::BTF.union(Self::UNKNOWN))
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES.iter().enumerate().filter(|(i, _)| self.0 >> i & 1 != 0).map(|(_, n)| *n);
        f.write_str(&names.collect::<Vec<_>>().join("|"))
    }
}

/// What is known beyond the kinds, of all of them but zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Detail {
    /// Nothing.
    None,
    /// The number.
    Number(u64),
    /// Whose stack (the slot at which the function starts), and where from its end; not exact: there or above.
    Stack { owner: u32, off: i32, exact: bool },
    /// Which map's value, and where in it.
    MapValue { map: u32, off: Option<i64> },
    /// Which map.
    Map(u32),
    /// Which function.
    Func(u32),
}

/// What a register or slot may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) kinds: Kinds,
    pub(super) detail: Detail,
}

impl Value {
    pub(super) const NONE: Self = Self::of(Kinds::NONE);
    pub(super) const SCALAR: Self = Self::of(Kinds::SCALAR);
    pub(super) const UNKNOWN: Self = Self::of(Kinds::UNKNOWN);
    pub(super) const ZERO: Self = Self::of(Kinds::ZERO);

    pub(super) const fn of(kinds: Kinds) -> Self {
        Self { kinds, detail: Detail::None }
    }

    pub(super) const fn or_null(self) -> Self {
        Self { kinds: self.kinds.union(Kinds::ZERO), detail: self.detail }
    }

    pub(super) const fn number(n: u64) -> Self {
        if n == 0 { Self::ZERO } else { Self { kinds: Kinds::SCALAR, detail: Detail::Number(n) } }
    }

    /// The number that it certainly is.
    pub(super) fn constant(&self) -> Option<u64> {
        match self.detail {
            _ if self.kinds == Kinds::ZERO => Some(0),
            Detail::Number(n) if self.kinds == Kinds::SCALAR => Some(n),
            _ => None,
        }
    }

    /// What holds on both of two paths.
    pub(super) fn join(self, other: Self) -> Self {
        let detail = match (self.detail, other.detail) {
            _ if self.kinds.without(Kinds::ZERO).is_empty() => other.detail,
            _ if other.kinds.without(Kinds::ZERO).is_empty() => self.detail,
            (a, b) if a == b => a,
            (Detail::Stack { owner: a, off: x, .. }, Detail::Stack { owner: b, off: y, .. }) if a == b => {
                Detail::Stack { owner: a, off: x.min(y), exact: false }
            }
            (Detail::MapValue { map: a, .. }, Detail::MapValue { map: b, .. }) if a == b => {
                Detail::MapValue { map: a, off: None }
            }
            _ => Detail::None,
        };
        Self { kinds: self.kinds.union(other.kinds), detail }
    }

    /// The pointers among it, moved by a number.
    pub(super) fn moved(self, by: Option<u64>) -> Self {
        let kinds = self.kinds.pointers();
        let detail = match (self.detail, by) {
            (Detail::Stack { owner, off, exact }, Some(by)) => {
                match i32::try_from(i64::from(off).wrapping_add(by as i64)) {
                    Ok(off) if (-512..=512).contains(&off) => Detail::Stack { owner, off, exact },
                    _ => Detail::None,
                }
            }
            (Detail::Stack { owner, off, .. }, None) => Detail::Stack { owner, off, exact: false },
            (Detail::MapValue { map, off }, by) => {
                let off = off.zip(by).map(|(off, by)| off.wrapping_add(by as i64));
                Detail::MapValue { map, off }
            }
            _ => Detail::None,
        };
        Self { kinds, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::{Detail, Kinds, Value};

    #[test]
    fn a_join_keeps_what_both_agree_on() {
        let at = |off| Value { kinds: Kinds::STACK, detail: Detail::Stack { owner: 0, off, exact: true } };
        assert_eq!(at(-8).join(at(-8)), at(-8));
        let both = at(-8).join(at(-16));
        assert_eq!(both.detail, Detail::Stack { owner: 0, off: -16, exact: false });
        let or_null = Value::ZERO.join(at(-8));
        assert_eq!((or_null.kinds, or_null.detail), (Kinds::STACK.union(Kinds::ZERO), at(-8).detail));
        assert_eq!(Value::number(1).join(Value::number(2)), Value::SCALAR);
        assert_eq!(Value::number(0).join(Value::number(2)).constant(), None);
    }

    #[test]
    fn sets_are_named_as_the_verifier_does() {
        assert_eq!(format!("{:?}", Kinds::CTX.union(Kinds::SCALAR)), "ctx|scalar");
        assert!(!Kinds::CTX.union(Kinds::SCALAR).is_readable());
        assert!(Kinds::MAP_VALUE.union(Kinds::ZERO).is_readable());
        assert!(!Kinds::ZERO.is_readable());
    }
}
