//! A comparison for people: two columns.

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::{Difference, Report};

/// The width of a column.
const WIDTH: usize = 58;

/// What differs, side by side, then what could not be compared, then one line about what is the same.
#[must_use]
pub fn side_by_side(report: &Report, left: &str, right: &str) -> String {
    let mut out = String::new();
    for difference in &report.differences {
        columns(difference, left, right, &mut out);
    }
    for why in &report.not_compared {
        let why: Vec<&str> = why.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        out.push_str(&format!("not compared: {}\n", why.join("; ")));
    }
    let (same, differ) = (report.agreed.len(), report.differences.len());
    let verb = if differ == 1 { "differs" } else { "differ" };
    out.push_str(&format!("{left} and {right}: {same} the same, {differ} {verb}\n"));
    out
}

fn columns(difference: &Difference, left: &str, right: &str, out: &mut String) {
    out.push_str(&format!("{}: {}\n", difference.group, difference.what));
    row(left, ' ', right, out);
    row(&"-".repeat(left.len()), ' ', &"-".repeat(right.len()), out);
    let (a, b) = (&difference.left, &difference.right);
    let pair = |i: Option<usize>, lines: &[String]| {
        i.and_then(|i| lines.get(i)).map_or_else(String::new, Clone::clone)
    };
    for op in capture_diff_slices(Algorithm::Myers, a, b) {
        let (old, new) = (op.old_range(), op.new_range());
        for i in 0..old.len().max(new.len()) {
            let l = (i < old.len()).then_some(old.start + i);
            let r = (i < new.len()).then_some(new.start + i);
            let mark = match (op, l, r) {
                (DiffOp::Equal { .. }, ..) => ' ',
                (_, Some(_), Some(_)) => '|',
                (_, Some(_), None) => '<',
                _ => '>',
            };
            wrapped(&pair(l, a), mark, &pair(r, b), out);
        }
    }
    out.push('\n');
}

/// A row of lines that may be longer than their columns.
fn wrapped(left: &str, mark: char, right: &str, out: &mut String) {
    let pieces = |text: &str| -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        chars.chunks(WIDTH).map(|c| c.iter().collect()).collect()
    };
    let (l, r) = (pieces(left), pieces(right));
    for i in 0..l.len().max(r.len()).max(1) {
        let piece = |p: &[String]| p.get(i).cloned().unwrap_or_default();
        row(&piece(&l), mark, &piece(&r), out);
    }
}

fn row(left: &str, mark: char, right: &str, out: &mut String) {
    let pad = " ".repeat(WIDTH.saturating_sub(left.chars().count()));
    out.push_str(format!("  {left}{pad} {mark} {right}").trim_end());
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::{Difference, Report};
    use super::side_by_side;

    #[test]
    fn what_differs_stands_side_by_side() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect();
        let report = Report {
            differences: vec![Difference {
                group: "count".to_owned(),
                what: "map counts".to_owned(),
                left: lines("1: 1\n2: 5\n3: 1"),
                right: lines("1: 1\n2: 7\n3: 1\n4: 1"),
            }],
            agreed: vec!["count: runs".to_owned()],
            not_compared: vec!["other: an event that cannot\nbe made up".to_owned()],
        };
        insta::assert_snapshot!(side_by_side(&report, "simulator", "kernel 6.12"));
    }
}
