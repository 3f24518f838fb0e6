//! Values as Rust types, through serde: members by name, characters as `String`, enumerators as enumerations.

use std::fmt::Display;

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};

use super::text::unescape;
use super::{Value, ValueError};

impl Value {
    /// The value as a type of the caller's.
    ///
    /// Structures fit structures and maps (members that the type does not have are left out), numbers fit numbers that
    /// can hold them, characters fit `String`, `Vec<u8>` and `[u8; N]`, enumerators fit `String` and unit variants,
    /// pointers fit `u64`, `Null` fits `Option` and `()`.
    ///
    /// ```
    /// use bpf_harness::value::Value;
    /// #[derive(serde::Deserialize, PartialEq, Debug)]
    /// struct Key { pid: u32, comm: String }
    ///
    /// let value = Value::from([("pid", Value::from(7u32)), ("comm", Value::from("cat"))]);
    /// assert_eq!(value.to::<Key>()?, Key { pid: 7, comm: "cat".to_owned() });
    /// assert!(value.to::<u32>().is_err());
    /// # Ok::<(), bpf_harness::value::ValueError>(())
    /// ```
    ///
    /// # Errors
    /// If it does not fit.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, ValueError> {
        T::deserialize(self).map_err(|e| ValueError::NotThatType { why: e.0 })
    }
}

/// Why a value does not become a type.
#[derive(Debug)]
pub struct Unfit(String);

impl Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl de::Error for Unfit {
    fn custom<T: Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

impl<'de> IntoDeserializer<'de, Unfit> for &'de Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self {
            Value::Null | Value::Opaque(_) => visitor.visit_unit(),
            Value::Bool(v) => visitor.visit_bool(*v),
            Value::Int(v) => visitor.visit_i64(*v),
            Value::Uint(v) | Value::Pointer(v) => visitor.visit_u64(*v),
            Value::Wide(v) => visitor.visit_u128(*v),
            Value::Float(v) => visitor.visit_f64(*v),
            Value::Text(v) | Value::Enum(v) => visitor.visit_str(v),
            Value::Bytes(v) => visitor.visit_seq(SeqDeserializer::new(v.iter().copied())),
            Value::List(v) | Value::PerCpu(v) => visitor.visit_seq(SeqDeserializer::new(v.iter())),
            Value::Struct(members) => {
                visitor.visit_map(MapDeserializer::new(members.iter().map(|(k, v)| (k.as_str(), v))))
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self {
            Value::Int(v @ (0 | 1)) => visitor.visit_bool(*v == 1),
            Value::Uint(v @ (0 | 1)) => visitor.visit_bool(*v == 1),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self {
            Value::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    /// Characters as the bytes that they are.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self {
            Value::Text(v) => visitor.visit_seq(SeqDeserializer::new(unescape(v).into_iter())),
            other => other.deserialize_any(visitor),
        }
    }

    /// As a sequence; characters are filled up with NULs, which decoding has taken away.
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Unfit> {
        match self {
            Value::Text(v) => {
                let mut bytes = unescape(v);
                bytes.resize(bytes.len().max(len), 0);
                visitor.visit_seq(SeqDeserializer::new(bytes.into_iter()))
            }
            // A structure as a tuple: members in their order.
            Value::Struct(members) => visitor.visit_seq(SeqDeserializer::new(members.iter().map(|(_, v)| v))),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.as_bytes() {
            Some(bytes) => visitor.visit_byte_buf(bytes),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        match self {
            Value::Text(v) | Value::Enum(v) => {
                StringDeserializer::new(v.clone()).deserialize_enum(name, variants, visitor)
            }
            other => Err(de::Error::invalid_type(other.unexpected(), &"an enumerator")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        unit unit_struct map struct identifier
    }
}

impl Value {
    fn unexpected(&self) -> de::Unexpected<'_> {
        match self {
            Self::Null | Self::Opaque(_) => de::Unexpected::Unit,
            Self::Bool(v) => de::Unexpected::Bool(*v),
            Self::Int(v) => de::Unexpected::Signed(*v),
            Self::Uint(v) | Self::Pointer(v) => de::Unexpected::Unsigned(*v),
            Self::Float(v) => de::Unexpected::Float(*v),
            Self::Text(v) | Self::Enum(v) => de::Unexpected::Str(v),
            Self::Bytes(v) => de::Unexpected::Bytes(v),
            Self::Wide(_) => de::Unexpected::Other("a number of 128 bits"),
            Self::List(_) | Self::PerCpu(_) => de::Unexpected::Seq,
            Self::Struct(_) => de::Unexpected::Map,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::super::Value;

    #[derive(Deserialize, PartialEq, Debug)]
    #[serde(rename_all = "UPPERCASE")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Deserialize, PartialEq, Debug)]
    struct Inner(u8, i64);

    #[derive(Deserialize, PartialEq, Debug)]
    struct All {
        flag: bool,
        small: i8,
        pointer: u64,
        comm: String,
        raw: [u8; 4],
        bytes: Vec<u8>,
        list: Vec<u16>,
        colour: Colour,
        name: String,
        inner: Inner,
        none: Option<u32>,
        some: Option<u32>,
    }

    #[test]
    fn every_shape_finds_its_type() {
        let value = Value::Struct(
            [
                ("flag", Value::Uint(1)),
                ("small", Value::Int(-3)),
                ("pointer", Value::Pointer(0xffff_0000)),
                ("comm", Value::from("cat")),
                ("raw", Value::from("ab")),
                ("bytes", Value::Bytes(vec![1, 2])),
                ("list", Value::List(vec![1u16.into(), 2u16.into()])),
                ("colour", Value::Enum("GREEN".into())),
                ("name", Value::Enum("RED".into())),
                ("inner", Value::from([("a", Value::from(1u8)), ("b", Value::from(-2))])),
                ("none", Value::Null),
                ("some", Value::Uint(5)),
                ("left_out", Value::Opaque("struct bpf_spin_lock".into())),
            ]
            .map(|(k, v)| (k.to_owned(), v))
            .to_vec(),
        );
        let all: All = value.to().unwrap();
        assert_eq!(
            all,
            All {
                flag: true,
                small: -3,
                pointer: 0xffff_0000,
                comm: "cat".into(),
                raw: *b"ab\0\0",
                bytes: vec![1, 2],
                list: vec![1, 2],
                colour: Colour::Green,
                name: "RED".into(),
                inner: Inner(1, -2),
                none: None,
                some: Some(5),
            }
        );
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (error, why) in [
            (Value::Uint(300).to::<u8>().unwrap_err(), "300"),
            (Value::from("x").to::<u32>().unwrap_err(), "string"),
            (Value::Uint(1).to::<Colour>().unwrap_err(), "enumerator"),
            (Value::Enum("BLUE".into()).to::<Colour>().unwrap_err(), "BLUE"),
            (Value::from([("a", 1u32)]).to::<BTreeMap<String, String>>().unwrap_err(), "string"),
        ] {
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
