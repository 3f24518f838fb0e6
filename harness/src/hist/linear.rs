//! One row per slot (bcc's `_print_linear_hist`).

use super::{LINEAR_SLOTS, Slot, dense, stars};

/// A table of slots as bcc's `print_linear_hist` prints it. Empty if nothing was counted.
#[must_use]
pub fn linear(slots: impl IntoIterator<Item = Slot>, val_type: &str) -> String {
    linear_rows(slots, val_type, false)
}

/// As [`linear`]; with `strip`, rows in front of the first that counts something are left out.
pub(super) fn linear_rows(slots: impl IntoIterator<Item = Slot>, val_type: &str, mut strip: bool) -> String {
    let counts = dense(slots, LINEAR_SLOTS);
    let max = counts.max();
    let mut out = String::new();
    let Some(last) = counts.last() else { return out };
    out.push_str(&format!("     {val_type:<13} : count     distribution\n"));
    for i in 0..=last {
        let count = counts.get(i);
        if strip && count == 0 {
            continue;
        }
        strip = false;
        out.push_str(&format!("        {i:<10} : {count:<8} |{}|\n", stars(count, max, 40)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::linear;

    #[test]
    fn rows_from_zero() {
        let text = linear([(0, 3), (4, 19), (8, 4), (16, 2)], "kbytes");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 18);
        assert_eq!(lines[0], "     kbytes        : count     distribution");
        assert_eq!(lines[1], "        0          : 3        |******                                  |");
        for (slot, stars) in [(0, 6), (4, 40), (8, 8), (16, 4), (1, 0)] {
            assert_eq!(lines[slot + 1].matches('*').count(), stars, "slot {slot}");
        }
    }

    #[test]
    fn nothing_to_print() {
        assert_eq!(linear([], "x"), "");
    }
}
