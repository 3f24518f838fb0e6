//! One tracepoint's record.

use std::fmt;

use bpf_helpers_mock::contexts::TracepointLayout;

use crate::error::Error;

/// The fields that all records begin with, which programs may not read (`struct trace_entry`).
const COMMON: &str = "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
                      \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
                      \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
                      \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";
const COMMON_SIZE: u32 = 8;

/// A field of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its declaration in C, as tracefs has it: `char comm[16]`, `__data_loc char[] cmd`.
    pub decl: String,
    /// Where it begins, in bytes from the record's start.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// Whether it is a signed number.
    pub signed: bool,
}

/// What a tracepoint's record looks like. Its text ([`Display`](fmt::Display)) is that of the `format` file, but for the
/// number and how it is printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// Its category (`sched`).
    pub category: String,
    /// Its name (`sched_switch`).
    pub event: String,
    /// The fields behind the common ones, by offset.
    pub fields: Vec<Field>,
}

impl Format {
    /// Reads a `format` file.
    ///
    /// # Errors
    /// The first line that is malformed.
    pub fn parse(category: &str, text: &str) -> Result<Self, Error> {
        let mut format = Self { category: category.to_owned(), event: String::new(), fields: Vec::new() };
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(name) = line.strip_prefix("name:") {
                name.trim().clone_into(&mut format.event);
            }
            if line.starts_with("field:") {
                let wrong = || {
                    Error::Invalid(format!(
                        "tracepoint format of category '{category}', line {}: '{line}' is not \
                         'field:TYPE NAME; offset:N; size:N; signed:N;'",
                        i + 1
                    ))
                };
                let field = Field::parse(line).ok_or_else(wrong)?;
                format.fields.extend((field.offset >= COMMON_SIZE).then_some(field));
            }
        }
        if format.event.is_empty() {
            return Err(Error::Invalid(format!(
                "tracepoint format of category '{category}': no line 'name: EVENT'"
            )));
        }
        format.fields.sort_by_key(|f| f.offset);
        Ok(format)
    }

    /// What the simulator builds records by.
    ///
    /// # Errors
    /// If a field lies outside the largest record.
    pub fn layout(&self) -> Result<TracepointLayout, Error> {
        Ok(TracepointLayout::from_format(&self.to_string())?)
    }
}

impl Field {
    /// Reads a line `field:...`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.trim().strip_prefix("field:")?.split(';').map(str::trim);
        let decl = parts.next()?;
        let (mut offset, mut size, mut signed) = (None, None, false);
        for part in parts {
            match part.split_once(':') {
                Some(("offset", n)) => offset = n.trim().parse().ok(),
                Some(("size", n)) => size = n.trim().parse().ok(),
                Some(("signed", n)) => signed = n.trim() == "1",
                _ => {}
            }
        }
        // The brackets of `__data_loc char[] name` are in its type.
        let located = decl.starts_with("__data_loc") || decl.starts_with("__rel_loc");
        let declared = if located { decl } else { decl.split('[').next()?.trim() };
        let name = declared.rsplit([' ', '*']).next().filter(|n| !n.is_empty())?;
        Some(Self { name: name.to_owned(), decl: decl.to_owned(), offset: offset?, size: size?, signed })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "name: {}\nformat:\n{COMMON}", self.event)?;
        for field in &self.fields {
            let Field { decl, offset, size, signed, .. } = field;
            writeln!(f, "\tfield:{decl};\toffset:{offset};\tsize:{size};\tsigned:{};", u8::from(*signed))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Field;

    #[test]
    fn fields_have_the_last_word_of_their_declaration_as_name() {
        for (decl, name) in [
            ("pid_t pid", "pid"),
            ("char comm[16]", "comm"),
            ("const char * filename", "filename"),
            ("struct sock *sk", "sk"),
            ("__data_loc char[] cmd", "cmd"),
            ("unsigned long args[6]", "args"),
        ] {
            let line = format!("\tfield:{decl};\toffset:8;\tsize:4;\tsigned:1;");
            let field = Field::parse(&line).unwrap();
            assert_eq!((field.name.as_str(), field.decl.as_str(), field.signed), (name, decl, true));
        }
        assert_eq!(Field::parse("field:int;"), None);
    }
}
