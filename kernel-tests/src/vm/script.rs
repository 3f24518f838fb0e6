//! The first line of a script: which program interprets it, as the kernel reads the line (`fs/binfmt_script.c`), and which
//! one `env` (coreutils) starts for it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What the kernel reads of a file to know how to start it (`BINPRM_BUF_SIZE`).
const READ: u64 = 256;

/// The first bytes of a file.
pub(super) fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    fs::File::open(path)?.take(READ).read_to_end(&mut head)?;
    Ok(head)
}

/// A `#!` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What the kernel starts.
    pub(super) interpreter: PathBuf,
    /// The rest of the line, which is one argument.
    argument: Option<OsString>,
}

/// What `env` is told to start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ByEnv {
    /// A path, or a name to be found.
    pub(super) program: PathBuf,
    /// Where, if the line says so.
    pub(super) path: Option<OsString>,
}

impl Line {
    /// The line of a script; `None` for what is none.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?.trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (interpreter, rest) = line.split_at_checked(end)?;
        if interpreter.is_empty() {
            return None;
        }
        let rest = rest.trim_ascii();
        let argument = (!rest.is_empty()).then(|| OsStr::from_bytes(rest).to_owned());
        Some(Self { interpreter: PathBuf::from(OsStr::from_bytes(interpreter)), argument })
    }

    /// The program that `env` starts, where it is the interpreter and its line can be understood.
    pub(super) fn by_env(&self) -> Option<ByEnv> {
        let argument = self.argument.as_deref().filter(|_| self.interpreter.ends_with("env"))?.as_bytes();
        let words = match split_string(argument) {
            Some(text) => words(text)?,
            None => vec![argument.to_vec()],
        };
        let mut path = None;
        let mut words = words.into_iter();
        let mut options = true;
        while let Some(word) = words.next() {
            if options && word.starts_with(b"-") {
                options = word != b"--";
                if matches!(word.as_slice(), b"-u" | b"-C" | b"--unset" | b"--chdir") {
                    words.next();
                }
            } else if word.contains(&b'=') {
                options = false;
                if let Some(value) = word.strip_prefix(b"PATH=") {
                    path = Some(OsStr::from_bytes(value).to_owned());
                }
            } else {
                return Some(ByEnv { program: PathBuf::from(OsString::from_vec(word)), path });
            }
        }
        None
    }
}

/// The text behind `-S`, which may stand behind other letters, or behind `--split-string=`.
fn split_string(argument: &[u8]) -> Option<&[u8]> {
    if let Some(text) = argument.strip_prefix(b"--split-string=") {
        return Some(text);
    }
    let letters = argument.strip_prefix(b"-")?;
    let at = letters.iter().position(|letter| !matches!(letter, b'i' | b'v' | b'0'))?;
    letters.get(at..)?.strip_prefix(b"S")
}

/// Splits as `env -S` does: at blanks that are not quoted. A variable in it (`${X}`) is not known here.
fn words(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        match (byte, quote) {
            (b'$', None | Some(b'"')) => return None,
            (b'\\', None | Some(b'"')) => match rest.next()? {
                // A blank; outside of quotes it separates.
                b'_' if quote.is_none() => words.extend(word.take()),
                b'_' => word.get_or_insert_default().push(b' '),
                b'c' => break,
                escaped => word.get_or_insert_default().push(escaped),
            },
            (quoting, Some(open)) if quoting == open => quote = None,
            (b'\'' | b'"', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (b'#', None) if word.is_none() => break,
            (blank, None) if blank.is_ascii_whitespace() => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(line: &str) -> Option<(String, Option<String>)> {
        let found = Line::of(line.as_bytes())?.by_env()?;
        Some((found.program.display().to_string(), found.path.and_then(|path| path.into_string().ok())))
    }

    #[test]
    fn the_kernel_takes_one_interpreter_and_one_argument() {
        let line = Line::of(b"#! /bin/sh  -e -u \nexit").expect("a line");
        assert_eq!(line, Line { interpreter: "/bin/sh".into(), argument: Some("-e -u".into()) });
        assert_eq!(Line::of(b"#!/bin/sh").expect("a line").argument, None);
        for text in ["", "#!", "#!  \n/bin/sh", "# /bin/sh", "\x7fELF"] {
            assert_eq!(Line::of(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_env_starts_is_found_behind_options_and_assignments() {
        for (rest, program) in [
            ("sh", Some("sh")),
            ("/bin/sh", Some("/bin/sh")),
            // One word: the kernel splits no further.
            ("sh -e", Some("sh -e")),
            ("-S sh -e", Some("sh")),
            ("-Ssh -e", Some("sh")),
            ("-iS sh", Some("sh")),
            ("-vS -i A=1 B='x y' \"my tool\" -c", Some("my tool")),
            ("--split-string=python3 -u", Some("python3")),
            ("-S -u HOME -C /tmp tool", Some("tool")),
            ("-S -- A=1 tool", Some("tool")),
            ("-S a\\ b # not this", Some("a b")),
            ("-S ${SHELL}", None),
            ("-S 'open", None),
            ("-i", None),
            ("A=1", None),
        ] {
            let line = format!("#!/usr/bin/env {rest}\n");
            assert_eq!(started(&line).map(|found| found.0).as_deref(), program, "{line}");
        }
        assert_eq!(
            started("#!/usr/bin/env -S PATH=/opt/x tool"),
            Some(("tool".into(), Some("/opt/x".into())))
        );
        assert_eq!(started("#!/bin/sh tool"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_fail(noise: Vec<u8>) {
            let mut head = b"#!/usr/bin/env -S ".to_vec();
            head.extend(noise);
            if let Some(line) = Line::of(&head) {
                let _ = line.by_env();
            }
        }
    }
}
