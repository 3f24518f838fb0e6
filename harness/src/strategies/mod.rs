//! proptest strategies for values of any BTF type, packets and arguments.
//!
//! ```
//! use bpf_harness::strategies;
//! use proptest::prelude::*;
//! # let mut b = bpf_vm_shim::btf::BtfBuilder::new();
//! # let u32_ = b.add_int("unsigned int", 4, bpf_vm_shim::btf::IntEncoding::UNSIGNED);
//! # let btf = bpf_vm_shim::btf::Btf::parse(b.build()).unwrap();
//! proptest!(|(value in strategies::value(&btf, u32_).unwrap())| {
//!     prop_assert!(value.as_u64().is_some());
//! });
//! ```

mod packet;

pub use packet::{ethernet, ipv4_tcp, ipv4_udp, packet};

use bpf_vm_shim::btf::{Btf, TypeId};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

use crate::value::{Value, ValueError, decode};

/// The largest type that values are made of.
const MAX_SIZE: u64 = 1 << 16;

/// Any value of a type. Members shrink towards zero.
///
/// # Errors
/// If the type has no size, is broken, or larger than 64 KiB.
pub fn value(btf: &Btf, ty: TypeId) -> Result<impl Strategy<Value = Value> + use<>, ValueError> {
    let path = || "value".to_owned();
    let size = btf.size_of(ty).map_err(|source| ValueError::Btf { path: path(), source })?;
    if size > MAX_SIZE {
        let ty = btf.type_name(ty);
        return Err(ValueError::TooLarge { path: path(), ty, size, limit: MAX_SIZE });
    }
    // Every value has bytes, and most bytes are a value: what does not decode now never will.
    decode(btf, ty, &vec![0; size as usize])?;
    let btf = btf.clone();
    Ok(bytes(size as usize).prop_map(move |b| decode(&btf, ty, &b).unwrap_or(Value::Bytes(b))))
}

/// The bytes of any value of this size: random, zero, or all ones, so that limits are met often.
pub fn bytes(size: usize) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => any::<u8>(),
        2 => Just(0),
        1 => Just(0xff),
        1 => Just(0x7f),
        1 => Just(0x80),
    ];
    prop_oneof![
        8 => vec(word, size),
        1 => Just(vec![0; size]),
        1 => Just(vec![0xff; size]),
    ]
}

/// Up to `max` arguments of a function: small numbers, limits, kernel and user addresses, anything.
pub fn args(max: usize) -> impl Strategy<Value = Vec<u64>> {
    vec(arg(), 0..=max)
}

/// One argument of a function.
pub fn arg() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 0u64..4096,
        1 => Just(u64::MAX),
        1 => Just(u64::from(u32::MAX)),
        1 => Just(i64::MIN.cast_unsigned()),
        1 => 0xffff_8880_0000_0000u64..0xffff_8890_0000_0000,
        1 => 0x5555_5555_0000u64..0x7fff_ffff_f000,
        3 => any::<u64>(),
    ]
}

#[cfg(test)]
mod tests {
    use bpf_vm_shim::btf::{Btf, BtfBuilder, Enumerator, IntEncoding, Member, TypeId};
    use proptest::prelude::{prop_assert_eq, proptest};

    use crate::value::{decode, encode};

    /// A structure with a number, an enumeration, text, a bit-field, a pointer and an array in it.
    fn types() -> (Btf, TypeId) {
        let mut b = BtfBuilder::new();
        let int = b.add_int("int", 4, IntEncoding::SIGNED);
        let byte = b.add_int("unsigned char", 1, IntEncoding::UNSIGNED);
        let char_ = b.add_int("char", 1, IntEncoding::SIGNED);
        let comm = b.add_array(char_, int, 16);
        let mac = b.add_array(byte, int, 6);
        let ptr = b.add_ptr(int);
        let state = b.add_enum(
            "state",
            4,
            false,
            &[Enumerator { name: "ON", value: 1 }, Enumerator { name: "OFF", value: 0 }],
        );
        let inner = b.add_struct("", 8, &[Member::new("x", int, 0), Member::new("y", state, 32)]);
        let list = b.add_array(inner, int, 2);
        let members = [
            Member::new("pid", int, 0),
            Member::new("low", int, 32).bits(3),
            Member::new("high", int, 35).bits(29),
            Member::new("comm", comm, 64),
            Member::new("mac", mac, 192),
            Member::new("ptr", ptr, 256),
            Member::new("list", list, 320),
        ];
        let event = b.add_struct("event", 56, &members);
        (Btf::parse(b.build()).expect("well-formed types"), event)
    }

    proptest! {
        #[test]
        fn what_is_decoded_encodes_to_what_decodes_to_the_same(
            value in super::value(&types().0, types().1).expect("a type with a size")
        ) {
            let (btf, ty) = types();
            let bytes = encode(&btf, ty, &value).expect("every decoded value fits");
            prop_assert_eq!(decode(&btf, ty, &bytes).expect("as many bytes as the type has"), value);
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let (btf, ty) = types();
            let _ = decode(&btf, ty, &bytes);
        }

        #[test]
        fn packets_have_headers(p in super::packet()) {
            prop_assert_eq!(p.len() >= 14, true);
        }
    }
}
