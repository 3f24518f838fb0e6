//! What clang says, as far as it is acted upon, and names of temporary files put right in it.

/// The message of one error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Message<'a> {
    /// Without place and severity.
    pub(super) text: &'a str,
}

impl<'a> Message<'a> {
    /// The words in quotes, in order.
    pub(super) fn quoted(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.text.split('\'').skip(1).step_by(2)
    }
}

/// The errors in clang's output.
pub(super) fn errors(output: &str) -> impl Iterator<Item = Message<'_>> {
    output.lines().filter_map(|line| {
        let (_, text) = line
            .split_once(" error: ")
            .or_else(|| line.split_once("error: ").filter(|(b, _)| b.is_empty()))?;
        Some(Message { text })
    })
}

/// Replaces the path of a temporary file in text.
pub(super) fn rename_in_text(text: &str, names: &[(String, String)]) -> String {
    names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Replaces paths of temporary files at the beginning of NUL-terminated strings of an object, in place: the rest of the
/// string moves up, and what becomes free is filled with NULs, so that nothing else moves. A name that is longer than
/// what it replaces is left alone.
pub(super) fn rename_in_object(object: &mut [u8], names: &[(String, String)]) {
    for (from, to) in names {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        if from.is_empty() || to.len() > from.len() {
            continue;
        }
        let mut at = 0;
        while let Some(found) = object.get(at..).and_then(|rest| find(rest, from)) {
            let start = at + found;
            let Some(string) = object.get_mut(start..) else { break };
            let len = string.iter().position(|b| *b == 0).unwrap_or(string.len());
            at = start + len;
            let begins = start.checked_sub(1).is_none_or(|before| object.get(before) == Some(&0));
            let Some(string) = object.get_mut(start..start + len).filter(|_| begins) else { continue };
            let renamed: Vec<u8> = to.iter().chain(string.iter().skip(from.len())).copied().collect();
            string.fill(0);
            string.iter_mut().zip(renamed).for_each(|(slot, byte)| *slot = byte);
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut from = 0;
    loop {
        let at = from + haystack.get(from..)?.iter().position(|b| b == first)?;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{errors, rename_in_object};

    #[test]
    fn errors_are_found_by_their_severity() {
        let output =
            "a.c:1:2: warning: error: no\na.c:3:4: error: redefinition of 'a' as 'b'\nerror: too many\n";
        let all: Vec<_> = errors(output).collect();
        assert_eq!(
            all.iter().map(|m| m.text).collect::<Vec<_>>()[1..],
            ["redefinition of 'a' as 'b'", "too many"]
        );
        assert_eq!(all[1].quoted().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn strings_keep_their_places_when_they_are_renamed() {
        let mut object = b"\0/tmp/x/a.c\0other\0see /tmp/x/a.c\0/tmp/x/b\0".to_vec();
        rename_in_object(&mut object, &[("/tmp/x/".to_owned(), String::new())]);
        assert_eq!(object, b"\0a.c\0\0\0\0\0\0\0\0other\0see /tmp/x/a.c\0b\0\0\0\0\0\0\0\0");
    }
}
