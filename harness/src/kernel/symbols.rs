//! The kernel's symbols: `/proc/kallsyms`, read when somebody asks.
//!
//! It has a few hundred thousand lines and most tests want one of them, so it is kept as the text that it is and searched.
//! The kernel proper comes first, sorted by address (`kallsyms_addresses`), then modules.

use std::sync::{Arc, OnceLock};

use crate::symbols::Resolved;

/// Functions that kprobes may be attached to, where the kernel lists them.
const TRACEABLE: [&str; 2] = [
    "/sys/kernel/tracing/available_filter_functions",
    "/sys/kernel/debug/tracing/available_filter_functions",
];

/// The symbols of the running kernel. All tests of a process share what was read: it changes only with modules.
#[derive(Debug, Default)]
pub(super) struct Kallsyms;

static TEXT: OnceLock<String> = OnceLock::new();

impl Kallsyms {
    fn table(&self) -> Table<'static> {
        static TABLE: OnceLock<Table<'static>> = OnceLock::new();
        let text = || TEXT.get_or_init(|| std::fs::read_to_string("/proc/kallsyms").unwrap_or_default());
        *TABLE.get_or_init(|| Table::new(text()))
    }

    pub(super) fn resolve(&self, addr: u64) -> Resolved {
        match self.table().at(addr) {
            Some(line) => Resolved {
                name: Some(line.name.to_owned()),
                offset: addr - line.addr,
                module: Some(line.module.unwrap_or("kernel").to_owned()),
            },
            None => Resolved { offset: addr, ..Resolved::default() },
        }
    }

    pub(super) fn address(&self, name: &str) -> Option<u64> {
        self.table().named(name).map(|line| line.addr)
    }

    /// The functions that a pattern means: those that the kernel lists as traceable, else all. Read once.
    pub(super) fn probed(&self) -> Arc<[String]> {
        static NAMES: OnceLock<Arc<[String]>> = OnceLock::new();
        let names = || traceable().unwrap_or_else(|| self.functions()).into();
        Arc::clone(NAMES.get_or_init(names))
    }

    fn functions(&self) -> Vec<String> {
        let functions =
            self.table().text.lines().filter_map(Line::parse).filter(|l| l.is_text() && l.module.is_none());
        functions.map(|l| l.name.to_owned()).collect()
    }
}

/// The text, and where modules begin in it.
#[derive(Clone, Copy, Debug)]
struct Table<'a> {
    text: &'a str,
    /// Symbols of the kernel proper whose addresses ascend: those of CPUs' own memory, which begin with zeros, come first.
    sorted: &'a str,
    modules: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line<'a> {
    addr: u64,
    kind: u8,
    name: &'a str,
    module: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let addr = u64::from_str_radix(words.next()?, 16).ok()?;
        let kind = *words.next()?.as_bytes().first()?;
        let name = words.next()?;
        let module = words.next().map(|m| m.trim_matches(['[', ']']));
        Some(Self { addr, kind, name, module })
    }

    const fn is_text(&self) -> bool {
        matches!(self.kind, b't' | b'T' | b'w' | b'W')
    }
}

