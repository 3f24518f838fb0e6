//! A kernel's build configuration (`/boot/config-V`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// `CONFIG_*` options by name (with the prefix), as written: `y`, `m`, a number, or a string without its quotes. What
/// is not set is not there.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KernelConfig {
    options: BTreeMap<String, String>,
}

impl KernelConfig {
    /// Reads the text of a configuration; comments and lines of another form are passed over, as kconfig does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let options = text
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .filter(|(name, _)| name.starts_with("CONFIG_"))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        Self { options }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.options.is_empty()
    }

    /// An option's value, by its name with or without `CONFIG_`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.options.get(name) {
            Some(value) => Some(value),
            None => self.options.get(&format!("CONFIG_{name}")).map(String::as_str),
        }
    }

    /// Whether an option is built in (`y`); `m` is not.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("y")
    }

    /// All options in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

/// As a configuration is written, without comments. Strings that look like another value have lost their quotes.
impl fmt::Display for KernelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.options {
            if is_bare(value) {
                writeln!(f, "{name}={value}")?;
            } else {
                writeln!(f, "{name}=\"{value}\"")?;
            }
        }
        Ok(())
    }
}

/// Whether a value is written without quotes: a tristate or a number.
fn is_bare(value: &str) -> bool {
    let number = |text: &str, radix| u64::from_str_radix(text, radix).is_ok();
    matches!(value, "y" | "m" | "n")
        || number(value.strip_prefix('-').unwrap_or(value), 10)
        || value.strip_prefix("0x").is_some_and(|hex| number(hex, 16))
}

#[cfg(test)]
mod tests {
    use super::KernelConfig;

    #[test]
    fn what_is_written_is_what_was_read() {
        let text = "CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=250\nCONFIG_D=-1\nCONFIG_E=0xdead\nCONFIG_F=\"\"\nCONFIG_G=\"lockdown,bpf\"\n";
        assert_eq!(KernelConfig::parse(text).to_string(), text);
    }
}
