//! The files that a text included, and whether they are still what they were.

use std::fmt;
use std::path::Path;

use super::digest;

/// An included file and the hash of what was in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Dependency {
    path: String,
    hash: String,
}

impl Dependency {
    /// The file as it is now; `None` if it cannot be read or its name cannot be kept.
    pub(super) fn of(path: &str) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        (!path.contains('\n')).then(|| Self { path: path.to_owned(), hash: digest([bytes.as_slice()]) })
    }

    pub(super) fn is_unchanged(&self) -> bool {
        self.path.is_empty() || Self::of(&self.path).as_ref() == Some(self)
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        if line.is_empty() {
            return Some(Self { path: String::new(), hash: String::new() });
        }
        let (hash, path) = line.split_once(' ')?;
        Some(Self { path: path.to_owned(), hash: hash.to_owned() })
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.hash, self.path)
    }
}

/// The files of a dependency file as `clang -MD` writes it, but for those under the given directories.
pub(super) fn included(text: &str, own: &[&Path]) -> Vec<String> {
    let Some((_, list)) = text.split_once(": ") else { return Vec::new() };
    let mut names = Vec::new();
    let mut name = String::new();
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                // The end of a line, or a character that means itself.
                Some('\n') | None => {}
                Some(other) => name.push(other),
            },
            '$' if chars.peek() == Some(&'$') => {}
            c if c.is_whitespace() => names.push(std::mem::take(&mut name)),
            c => name.push(c),
        }
    }
    names.push(name);
    names.retain(|n| !n.is_empty() && !own.iter().any(|dir| Path::new(n).starts_with(dir)));
    names
}

#[cfg(test)]
mod tests {
    use super::included;
    use std::path::Path;

    #[test]
    fn files_of_a_dependency_file_are_read_with_their_escapes() {
        let text = "x.o: tool.c \\\n  my\\ dir/a.h \\\n /cache/bcc/vmlinux.h b$$.h\n";
        assert_eq!(included(text, &[Path::new("/cache")]), ["tool.c", "my dir/a.h", "b$.h"]);
        assert_eq!(included("", &[]), [""; 0]);
    }
}