impl<'a> Table<'a> {
    fn new(text: &'a str) -> Self {
        let line_start = |at: usize| text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |n| n + 1);
        // Modules' names stand in brackets; a kernel without modules has none.
        let modules = text.find("\t[").map_or(text.len(), line_start);
        let kernel = text.get(..modules).unwrap_or_default();
        let first = if kernel.starts_with('f') { 0 } else { kernel.find("\nf").map_or(0, |n| n + 1) };
        let (sorted, modules) =
            (kernel.get(first..).unwrap_or_default(), text.get(modules..).unwrap_or_default());
        Self { text, sorted, modules }
    }

    fn named(&self, name: &str) -> Option<Line<'a>> {
        let wanted = format!(" {name}");
        let ends = |at: &usize| {
            let next = self.text.as_bytes().get(at + wanted.len());
            next.is_none_or(|b| matches!(b, b'\n' | b'\t'))
        };
        let at = self.text.match_indices(&wanted).map(|(at, _)| at).find(ends)?;
        let start = self.text.get(..at)?.rfind('\n').map_or(0, |n| n + 1);
        Line::parse(self.text.get(start..)?.lines().next()?)
    }

    /// The function at an address: the last one that starts at or before it. Of several names of one place the first, as
    /// the kernel itself shows it.
    fn at(&self, addr: u64) -> Option<Line<'a>> {
        let of_modules =
            self.modules.lines().filter_map(Line::parse).filter(|l| l.is_text() && l.addr <= addr);
        let module = of_modules.max_by_key(|l| l.addr);
        let kernel = self.in_kernel(addr);
        match (kernel, module) {
            (Some(k), Some(m)) => Some(if m.addr > k.addr { m } else { k }),
            (k, m) => k.or(m),
        }
        .filter(|l| l.addr != 0)
    }

    fn in_kernel(&self, addr: u64) -> Option<Line<'a>> {
        let text = self.sorted;
        // Invariant: lines that start before `low` are at or before the address, those from `high` on are behind it.
        let (mut low, mut high) = (0, text.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let start = text.get(low..middle)?.rfind('\n').map_or(low, |n| low + n + 1);
            let line = text.get(start..)?.lines().next()?;
            match Line::parse(line) {
                Some(l) if l.addr > addr => high = start,
                _ => low = (start + line.len() + 1).min(high),
            }
        }
        let before = text.get(..low)?.lines().rev().filter_map(Line::parse).find(Line::is_text)?;
        let same =
            text.get(..low)?.lines().rev().filter_map(Line::parse).take_while(|l| l.addr >= before.addr);
        same.filter(|l| l.is_text() && l.addr == before.addr).last()
    }
}

/// The functions that the function tracer knows, which are those that a pattern should mean.
fn traceable() -> Option<Vec<String>> {
    let text = TRACEABLE.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    let kernel = text.lines().filter(|l| !l.contains(" ["));
    let names: Vec<String> = kernel.filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect();
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Line, Table};

    const TEXT: &str = "0000000000000000 A percpu\nffff0010 T vfs_read\nffff0010 t alias\nffff0020 d data\nffff0040 t g\n\
                        ffff1000 t f\t[xfs]\n";

    #[test]
    fn lines_become_symbols() {
        let table = Table::new(TEXT);
        let name = |addr| table.at(addr).map(|l| (l.name, l.module, addr - l.addr));
        assert_eq!(name(0xffff_0010), Some(("vfs_read", None, 0)));
        assert_eq!(name(0xffff_002f), Some(("vfs_read", None, 0x1f)), "data is no function");
        assert_eq!(name(0xffff_0041), Some(("g", None, 1)));
        assert_eq!(name(0xffff_1004), Some(("f", Some("xfs"), 4)));
        assert_eq!(name(0x10), None);
        assert_eq!(table.named("data").map(|l| l.addr), Some(0xffff_0020));
        assert_eq!(table.named("f").map(|l| l.addr), Some(0xffff_1000));
        assert_eq!(table.named("vfs"), None, "a part of a name");
    }

    proptest! {
        #[test]
        fn the_search_finds_what_a_walk_finds(gaps in proptest::collection::vec(0u64..9, 0..40), at in 0u64..400) {
            let mut addr = 0xffff_0000;
            let mut text = String::new();
            for (i, gap) in gaps.iter().enumerate() {
                addr += gap;
                text += &format!("{addr:x} {} f{i}\n", if gap % 3 == 0 { 'd' } else { 't' });
            }
            let addr = 0xffff_0000 + at;
            let lines: Vec<_> = text.lines().filter_map(Line::parse).filter(|l| l.is_text()).collect();
            let last = lines.iter().filter(|l| l.addr <= addr).map(|l| l.addr).max();
            let expected = lines.iter().find(|l| Some(l.addr) == last);
            prop_assert_eq!(Table::new(&text).at(addr), expected.copied());
        }

        #[test]
        fn no_text_is_too_strange(text in "[ -~\n\t]{0,200}", addr: u64) {
            let table = Table::new(&text);
            let _ = (table.at(addr), table.named("f"));
        }
    }
}
