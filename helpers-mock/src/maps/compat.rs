//! Which helpers take which map types (`check_map_func_compatibility` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::object::MapType;

/// A set of uses that programs may make of a map.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Uses(u32);

impl Uses {
    /// `bpf_map_lookup_elem`.
    pub const LOOKUP: Self = Self(1);
    /// `bpf_map_update_elem`.
    pub const UPDATE: Self = Self(1 << 1);
    /// `bpf_map_delete_elem`.
    pub const DELETE: Self = Self(1 << 2);
    /// `bpf_map_push_elem`.
    pub const PUSH: Self = Self(1 << 3);
    /// `bpf_map_pop_elem`.
    pub const POP: Self = Self(1 << 4);
    /// `bpf_map_peek_elem`.
    pub const PEEK: Self = Self(1 << 5);
    /// `bpf_map_lookup_percpu_elem`.
    pub const LOOKUP_PERCPU: Self = Self(1 << 6);
    /// `bpf_for_each_map_elem`.
    pub const FOR_EACH: Self = Self(1 << 7);
    /// `bpf_tail_call`.
    pub const TAIL_CALL: Self = Self(1 << 8);
    /// `bpf_redirect_map`.
    pub const REDIRECT: Self = Self(1 << 9);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is allowed.
    #[must_use]
    pub const fn allow(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether programs give pointers to sockets as values (`resolve_map_arg_type` in `kernel/bpf/verifier.c`).
    #[must_use]
    pub const fn takes_sockets(map_type: MapType) -> bool {
        matches!(map_type, MapType::Sockmap | MapType::Sockhash)
    }

    /// What programs may call with a map of this type.
    #[must_use]
    pub const fn of(map_type: MapType) -> Self {
        use MapType as T;
        let access = Self::LOOKUP.and(Self::UPDATE).and(Self::DELETE);
        match map_type {
            T::Hash | T::LruHash | T::Array => access.and(Self::FOR_EACH),
            T::PercpuHash | T::LruPercpuHash | T::PercpuArray => {
                access.and(Self::FOR_EACH).and(Self::LOOKUP_PERCPU)
            }
            T::LpmTrie | T::Rhash => access,
            T::ArrayOfMaps | T::HashOfMaps => Self::LOOKUP,
            T::ProgArray => Self::TAIL_CALL,
            T::Queue | T::Stack => Self::PUSH.and(Self::POP).and(Self::PEEK),
            T::BloomFilter => Self::PUSH.and(Self::PEEK),
            T::Devmap | T::DevmapHash | T::Xskmap | T::Cpumap => Self::LOOKUP.and(Self::REDIRECT),
            T::Sockmap | T::Sockhash => access,
            T::ReuseportSockarray => Self::LOOKUP,
            _ => Self(0),
        }
    }
}
