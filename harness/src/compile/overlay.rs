//! Files that a guest has and its host has not: what a text includes, found where the text was made and put in front of
//! what the host has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::digest;
use super::error::CompileError;

/// Flags that name a folder, joined or as the next word.
const FOLDERS: [&str; 4] = ["-iquote", "-isystem", "-idirafter", "-I"];
/// Flags that name a file to be read first.
const FILES: [&str; 2] = ["-include", "-imacros"];
/// More is not sent; the compiler says what it misses.
const MAX_FILES: usize = 2000;
const MAX_BYTES: usize = 16 << 20;

/// The files of a text by absolute path, and where relative paths start.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Files {
    cwd: PathBuf,
    texts: BTreeMap<PathBuf, String>,
}

/// A folder that holds them below their absolute paths.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    root: PathBuf,
    cwd: PathBuf,
}

impl Files {
    /// What a text includes, and what that includes, as far as it is there. Names that macros make are not found.
    pub(super) fn of(text: &str, quote_dir: Option<&Path>, cflags: &[String]) -> Self {
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let mut files = Self { cwd, texts: BTreeMap::new() };
        let mut dirs: Vec<PathBuf> = quote_dir.into_iter().map(|dir| files.cwd.join(dir)).collect();
        dirs.extend(values(cflags, &FOLDERS).iter().map(|dir| files.cwd.join(dir)));
        let first = values(cflags, &FILES).into_iter().map(|name| (files.cwd.clone(), name.to_owned()));
        let mut wanted: Vec<(PathBuf, String)> = first.collect();
        wanted.extend(includes(text).map(|name| (files.cwd.clone(), name.to_owned())));
        let mut seen = BTreeSet::new();
        let mut bytes = 0;
        while let Some((beside, name)) = wanted.pop() {
            for path in std::iter::once(&beside).chain(&dirs).filter_map(|dir| plain(&dir.join(&name))) {
                if !seen.insert(path.clone()) || !path.is_file() {
                    continue;
                }
                let Ok(content) = std::fs::read(&path) else { continue };
                bytes += content.len();
                if bytes > MAX_BYTES || files.texts.len() >= MAX_FILES {
                    return files;
                }
                // What is no UTF-8 is in comments.
                let content = String::from_utf8_lossy(&content).into_owned();
                let parent = path.parent().unwrap_or(Path::new("/")).to_path_buf();
                wanted.extend(includes(&content).map(|name| (parent.clone(), name.to_owned())));
                files.texts.insert(path, content);
            }
        }
        files
    }

    /// Puts into the cache those that this machine has not or has otherwise; `None` if there are none.
    pub(super) fn lay(mut self, cache: &Cache) -> Result<Option<Overlay>, CompileError> {
        self.texts.retain(|path, text| std::fs::read(path).ok().as_deref() != Some(text.as_bytes()));
        if self.texts.is_empty() {
            return Ok(None);
        }
        if let Some(path) = self.texts.keys().find(|path| plain(path).as_ref() != Some(path)) {
            return Err(CompileError::Host { why: format!("'{}' is no place for a file", path.display()) });
        }
        let parts =
            self.texts.iter().flat_map(|(path, text)| [path.as_os_str().as_encoded_bytes(), text.as_bytes()]);
        let root = cache.file(&format!("guest-{}", digest(parts)), |root| {
            for (path, text) in &self.texts {
                let to = below(root, path);
                let parent = to.parent().unwrap_or(root);
                std::fs::create_dir_all(parent).map_err(|e| CompileError::io(parent, &e))?;
                std::fs::write(&to, text).map_err(|e| CompileError::io(&to, &e))?;
            }
            Ok(())
        })?;
        Ok(Some(Overlay { root, cwd: self.cwd }))
    }
}

