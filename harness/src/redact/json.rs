//! Whatever serialises, by way of JSON.

use serde::Serialize;
use serde_json::Value as Json;

use super::Redaction;
use crate::error::Error;
use crate::value::Value;

impl Redaction {
    /// Redacts whatever serialises: structures that a test has its events decoded to, lists and maps of them. The result
    /// serialises too; its members are sorted by name.
    ///
    /// ```
    /// use bpf_harness::redact::Redaction;
    /// #[derive(serde::Serialize)]
    /// struct Event { pid: u32, fname: &'static str, ret: i32 }
    ///
    /// let events = [Event { pid: 77, fname: "/etc/passwd", ret: 5 }, Event { pid: 77, fname: "/none", ret: -2 }];
    /// let redacted = Redaction::new().pids().numbered(".ret", "fd").serde(&events)?;
    /// assert_eq!(redacted[0]["pid"], redacted[1]["pid"]);
    /// assert_eq!((&redacted[0]["ret"], &redacted[1]["ret"]), (&"[fd 1]".into(), &(-2).into()));
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it does not serialise as JSON.
    pub fn serde<T: Serialize + ?Sized>(&mut self, data: &T) -> Result<Value, Error> {
        let json = serde_json::to_value(data)
            .map_err(|e| Error::Invalid(format!("what is to be redacted does not serialise: {e}")))?;
        Ok(self.value(&from_json(json), &mut Vec::new()))
    }
}

fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(v) => Value::Bool(v),
        Json::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => Value::Uint(n),
            (None, Some(n)) => Value::Int(n),
            (None, None) => Value::Float(n.as_f64().unwrap_or(0.0)),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(items) => Value::List(items.into_iter().map(from_json).collect()),
        Json::Object(members) => {
            Value::Struct(members.into_iter().map(|(name, v)| (name, from_json(v))).collect())
        }
    }
}
