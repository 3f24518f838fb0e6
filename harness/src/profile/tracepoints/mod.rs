//! Tracepoints and their records, as tracefs describes them (`events/CATEGORY/EVENT/format`).
//!
//! The bundled ones are those of Linux 6.12 on x86-64, and a few of older kernels that the reference guide uses. A
//! directory of `format` files adds to them, or takes their place.

mod bundled;
mod format;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use bundled::{Syscall, syscalls};
pub use format::{Field, Format};

use crate::error::Error;

/// Where tracefs is mounted, now and on older systems.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];

/// The tracepoints of a kernel. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracepoints {
    /// Asked from the last to the first.
    sources: Vec<Source>,
}

#[derive(Clone)]
enum Source {
    Bundled,
    /// Files `CATEGORY/EVENT/format`, read when they are asked for.
    Directory(PathBuf),
    Given(Arc<BTreeMap<(String, String), Format>>),
}

impl Tracepoints {
    /// Those of the bundled kernel.
    ///
    /// ```
    /// use bpf_harness::profile::tracepoints::Tracepoints;
    /// let format = Tracepoints::bundled().find("sched", "sched_switch").unwrap();
    /// let prev_pid = format.fields.iter().find(|f| f.name == "prev_pid").unwrap();
    /// assert_eq!((prev_pid.offset, prev_pid.size, prev_pid.signed), (24, 4, true));
    /// ```
    #[must_use]
    pub fn bundled() -> Self {
        Self { sources: vec![Source::Bundled] }
    }

    /// None at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of the running kernel, if tracefs is mounted and may be read (mostly by root only).
    #[must_use]
    pub fn of_tracefs() -> Option<Self> {
        let readable = |dir: &&&str| std::fs::read_dir(dir).is_ok_and(|mut d| d.next().is_some());
        let dir = TRACEFS.iter().find(readable)?;
        Some(Self::none().with_directory(dir))
    }

    /// With a directory of files `CATEGORY/EVENT/format`, which go before those that are there already.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.sources.push(Source::Directory(directory.into()));
        self
    }

    /// With one more, from the text of its `format` file, which goes before one that is there already.
    ///
    /// # Errors
    /// The first line of the text that is malformed.
    pub fn with_format(mut self, category: &str, text: &str) -> Result<Self, Error> {
        let format = Format::parse(category, text)?;
        let key = (format.category.clone(), format.event.clone());
        match self.sources.last_mut() {
            Some(Source::Given(given)) => {
                Arc::make_mut(given).insert(key, format);
            }
            _ => self.sources.push(Source::Given(Arc::new(BTreeMap::from([(key, format)])))),
        }
        Ok(self)
    }

    /// A tracepoint by category and name. A file that cannot be read or is malformed counts as absent.
    #[must_use]
    pub fn find(&self, category: &str, event: &str) -> Option<Format> {
        self.sources.iter().rev().find_map(|s| s.find(category, event))
    }

    /// The text of a tracepoint's `format` file, but for its number and how it is printed.
    #[must_use]
    pub fn text(&self, category: &str, event: &str) -> Option<String> {
        self.find(category, event).map(|f| f.to_string())
    }

    /// Categories and names of all, sorted.
    #[must_use]
    pub fn names(&self) -> BTreeSet<(String, String)> {
        let mut names = BTreeSet::new();
        for source in &self.sources {
            match source {
                Source::Bundled => names.extend(bundled::names()),
                Source::Directory(dir) => walk(dir, &mut names),
                Source::Given(given) => names.extend(given.keys().cloned()),
            }
        }
        names
    }
}

impl Source {
    fn find(&self, category: &str, event: &str) -> Option<Format> {
        match self {
            Self::Bundled => bundled::find(category, event),
            Self::Directory(dir) => {
                // Names are path components here, and nothing else.
                if [category, event].iter().any(|n| n.is_empty() || n.contains('/') || n.starts_with('.')) {
                    return None;
                }
                let text = std::fs::read_to_string(dir.join(category).join(event).join("format")).ok()?;
                Format::parse(category, &text).ok()
            }
            Self::Given(given) => given.get(&(category.to_owned(), event.to_owned())).cloned(),
        }
    }
}

fn walk(dir: &Path, names: &mut BTreeSet<(String, String)>) {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    for category in entries(dir) {
        for event in entries(&category.path()) {
            if event.path().join("format").is_file() {
                let name = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().into_owned();
                names.insert((name(&category), name(&event)));
            }
        }
    }
}

impl fmt::Debug for Tracepoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.sources.iter().map(|s| match s {
            Source::Bundled => "bundled".to_owned(),
            Source::Directory(dir) => dir.display().to_string(),
            Source::Given(given) => format!("{} given", given.len()),
        });
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Tracepoints;

    const TICK: &str = "name: tick\nID: 7\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
                        \tfield:u32 n;\toffset:8;\tsize:4;\tsigned:0;\n\nprint fmt: \"%u\", REC->n\n";

    #[test]
    fn a_directory_goes_before_what_is_bundled() {
        let dir = tempfile::tempdir().unwrap();
        for (category, event) in [("test", "tick"), ("sched", "sched_switch")] {
            let event = dir.path().join(category).join(event);
            std::fs::create_dir_all(&event).unwrap();
            std::fs::write(event.join("format"), TICK).unwrap();
        }
        let both = Tracepoints::bundled().with_directory(dir.path());
        assert_eq!(both.find("test", "tick").unwrap().fields.len(), 1);
        assert_eq!(both.find("sched", "sched_switch").unwrap().event, "tick");
        assert!(both.find("sched", "sched_wakeup").is_some());
        assert!(both.find("test", "../test/tick").is_none());
        assert!(both.names().contains(&("test".to_owned(), "tick".to_owned())));
        let only = Tracepoints::none().with_directory(dir.path());
        assert_eq!(only.names().len(), 2);
    }

    #[test]
    fn a_single_one_can_be_given() {
        let given = Tracepoints::bundled().with_format("a", TICK).unwrap().with_format("b", TICK).unwrap();
        assert!(given.find("a", "tick").is_some() && given.find("b", "tick").is_some());
        let error = Tracepoints::none().with_format("a", "name: x\n\tfield:int y;\tsize:4;").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