impl Overlay {
    /// What distinguishes it from others.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.root.display(), self.cwd.display())
    }

    /// The folder's place in the overlay.
    pub(super) fn dir(&self, dir: &Path) -> PathBuf {
        below(&self.root, &self.cwd.join(dir))
    }

    /// Flags with the overlay's folders before those of this machine, and its files instead.
    pub(super) fn flags(&self, cflags: &[String]) -> Vec<String> {
        let mut out = Vec::new();
        let mut words = cflags.iter();
        while let Some(word) = words.next() {
            if let Some((flag, joined)) = split(word, &FOLDERS) {
                let value = joined.or_else(|| words.next().map(String::as_str)).unwrap_or_default();
                let dir = self.dir(Path::new(value)).to_string_lossy().into_owned();
                out.extend([flag.to_owned(), dir, flag.to_owned(), value.to_owned()]);
            } else if let Some((flag, joined)) = split(word, &FILES) {
                let value = joined.or_else(|| words.next().map(String::as_str)).unwrap_or_default();
                let own = self.dir(Path::new(value));
                let file = if own.is_file() { own.to_string_lossy().into_owned() } else { value.to_owned() };
                out.extend([flag.to_owned(), file]);
            } else {
                out.push(word.clone());
            }
        }
        out
    }

    /// Names of folders as the text's author knows them.
    pub(super) fn names(&self, quote_dir: Option<&Path>, cflags: &[String]) -> Vec<(String, String)> {
        let dirs = quote_dir.into_iter().chain(values(cflags, &FOLDERS).into_iter().map(Path::new));
        let dirs = dirs.filter(|dir| !dir.as_os_str().is_empty());
        let text = |path: &Path| format!("{}/", path.to_string_lossy().trim_end_matches('/'));
        let mut names: Vec<_> = dirs.map(|dir| (text(&self.dir(dir)), text(dir))).collect();
        names.push((text(&self.root), "/".to_owned()));
        names
    }
}

/// `/a/b` below `root`, also where there are two roots or none.
fn below(root: &Path, path: &Path) -> PathBuf {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
    parts.fold(root.to_path_buf(), |path, part| path.join(part))
}

/// An absolute path without `.` and `..`, which are resolved by name.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => _ = out.pop(),
            Component::RootDir | Component::CurDir => {}
            Component::Prefix(_) => return None,
        }
    }
    path.is_absolute().then_some(out)
}

/// The names in `#include "..."` and `#include <...>`.
fn includes(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix('#')?.trim_start().strip_prefix("include")?.trim_start();
        let (open, rest) = rest.split_at_checked(1)?;
        let close = match open {
            "\"" => '"',
            "<" => '>',
            _ => return None,
        };
        rest.split_once(close).map(|(name, _)| name)
    })
}

/// A flag of these, and its value if that is joined to it.
fn split<'a>(word: &'a str, flags: &[&'static str]) -> Option<(&'static str, Option<&'a str>)> {
    flags.iter().find_map(|flag| {
        let rest = word.strip_prefix(flag)?;
        Some((*flag, Some(rest).filter(|rest| !rest.is_empty())))
    })
}

/// The values of these flags.
fn values<'a>(words: &'a [String], flags: &[&'static str]) -> Vec<&'a str> {
    let mut out = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if let Some((_, joined)) = split(word, flags) {
            out.extend(joined.or_else(|| words.next().map(String::as_str)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn what_is_included_is_found_and_laid_where_this_machine_has_it_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for (name, text) in [
            ("a/near.h", "# include \"sub/deep.h\"\n"),
            ("a/sub/deep.h", "#include <far.h>\n"),
            ("b/far.h", "int far;\n"),
            ("b/unused.h", "int unused;\n"),
        ] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::write(root.join(name), text).unwrap();
        }
        let cflags = flags(&format!("-DX -I{}", root.join("b").display()));
        let files =
            Files::of("#include \"near.h\"\n#include <linux/sched.h>\n", Some(&root.join("a")), &cflags);
        let names: Vec<_> =
            files.texts.keys().map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a/near.h", "a/sub/deep.h", "b/far.h"]);

        let cache = Cache::open();
        assert!(files.clone().lay(&cache).unwrap().is_none(), "all are here already");
        std::fs::remove_file(root.join("b/far.h")).unwrap();
        let overlay = files.lay(&cache).unwrap().unwrap();
        let own = overlay.dir(&root.join("b"));
        assert_eq!(std::fs::read_to_string(own.join("far.h")).unwrap(), "int far;\n");
        let b = root.join("b").display().to_string();
        assert_eq!(overlay.flags(&cflags), ["-DX", "-I", own.to_str().unwrap(), "-I", b.as_str()]);
        assert_eq!(overlay.names(None, &cflags)[0], (format!("{}/", own.display()), format!("{b}/")));
    }

    #[test]
    fn nothing_is_written_outside() {
        for path in ["/a/../../etc/passwd", "relative"] {
            let texts = [(PathBuf::from(path), "text".to_owned())].into_iter().collect();
            let files = Files { cwd: "/".into(), texts };
            assert!(matches!(files.lay(&Cache::open()), Err(CompileError::Host { .. })), "{path}");
        }
    }
}
