//! Lines of output: text with fields in braces, `{pid:<6} {comm:<16} {(ts / 1e6):>9.3f} {saddr|ipv4}`.
//!
//! A field is an expression in the language of Jinja templates, which users of any language know, and behind a colon
//! how it is written, in Python's format language, in which bcc's tools are. `{{` and `}}` are braces. A field that is a
//! list makes one line for each of its elements, and none if it is empty: that is how stacks are printed.

mod convert;
mod filters;
mod parse;
mod spec;

use std::sync::{Arc, Mutex};

use minijinja::value::{Value as Any, ValueKind};
use minijinja::{Environment, UndefinedBehavior};

pub(super) use convert::any;
#[cfg(test)]
use convert::record;
use parse::{Piece, pieces};
use spec::Spec;

use crate::bpf::Bpf;

/// The machine that lines are about, for looking up symbols and stacks.
pub(super) type Shared = Arc<Mutex<Bpf>>;

/// What expressions can use.
#[derive(Debug)]
pub(super) struct Lines {
    env: Environment<'static>,
}

/// One expression.
#[derive(Debug)]
pub(super) struct Expression<'a> {
    compiled: minijinja::Expression<'a, 'static>,
    text: String,
}

/// A line with fields.
#[derive(Debug)]
pub(super) struct Line<'a> {
    parts: Vec<Part<'a>>,
}

#[derive(Debug)]
enum Part<'a> {
    Text(String),
    Field(Box<Expression<'a>>, Spec),
}

impl Lines {
    /// What expressions can use: filters, functions, and the `actor` of the stimuli.
    pub(super) fn new(bpf: &Shared, actor: Any) -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        filters::add(&mut env, bpf);
        env.add_global("actor", actor);
        Self { env }
    }

    /// Reads one expression.
    pub(super) fn expression(&self, text: &str) -> Result<Expression<'_>, String> {
        let compiled = self.env.compile_expression_owned(text.to_owned()).map_err(|e| why(text, &e))?;
        Ok(Expression { compiled, text: text.to_owned() })
    }

    /// Reads a text of one or more lines.
    pub(super) fn lines(&self, text: &str) -> Result<Vec<Line<'_>>, String> {
        text.lines().map(|l| self.line(l)).collect()
    }

    fn line(&self, text: &str) -> Result<Line<'_>, String> {
        let part = |piece| -> Result<Part<'_>, String> {
            match piece {
                Piece::Text(text) => Ok(Part::Text(text)),
                Piece::Field { expression, spec } => {
                    Ok(Part::Field(Box::new(self.expression(&expression)?), Spec::parse(&spec)?))
                }
            }
        };
        Ok(Line { parts: pieces(text)?.into_iter().map(part).collect::<Result<_, _>>()? })
    }
}

impl Expression<'_> {
    /// Its value where these names are known.
    pub(super) fn value(&self, names: &Any) -> Result<Any, String> {
        let value = self.compiled.eval(names.clone()).map_err(|e| why(&self.text, &e))?;
        if value.is_undefined() {
            return Err(format!("'{}' has no value", self.text));
        }
        Ok(value)
    }
}

impl Line<'_> {
    /// Appends the line, or the lines, with these names known.
    pub(super) fn write(&self, names: &Any, out: &mut String) -> Result<(), String> {
        let mut fields = Vec::with_capacity(self.parts.len());
        let mut lines = None;
        for part in &self.parts {
            let Part::Field(expression, _) = part else { continue };
            let value = expression.value(names)?;
            if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
                let items: Vec<Any> = value.try_iter().map_err(|e| why(&expression.text, &e))?.collect();
                if lines.replace(items.len()).is_some_and(|n| n != items.len()) {
                    return Err(format!(
                        "'{}' has not as many elements as a list before it",
                        expression.text
                    ));
                }
                fields.push(Field::Each(items));
            } else {
                fields.push(Field::One(value));
            }
        }
        for i in 0..lines.unwrap_or(1) {
            let mut fields = fields.iter();
            for part in &self.parts {
                match part {
                    Part::Text(text) => out.push_str(text),
                    Part::Field(expression, spec) => {
                        let value = match fields.next() {
                            Some(Field::One(value)) => Some(value),
                            Some(Field::Each(items)) => items.get(i),
                            None => None,
                        };
                        let text = spec.apply(value.unwrap_or(&Any::UNDEFINED));
                        out.push_str(&text.map_err(|e| format!("'{}': {e}", expression.text))?);
                    }
                }
            }
            out.push('\n');
        }
        Ok(())
    }
}

enum Field {
    One(Any),
    Each(Vec<Any>),
}

/// What is wrong with an expression, without the engine's words on templates.
fn why(text: &str, e: &minijinja::Error) -> String {
    let detail = e.detail().map_or_else(|| e.kind().to_string(), |d| format!("{}: {d}", e.kind()));
    format!("'{text}': {detail}")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::{Lines, record};
    use crate::bpf::Bpf;
    use crate::value::Value;

    fn shared() -> super::Shared {
        let object = bpf_fixtures::object("vfsreadlat").expect("a fixture");
        Arc::new(Mutex::new(Bpf::load(object).expect("it loads")))
    }

    fn write(line: &str) -> Result<String, String> {
        let names = record(&Value::Struct(vec![
            ("pid".into(), 42u32.into()),
            ("comm".into(), "cat".into()),
            ("delta".into(), 1_234_567u64.into()),
            ("addr".into(), Value::Uint(0x0100_007f)),
            ("ips".into(), Value::List(vec![1u32.into(), 2u32.into()])),
            ("empty".into(), Value::List(vec![])),
            ("ptr".into(), Value::Pointer(0xffff_8880_0000_1000)),
            ("err".into(), (-2i32).into()),
        ]));
        let lines = Lines::new(&shared(), minijinja::value::Value::UNDEFINED);
        let mut out = String::new();
        for line in lines.lines(line)? {
            line.write(&names, &mut out)?;
        }
        Ok(out)
    }

    #[test]
    fn fields_are_expressions_with_pythons_formats() {
        for (line, expected) in [
            ("{pid:<6}{comm:<5}|", "42    cat  |\n"),
            ("{pid:>6} {comm:>5}", "    42   cat\n"),
            ("{(delta / 1e6):.2f} {delta // 1000}", "1.23 1234\n"),
            ("{{}} {pid:#x} {ptr:x}", "{} 0x2a ffff888000001000\n"),
            ("{addr|ipv4}", "127.0.0.1\n"),
            ("{'yes' if pid == 42 else 'no'}", "yes\n"),
            ("{err} {err|errno}", "-2 ENOENT\n"),
            ("  {ips}.\n{empty}never\nend", "  1.\n  2.\nend\n"),
            ("{comm ~ ':}'}", "cat:}\n"),
        ] {
            assert_eq!(write(line), Ok(expected.to_owned()), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, why) in [
            ("{nothing}", "'nothing'"),
            ("{pid", "not closed"),
            ("}", "single '}'"),
            ("{comm:d}", "'comm': 'd' is for integers"),
            ("{pid:>q}", "'>q'"),
            ("{pid|nofilter}", "nofilter"),
            ("{ips} {[1, 2, 3]}", "not as many elements"),
            ("{1 +}", "1 +"),
        ] {
            let error = write(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
