//! The report as a table.

use std::fmt::Write;

use super::{Place, Row, Verdict};

/// Headings of the numbers.
const NUMBERS: [&str; 7] = ["insns", "states", "peak", "max/insn", "stack", "xlated", "jited"];

/// A table for each object: a line for each program on each kernel, and under each program the reasons of its refusals,
/// with the kernels that have them. Rows are those of a report, sorted.
#[must_use]
pub fn table(rows: &[&Row]) -> String {
    let mut out = String::new();
    for of_object in rows.chunk_by(|a, b| a.object == b.object) {
        let Some(first) = of_object.first() else { continue };
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&first.object);
        out.push('\n');
        object(of_object, &mut out);
    }
    out
}

fn object(rows: &[&Row], out: &mut String) {
    let heading: Vec<String> =
        ["program", "kernel", "verdict"].into_iter().chain(NUMBERS).map(str::to_owned).collect();
    let cells: Vec<Vec<String>> = rows.iter().map(|row| cells(row)).collect();
    let with_programs = rows.iter().any(|row| !row.program.is_empty());
    let width = |column: usize| {
        let all = cells.iter().chain(std::iter::once(&heading));
        all.filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    if with_programs {
        line(&heading, &widths, out);
    }
    let mut at = 0;
    for of_program in rows.chunk_by(|a, b| a.program == b.program) {
        for (n, cells) in cells.iter().skip(at).take(of_program.len()).enumerate() {
            let mut cells = cells.clone();
            if let Some(name) = cells.first_mut().filter(|_| n > 0) {
                name.clear();
            }
            if with_programs {
                line(&cells, &widths, out);
            }
        }
        at += of_program.len();
        reasons(of_program, out);
    }
}

fn cells(row: &Row) -> Vec<String> {
    let c = &row.counts;
    let verdict = match row.verdict {
        Verdict::Accepted => "accepted",
        Verdict::Refused => "refused",
        Verdict::NotLoaded => "not loaded",
    };
    let long = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let short = |n: Option<u32>| long(n.map(u64::from));
    vec![
        row.program.clone(),
        row.kernel.clone(),
        verdict.to_owned(),
        long(c.insns_processed),
        long(c.total_states),
        long(c.peak_states),
        long(c.max_states_per_insn),
        long(c.stack_depth),
        short(c.xlated_bytes),
        short(c.jited_bytes),
    ]
}

/// Words to the left, numbers to the right.
fn line(cells: &[String], widths: &[usize], out: &mut String) {
    let mut text = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let _ = if column < 3 { write!(text, "  {cell:<width$}") } else { write!(text, "  {cell:>width$}") };
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

/// What was said, once for all kernels that said it.
fn reasons(rows: &[&Row], out: &mut String) {
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for row in rows.iter().filter(|row| row.verdict != Verdict::Accepted) {
        let text = reason(row);
        match said.iter_mut().find(|(known, _)| *known == text) {
            Some((_, kernels)) => kernels.push(&row.kernel),
            None => said.push((text, vec![&row.kernel])),
        }
    }
    for (text, kernels) in said {
        let _ = writeln!(out, "    {}: {text}", kernels.join(", "));
    }
}

fn reason(row: &Row) -> String {
    let mut text = row.message.clone();
    if !row.error.is_empty() && row.verdict == Verdict::NotLoaded {
        let _ = write!(text, " ({})", row.error);
    }
    match (&row.source, row.insn) {
        (Some(Place { file, line, text: c }), _) if !file.is_empty() => {
            let _ = write!(text, "\n      at {file}:{line}: {c}");
        }
        (Some(place), Some(insn)) => {
            let _ = write!(text, "\n      at instruction {insn}: {}", place.text);
        }
        (None, Some(insn)) => {
            let _ = write!(text, "\n      at instruction {insn}");
        }
        _ => {}
    }
    if row.truncated {
        text.push_str("\n      the log is longer than 64 MiB; its end is missing");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Place, Row, Verdict, table};

    fn row(program: &str, kernel: &str) -> Row {
        let mut row = Row::new(kernel, "a.o", program, "kprobe");
        row.counts.insns_processed = Some(12);
        row.counts.total_states = Some(3);
        row
    }

    fn refused(program: &str, kernel: &str, message: &str) -> Row {
        let mut row = row(program, kernel);
        row.verdict = Verdict::Refused;
        row.message = message.to_owned();
        row.insn = Some(7);
        row.source = Some(Place { file: "a.bpf.c".to_owned(), line: 9, text: "return *v;".to_owned() });
        row
    }

    #[test]
    fn a_reason_is_said_once_for_all_kernels_that_gave_it() {
        let mut accepted = row("fine", "6.12");
        accepted.verdict = Verdict::Accepted;
        accepted.counts.jited_bytes = Some(100);
        let mut missing = row("gone", "6.12");
        missing.error = "ESRCH".to_owned();
        missing.message = "prog 'gone': failed to find kernel BTF type".to_owned();
        let rows = [
            accepted,
            missing,
            refused("wrong", "5.10", "R0 invalid mem access 'inv'"),
            refused("wrong", "6.1", "R0 invalid mem access 'scalar'"),
            refused("wrong", "6.12", "R0 invalid mem access 'scalar'"),
            Row { object: "b.o".to_owned(), ..Row::of_object("6.12", "", "not an ELF file".to_owned()) },
        ];
        let rows: Vec<&Row> = rows.iter().collect();
        assert_eq!(
            table(&rows),
            "\
a.o
  program  kernel  verdict     insns  states  peak  max/insn  stack  xlated  jited
  fine     6.12    accepted       12       3                                   100
  gone     6.12    not loaded     12       3
    6.12: prog 'gone': failed to find kernel BTF type (ESRCH)
  wrong    5.10    refused        12       3
           6.1     refused        12       3
           6.12    refused        12       3
    5.10: R0 invalid mem access 'inv'
      at a.bpf.c:9: return *v;
    6.1, 6.12: R0 invalid mem access 'scalar'
      at a.bpf.c:9: return *v;

b.o
    6.12: not an ELF file
"
        );
    }
}
