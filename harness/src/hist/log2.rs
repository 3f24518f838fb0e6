//! Powers of two (bcc's `_print_log2_hist`).

use super::{LOG2_SLOTS, Slot, dense, stars};

/// A table of slots, each a power of two, as bcc's `print_log2_hist` prints it. Empty if nothing was counted above
/// slot 0 or nothing at all.
#[must_use]
pub fn log2(slots: impl IntoIterator<Item = Slot>, val_type: &str) -> String {
    log2_rows(slots, val_type, false)
}

/// As [`log2`]; with `strip`, rows in front of the first that counts something are left out.
pub(super) fn log2_rows(slots: impl IntoIterator<Item = Slot>, val_type: &str, mut strip: bool) -> String {
    let counts = dense(slots, LOG2_SLOTS);
    let max = counts.max();
    let last = counts.last().unwrap_or(0);
    let mut out = String::new();
    if last == 0 {
        return out;
    }
    let wide = last > 32;
    out.push_str(&if wide {
        format!("               {val_type:<29} : count     distribution\n")
    } else {
        format!("     {val_type:<19} : count     distribution\n")
    });
    for i in 1..=last {
        let high = (1u128 << i) - 1;
        let low = (1u128 << i) >> 1;
        let low = if low == high { low - 1 } else { low };
        let count = counts.get(i);
        if strip && count == 0 {
            continue;
        }
        strip = false;
        out.push_str(&if wide {
            format!("{low:>20} -> {high:<20} : {count:<8} |{}|\n", stars(count, max, 20))
        } else {
            format!("{low:>10} -> {high:<10} : {count:<8} |{}|\n", stars(count, max, 40))
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::log2;

    #[test]
    fn narrow_table() {
        let text = log2([(1, 3), (3, 211), (7, 1), (8, 800)], "usecs");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "     usecs               : count     distribution");
        assert_eq!(
            lines[1],
            "         0 -> 1          : 3        |                                        |"
        );
        assert_eq!(
            lines[3],
            "         4 -> 7          : 211      |**********                              |"
        );
        assert_eq!(lines[8], format!("       128 -> 255        : 800      |{}|", "*".repeat(40)));
        assert_eq!(lines.len(), 9);
    }

    #[test]
    fn wide_table_counts_slot_0_in_the_maximum() {
        let text = log2([(0, 9), (2, 1), (33, 7)], "nsecs");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "               nsecs                         : count     distribution");
        let last = lines[33];
        assert!(last.starts_with("          4294967296 -> 8589934591           : 7        |"), "{last}");
        assert_eq!(last.matches('*').count(), 15);
    }

    #[test]
    fn nothing_to_print() {
        assert_eq!(log2([], "x"), "");
        assert_eq!(log2([(0, 5)], "x"), "");
        assert_eq!(log2([(9, 0)], "x"), "");
    }
}
