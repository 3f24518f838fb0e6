//! Bytes of a BPF map or event as typed values, and back.
//!
//! [`decode`] reads bytes through BTF into a [`Value`], a small tree that serialises with serde, so that a table or an
//! event can be snapshotted, compared or printed as JSON. [`encode`] is the way back.
//!
//! ```
//! use bpf_harness::value::{Value, decode, encode};
//! use bpf_vm_shim::btf::{Btf, BtfBuilder, IntEncoding, Member};
//!
//! let mut b = BtfBuilder::new();
//! let u32_ = b.add_int("unsigned int", 4, IntEncoding::UNSIGNED);
//! let char_ = b.add_int("char", 1, IntEncoding::SIGNED);
//! let comm = b.add_array(char_, u32_, 8);
//! let event = b.add_struct("event", 12, &[Member::new("pid", u32_, 0), Member::new("comm", comm, 32)]);
//! let btf = Btf::parse(b.build())?;
//!
//! let value = decode(&btf, event, b"\x2a\0\0\0bash\0\0\0\0")?;
//! assert_eq!(value["pid"], 42);
//! assert_eq!(value["comm"], "bash");
//! assert_eq!(encode(&btf, event, &value)?, b"\x2a\0\0\0bash\0\0\0\0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod de;
mod decode;
mod encode;
mod error;
mod kernel_struct;
mod order;
mod ser;
mod text;
mod to;

pub use decode::decode;
pub use encode::{encode, encode_into};
pub use error::ValueError;
pub use text::{bytes_to_hex, escape, hex_to_bytes, unescape};

/// A typed value.
///
/// Serialises as plain data: structures as maps in declaration order, enumerators as their names, pointers as
/// hexadecimal text, byte arrays as spaced hexadecimal.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Nothing: `void`, a null kptr.
    Null,
    /// `bool`.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// An integer of more than 64 bits.
    Wide(u128),
    /// A floating point number.
    Float(f64),
    /// Characters, with what is not printable escaped (see [`escape`]).
    Text(String),
    /// An enumerator by its name.
    Enum(String),
    /// An address.
    Pointer(u64),
    /// Bytes without a meaning of their own: `u8` arrays, values without BTF.
    Bytes(Vec<u8>),
    /// An array.
    List(Vec<Value>),
    /// A structure or union; members of anonymous ones inside count as its own.
    Struct(Vec<(String, Value)>),
    /// One value per CPU, in order of CPU.
    PerCpu(Vec<Value>),
    /// What only the kernel may look into, by its type: a spin lock, a timer, a kptr.
    Opaque(String),
}
