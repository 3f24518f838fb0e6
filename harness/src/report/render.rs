//! A diagnostic in the style of compilers.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, SourceLine};

impl Diagnostic {
    /// The whole story: title, C line, callers, notes, disassembly, registers, help. Many lines, ending without a
    /// newline.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let title = Level::ERROR.primary_title(self.message.as_str()).id(self.id);
        let listing = self.listing();
        let mut group = Group::with_title(title);
        let mut lines = Vec::new();
        if let Some(source) = &self.source {
            lines.push((source, AnnotationKind::Primary, "here".to_owned()));
        }
        for caller in &self.callers {
            if let Some(source) = &caller.source {
                let label = match caller.function.as_str() {
                    "" => "called here".to_owned(),
                    function => format!("called from '{function}'"),
                };
                lines.push((source, AnnotationKind::Context, label));
            }
        }
        for (source, kind, label) in &lines {
            if source.file.is_empty() {
                let text = format!("the C line is: {}", source.text.trim());
                group = group.element(Level::NOTE.message(text));
                continue;
            }
            // Compilers that do not find the source file note the place without its text.
            group = if source.text.trim().is_empty() {
                let origin = Origin::path(source.file.as_str()).line(source.line as usize);
                group.element(origin.char_column(source.col.max(1) as usize))
            } else {
                group.element(snippet(source, *kind, label))
            };
        }
        if self.source.is_none() && !self.disassembly.is_empty() {
            group = group.element(
                Level::NOTE.message("the object has no line information here; instructions instead"),
            );
        }
        group = group.element(Level::NOTE.message(self.place()));
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if !self.disassembly.is_empty() {
            group = group.element(Level::NOTE.message(listing.as_str()));
        }
        // The frame pointer of a run is never zero.
        if self.regs != [0; 11] {
            group = group.element(Level::NOTE.message(self.registers()));
        }
        if let Some(help) = self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }

    /// Whether an instruction is meant: the verifier refuses programs also as a whole.
    pub(crate) fn has_place(&self) -> bool {
        self.source.is_some() || !self.disassembly.is_empty()
    }

    fn place(&self) -> String {
        let mut out = format!("in program '{}'", self.program);
        if self.has_place() {
            out.push_str(&format!(", instruction {}", self.insn));
        }
        if !self.function.is_empty() && self.function != self.program {
            out.push_str(&format!(", function '{}'", self.function));
        }
        for caller in &self.callers {
            match caller.function.as_str() {
                "" => out.push_str(&format!(", called at {}", caller.insn)),
                function => out.push_str(&format!(", called from '{function}' at {}", caller.insn)),
            }
        }
        out
    }

    fn listing(&self) -> String {
        let mut out = "instructions:".to_owned();
        for (slot, text) in &self.disassembly {
            let mark = if *slot == self.insn { '>' } else { ' ' };
            out.push_str(&format!("\n{mark}{slot:4}: {text}"));
        }
        out
    }

    fn registers(&self) -> String {
        let mut out = "registers:".to_owned();
        for (i, r) in self.regs.iter().enumerate() {
            out.push_str(if i % 4 == 0 { "\n " } else { "  " });
            out.push_str(&format!("r{i}={r:#x}"));
        }
        out
    }
}

fn snippet<'a>(
    source: &'a SourceLine,
    kind: AnnotationKind,
    label: &'a str,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let len = source.text.len();
    let from = (source.col.saturating_sub(1) as usize).min(len);
    let from = (0..=from).rev().find(|i| source.text.is_char_boundary(*i)).unwrap_or(0);
    // Without a column, or with one in the margin, the whole text of the line is meant.
    let from = from.max(source.text.len() - source.text.trim_start().len()).min(len);
    let to = source.text.trim_end().len().max(from);
    let annotation = kind.span(from..to).label(label);
    Snippet::source(source.text.as_str())
        .line_start(source.line as usize)
        .path(source.file.as_str())
        .annotation(annotation)
}
