//! What two tiers do not agree on.

use serde::Serialize;

use super::{Facts, Group, Run};

/// What came of a comparison.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Where the tiers differ.
    pub differences: Vec<Difference>,
    /// What both agree on, as `program: heading`.
    pub agreed: Vec<String>,
    /// What could not be compared, and why.
    pub not_compared: Vec<String>,
}

/// One thing that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The program or scenario.
    pub group: String,
    /// What of it: `runs`, `map counts`, `records of events`, `trace`, `output`.
    pub what: String,
    /// Lines of the one tier.
    pub left: Vec<String>,
    /// Lines of the other one.
    pub right: Vec<String>,
}

/// Compares what two tiers give; `ignore` has headings, or names of maps, that need not be the same.
#[must_use]
pub fn compare(left: &Facts, right: &Facts, ignore: &[String]) -> Report {
    let mut report = Report::default();
    for a in &left.groups {
        match right.groups.iter().find(|b| b.name == a.name) {
            Some(b) => group(a, b, ignore, &mut report),
            None => report.not_compared.push(only(&a.name, "left")),
        }
    }
    for b in &right.groups {
        if !left.groups.iter().any(|a| a.name == b.name) {
            report.not_compared.push(only(&b.name, "right"));
        }
    }
    report
}

fn only(name: &str, which: &str) -> String {
    format!("{name}: only the tier on the {which} has anything of this name")
}

fn group(a: &Group, b: &Group, ignore: &[String], report: &mut Report) {
    if let Some(why) = a.not_run.as_ref().or(b.not_run.as_ref()) {
        report.not_compared.push(format!("{}: {why}", a.name));
        return;
    }
    let (left, right) = runs(&a.runs, &b.runs);
    let mut parts = vec![("runs".to_owned(), left, right)];
    let mut titles: Vec<&str> = a.sections.iter().map(|s| s.title.as_str()).collect();
    for section in &b.sections {
        if !titles.contains(&section.title.as_str()) {
            titles.push(&section.title);
        }
    }
    for title in titles {
        let lines = |g: &Group| {
            let found = g.sections.iter().find(|s| s.title == title);
            found.map(|s| s.lines.clone()).unwrap_or_default()
        };
        parts.push((title.to_owned(), lines(a), lines(b)));
    }
    for (what, left, right) in parts {
        if ignored(&what, ignore) {
            continue;
        }
        if left == right {
            report.agreed.push(format!("{}: {what}", a.name));
        } else {
            report.differences.push(Difference { group: a.name.clone(), what, left, right });
        }
    }
}

fn ignored(what: &str, ignore: &[String]) -> bool {
    let name = what.strip_prefix("map ").or(what.strip_prefix("records of ")).unwrap_or(what);
    ignore.iter().any(|i| i == what || i == name)
}

/// Runs as lines, where both tiers say only what both know.
fn runs(left: &[Run], right: &[Run]) -> (Vec<String>, Vec<String>) {
    let pairs = left.len().max(right.len());
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for i in 0..pairs {
        let (l, r) = (left.get(i), right.get(i));
        let both = |known: fn(&Run) -> bool| l.is_some_and(known) && r.is_some_and(known);
        // A run that did not return is not the same as one whose result is not told.
        let stopped = l.is_some_and(|r| r.stopped.is_some()) || r.is_some_and(|r| r.stopped.is_some());
        let ret = stopped || both(|r| r.ret.is_some());
        let packet = both(|r| r.packet.is_some());
        a.extend(l.map(|run| line(run, ret, packet)));
        b.extend(r.map(|run| line(run, ret, packet)));
    }
    (a, b)
}

fn line(run: &Run, ret: bool, packet: bool) -> String {
    let mut line = match (&run.stopped, run.ret.filter(|_| ret)) {
        (Some(stopped), _) => format!("{}: {stopped}", run.program),
        (None, Some(ret)) => format!("{} returned {}", run.program, ret.cast_signed()),
        (None, None) => format!("{} returned", run.program),
    };
    if let Some(bytes) = run.packet.as_ref().filter(|_| packet) {
        line.push_str(&format!(", packet {bytes}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{Report, compare};
    use crate::diff::{Facts, Group, Run, Section};

    fn facts(runs: Vec<Run>, sections: &[(&str, &[&str])]) -> Facts {
        let section = |(title, lines): &(&str, &[&str])| Section {
            title: (*title).to_owned(),
            lines: lines.iter().map(|l| (*l).to_owned()).collect(),
        };
        let sections = sections.iter().map(section).collect();
        let group = Group { name: "p".to_owned(), not_run: None, runs, sections };
        Facts { groups: vec![group], cpus: None }
    }

    fn run(ret: Option<u32>, stopped: Option<&str>) -> Run {
        Run { program: "p".to_owned(), stopped: stopped.map(str::to_owned), ret, packet: None }
    }

    fn headings(report: &Report) -> Vec<&str> {
        report.differences.iter().map(|d| d.what.as_str()).collect()
    }

    #[test]
    fn a_result_that_one_tier_does_not_tell_is_no_difference() {
        let cases = [
            (run(Some(1), None), run(None, None), false),
            (run(Some(1), None), run(Some(1), None), false),
            (run(Some(1), None), run(Some(2), None), true),
            (run(None, Some("fault: x")), run(None, None), true),
        ];
        for (a, b, differs) in cases {
            let report = compare(&facts(vec![a.clone()], &[]), &facts(vec![b.clone()], &[]), &[]);
            assert_eq!(!report.differences.is_empty(), differs, "{a:?} {b:?}");
        }
    }

    #[test]
    fn what_only_one_tier_has_made_is_told_of_whichever_it_is() {
        let named = |names: &[&str]| Facts {
            groups: names.iter().map(|n| Group { name: (*n).to_owned(), ..Group::default() }).collect(),
            cpus: None,
        };
        let report = compare(&named(&["a", "b"]), &named(&["b", "c", "d"]), &[]);
        let told: Vec<&str> = report.not_compared.iter().filter_map(|l| l.split(" has").next()).collect();
        assert_eq!(
            told,
            [
                "a: only the tier on the left",
                "c: only the tier on the right",
                "d: only the tier on the right"
            ]
        );
        assert_eq!((report.agreed, report.differences), (vec!["b: runs".to_owned()], vec![]));
    }

    #[test]
    fn what_only_one_tier_has_differs_unless_it_is_ignored() {
        let a = facts(vec![run(Some(0), None)], &[("map start", &["1: 2"]), ("trace", &["x"])]);
        let b = facts(vec![run(Some(0), None)], &[("trace", &["x"]), ("records of events", &["y"])]);
        assert_eq!(headings(&compare(&a, &b, &[])), ["map start", "records of events"]);
        assert_eq!(headings(&compare(&a, &b, &["start".to_owned()])), ["records of events"]);
        let mut refused = b.clone();
        refused.groups[0].not_run = Some("why".to_owned());
        let report = compare(&a, &refused, &[]);
        assert_eq!((report.differences.len(), report.not_compared), (0, vec!["p: why".to_owned()]));
    }
}
