//! Values: members by their names and paths, addresses by their size.

use super::numbers::is_label;
use super::path::Step;
use super::{Kind, Redaction, Rule};
use crate::value::{Value, escape, unescape};

/// Where the memory of a process of 64 bits lies, as loaders place programs, libraries and stacks.
const USER: std::ops::Range<u64> = 0x5000_0000_0000..0x8000_0000_0000;
/// Where the kernel's memory begins, on x86-64 and arm64, without the last page, where errors are.
const KERNEL: std::ops::Range<u64> = 0xffff_0000_0000_0000..0xffff_ffff_ffff_f000;

/// Whether a number is what an address looks like.
pub(super) fn is_address(value: u64) -> bool {
    USER.contains(&value) || KERNEL.contains(&value)
}

impl Redaction {
    pub(super) fn value(&mut self, value: &Value, place: &mut Vec<Step>) -> Value {
        let rule = self.rules.iter().find(|(path, _)| path.leads_to(place)).map(|(_, rule)| rule.clone());
        let is_error = matches!(value, Value::Int(n) if *n < 0);
        if let Some(rule) = rule.filter(|r| matches!(r, Rule::Text(_)) || !is_error) {
            return Value::Text(match rule {
                Rule::Text(text) => text,
                Rule::Number(kind) => self.numbers.label(&kind, &key_of(value)),
            });
        }
        let member = match place.last() {
            Some(Step::Member(name)) => self.kind_of(name),
            _ => None,
        };
        if let Some(kind) = member
            && let Some(key) = key_of_kind(kind, value)
        {
            return Value::Text(if is_label(&key) { key } else { self.label(kind, &key) });
        }
        match value {
            Value::Pointer(addr) if self.addresses && *addr != 0 => self.address(*addr),
            Value::Uint(addr) if self.addresses && is_address(*addr) => self.address(*addr),
            Value::Text(text) if self.c_texts => Value::Text(c_text(text)),
            Value::PerCpu(values) if self.has(Kind::Cpu) => match value.sum() {
                Some(sum) => Value::Uint(sum),
                None => Value::PerCpu(self.list(values, place)),
            },
            Value::PerCpu(values) => Value::PerCpu(self.list(values, place)),
            Value::List(values) => Value::List(self.list(values, place)),
            Value::Struct(members) => {
                let mut redacted = Vec::with_capacity(members.len());
                for (name, value) in members {
                    place.push(Step::Member(name.clone()));
                    redacted.push((name.clone(), self.value(value, place)));
                    place.pop();
                }
                Value::Struct(redacted)
            }
            other => other.clone(),
        }
    }

    pub(super) fn list(&mut self, values: &[Value], place: &mut Vec<Step>) -> Vec<Value> {
        let mut redacted = Vec::with_capacity(values.len());
        for (i, value) in values.iter().enumerate() {
            place.push(Step::Index(i));
            redacted.push(self.value(value, place));
            place.pop();
        }
        redacted
    }

    fn address(&mut self, addr: u64) -> Value {
        Value::Text(self.numbers.label("address", &format!("{addr:#x}")))
    }
}

/// What a value of a kind is known by; `None` if it stays as it is.
fn key_of_kind(kind: Kind, value: &Value) -> Option<String> {
    match (kind, value) {
        (Kind::Comm, Value::Text(text)) => Some(text.clone()),
        (Kind::Comm, _) => None,
        // From a redaction before this one.
        (_, Value::Text(text)) if is_label(text) => Some(text.clone()),
        (Kind::Time, Value::Float(_)) => Some(String::new()),
        (Kind::Time | Kind::Cpu, _) => value.as_u64().map(|_| String::new()),
        _ => value.as_u64().filter(|n| *n != 0).map(|n| n.to_string()),
    }
}

/// Text as C reads it.
fn c_text(text: &str) -> String {
    let bytes = unescape(text);
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    escape(bytes.get(..end).unwrap_or_default())
}

/// What a value of one's own kind is known by: its text.
fn key_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}
