//! The kernel's symbols: `/proc/kallsyms`, read when somebody asks.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::symbols::Resolved;

/// Functions that kprobes may be attached to, where the kernel lists them.
const TRACEABLE: [&str; 2] = [
    "/sys/kernel/tracing/available_filter_functions",
    "/sys/kernel/debug/tracing/available_filter_functions",
];

/// Symbols by address and by name. Shared by all tests of a process: a kernel's symbols move only with its modules.
#[derive(Debug, Default)]
pub(super) struct Kallsyms;

#[derive(Debug, Default)]
struct Table {
    /// Address, name, module.
    by_addr: Vec<(u64, String, Option<String>)>,
    by_name: BTreeMap<String, u64>,
    functions: Vec<String>,
}

static TABLE: OnceLock<Table> = OnceLock::new();

impl Kallsyms {
    fn table(&self) -> &'static Table {
        TABLE.get_or_init(|| Table::parse(&std::fs::read_to_string("/proc/kallsyms").unwrap_or_default()))
    }

    pub(super) fn resolve(&self, addr: u64) -> Resolved {
        let table = self.table();
        let at = table.by_addr.partition_point(|(a, ..)| *a <= addr);
        match at.checked_sub(1).and_then(|i| table.by_addr.get(i)) {
            Some((start, name, module)) if *start != 0 => Resolved {
                name: Some(name.clone()),
                offset: addr - start,
                module: Some(module.clone().unwrap_or_else(|| "kernel".to_owned())),
            },
            _ => Resolved { offset: addr, ..Resolved::default() },
        }
    }

    pub(super) fn address(&self, name: &str) -> Option<u64> {
        self.table().by_name.get(name).copied()
    }

    pub(super) fn functions(&self) -> Vec<String> {
        self.table().functions.clone()
    }
}

impl Table {
    fn parse(text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(addr), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(addr) = u64::from_str_radix(addr, 16) else { continue };
            let module = words.next().map(|m| m.trim_matches(['[', ']']).to_owned());
            let is_text = matches!(kind, "t" | "T" | "w" | "W");
            if is_text && module.is_none() {
                table.functions.push(name.to_owned());
            }
            table.by_name.entry(name.to_owned()).or_insert(addr);
            if is_text {
                table.by_addr.push((addr, name.to_owned(), module));
            }
        }
        // Of several names of one place the first is what the kernel itself shows (`kallsyms_lookup`).
        table.by_addr.sort_by_key(|(addr, ..)| *addr);
        table.by_addr.dedup_by_key(|(addr, ..)| *addr);
        table
    }
}

/// The functions that the function tracer knows, which are those that a pattern should mean.
pub(super) fn traceable() -> Option<Vec<String>> {
    let text = TRACEABLE.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    let names: Vec<String> = text
        .lines()
        .filter(|l| !l.contains(" ["))
        .filter_map(|l| l.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn lines_become_symbols() {
        let table = Table::parse(
            "ffff0010 T vfs_read\nffff0010 t alias\nffff0020 d data\nffff0030 t f\t[xfs]\nbroken\n",
        );
        assert_eq!(table.by_name.get("data"), Some(&0xffff_0020));
        assert_eq!(table.functions, ["vfs_read", "alias"]);
        let names: Vec<_> = table.by_addr.iter().map(|(_, n, m)| (n.as_str(), m.as_deref())).collect();
        assert_eq!(names, [("vfs_read", None), ("f", Some("xfs"))]);
    }
}
