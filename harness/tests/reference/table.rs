//! The project's `REFERENCE.md` and these tests name the same rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::simulator_only;

/// How many rows the guide has here.
const ROWS: u32 = 51;

/// The rows of the table: number, and the cells behind it.
fn rows(text: &str) -> BTreeMap<u32, Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect()
    };
    let lines = text.lines().filter(|l| l.starts_with("| "));
    lines
        .filter_map(|l| {
            let cells = cells(l);
            Some((cells.first()?.parse().ok()?, cells.get(1..)?.to_vec()))
        })
        .collect()
}

/// How many tests of a file are not for the simulator alone.
fn on_both_tiers(source: &str) -> usize {
    let tests = source.split("#[test]").skip(1);
    tests.filter(|test| !test.split("\n}\n").next().unwrap_or(test).contains("if simulator_only(")).count()
}

#[test]
fn tests_of_one_tier_are_told_from_others() {
    let both = "#[test]\nfn a() {\n    work();\n}\n";
    let one = "#[test]\nfn b() {\n    if simulator_only(WHY) {\n        return;\n    }\n}\n";
    let helper = "fn c() {\n    if simulator_only(WHY) {}\n}\n";
    assert_eq!([both, one].map(on_both_tiers), [1, 0]);
    assert_eq!(on_both_tiers(&format!("{one}{both}{helper}")), 1);
}

#[test]
fn every_row_names_a_test_that_exists_and_every_test_has_its_row() {
    if simulator_only("it reads the sources, which a guest does not have") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("../REFERENCE.md")).unwrap();
    let rows = rows(&table);
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=ROWS).collect::<Vec<_>>());
    let tests = root.join("tests/reference");
    let mut named = BTreeSet::new();
    for (number, cells) in &rows {
        let [_, test, simulator, kernel] = cells.as_slice() else {
            panic!("row {number} has {} cells behind its number, not 4", cells.len());
        };
        let test = test.trim_matches('`').to_owned();
        assert!(test.starts_with(&format!("r{number:02}_")), "row {number} names {test}");
        let source = std::fs::read_to_string(tests.join(format!("{test}.rs")));
        let source = source.unwrap_or_else(|e| panic!("row {number}: {test}.rs: {e}"));
        assert!(source.contains("#[test]"), "row {number}: {test}.rs has no test");
        assert_eq!(simulator, "yes", "row {number}");
        assert!(kernel == "yes" || kernel.starts_with("since "), "row {number}: {kernel}");
        assert!(
            on_both_tiers(&source) > 0,
            "row {number}: all tests of {test}.rs are for the simulator only"
        );
        named.insert(test);
    }
    let modules = include_str!("main.rs").lines();
    let modules = modules.filter_map(|l| l.strip_prefix("mod ")?.strip_suffix(';')).map(str::to_owned);
    let modules: BTreeSet<String> =
        modules.filter(|m| m.starts_with('r') && m[1..3].parse::<u32>().is_ok()).collect();
    assert_eq!(modules, named);
}
