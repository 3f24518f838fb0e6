//! What is put out of a text's way when it does not compile at first.

use std::collections::BTreeSet;

use super::super::output::{Message, errors};
use super::compile::Text;
use super::kernel::BccKernel;
use super::{shims, tracepoints};

/// What attempts so far have found.
#[derive(Clone, Default, Debug)]
pub(super) struct Fixes {
    /// Names of the kernel that the text defines itself.
    renamed: Vec<String>,
    /// Headers that the text's own headers include.
    shims: BTreeSet<String>,
    /// Tracepoints whose names macros made.
    tracepoints: BTreeSet<(String, String)>,
    /// Macros of the dialect that are in the way.
    undefined: BTreeSet<String>,
    /// What clang said before they went.
    before: Option<String>,
    /// The text with fewer parameters.
    rewritten: Option<String>,
}

impl Fixes {
    pub(super) fn renamed(&self) -> &[String] {
        &self.renamed
    }

    pub(super) fn shims(&self) -> impl Iterator<Item = &str> {
        self.shims.iter().map(String::as_str)
    }

    pub(super) fn tracepoints(&self) -> &BTreeSet<(String, String)> {
        &self.tracepoints
    }

    pub(super) fn rewritten(&self) -> Option<&str> {
        self.rewritten.as_deref()
    }

    /// The macros of the dialect that the text uses as names of its own, undefined.
    pub(super) fn undefined(&self) -> String {
        self.undefined.iter().map(|name| format!("#undef {name}\n")).collect()
    }

    /// What clang said when only what is certain was out of the text's way.
    pub(super) fn diagnostics(&self, last: String) -> String {
        self.before.clone().unwrap_or(last)
    }

    /// Sets the text with fewer parameters; `false` if there is one already.
    pub(super) fn rewrite(&mut self, text: Option<String>) -> bool {
        let new = text.is_some() && self.rewritten.is_none();
        self.rewritten = self.rewritten.take().or(text);
        new
    }

    /// Finds what can be done about errors; `false` if nothing new can.
    pub(super) fn learn(&mut self, diagnostics: &str, text: &Text, kernel: &BccKernel) -> bool {
        let mut new = false;
        for message in errors(diagnostics) {
            new |= self.shim(message);
            new |= self.tracepoint(message, kernel);
        }
        for name in redefined(diagnostics, text.text()) {
            if !self.renamed.contains(&name) {
                self.renamed.push(name);
                new = true;
            }
        }
        if !new {
            new = self.macros(diagnostics);
        }
        new
    }

    /// A text may have functions or enumerators that are macros in the dialect's stand-ins for the kernel's headers. That
    /// is a guess, so it comes last.
    fn macros(&mut self, diagnostics: &str) -> bool {
        const FILES: [&str; 3] = ["bcc/base.h:", "bcc/kernel_inline.h:", "bcc/constants.h:"];
        let notes = diagnostics.lines().filter(|l| FILES.iter().any(|f| l.starts_with(f)));
        let names = notes.filter_map(|l| l.split_once("note: expanded from macro '")?.1.split('\'').next());
        let names: Vec<String> = names.filter(|n| !n.starts_with("__BCC")).map(str::to_owned).collect();
        let before = self.undefined.len();
        self.undefined.extend(names);
        let new = self.undefined.len() > before;
        if new {
            self.before.get_or_insert_with(|| diagnostics.to_owned());
        }
        new
    }

    fn shim(&mut self, message: Message<'_>) -> bool {
        let missing = message.text.ends_with("file not found").then(|| message.quoted().next()).flatten();
        missing.is_some_and(|name| shims::is_shimmed(name) && self.shims.insert(name.to_owned()))
    }

    fn tracepoint(&mut self, message: Message<'_>, kernel: &BccKernel) -> bool {
        let mut new = false;
        for word in message.quoted().flat_map(|q| q.split(' ')) {
            for (category, event) in tracepoints::named(word) {
                if (kernel.tracepoints)(&category, &event).is_some() {
                    new |= self.tracepoints.insert((category, event));
                }
            }
        }
        new
    }

    /// What may be behind errors that stay.
    pub(super) fn notes(&self, diagnostics: &str, text: &str, kernel: &BccKernel) -> Vec<String> {
        let mut notes = Vec::new();
        for (category, event) in tracepoints::mentioned(text) {
            let name = format!("tracepoint__{category}__{event}");
            if diagnostics.contains(&name) && (kernel.tracepoints)(&category, &event).is_none() {
                notes.push(format!("the kernel profile has no tracepoint {category}:{event}"));
            }
        }
        if errors(diagnostics).any(|m| m.text.starts_with("no member named")) {
            let (major, minor) = (kernel.version >> 16, kernel.version >> 8 & 0xff);
            notes.push(format!(
                "structures are those of the kernel profile, Linux {major}.{minor}: a member that other kernels have \
                 needs the profile of such a kernel"
            ));
        }
        notes
    }
}

/// The names that the text defines although the kernel's types came first: clang points at both places.
fn redefined(diagnostics: &str, text: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut lines = diagnostics.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((place, message)) = line.split_once(": error: ") else { continue };
        let is_clash =
            ["redefinition", "conflicting types", "does not match previous", "redeclared", "follows"]
                .iter()
                .any(|words| message.contains(words));
        // The lines of this error: up to the next one.
        let mut theirs = false;
        while let Some(next) = lines.next_if(|l| !l.contains(": error: ")) {
            theirs |= next.contains("vmlinux.h:") && next.contains(": note: previous");
        }
        if is_clash && theirs {
            let quoted = Message { text: message }.quoted().next().filter(|q| is_identifier(q));
            out.extend(
                quoted
                    .filter(|_| !message.starts_with("typedef"))
                    .map(str::to_owned)
                    .or_else(|| at_place(place, text)),
            );
        }
    }
    out
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The word of the text at `name:line:column`.
pub(super) fn at_place(place: &str, text: &str) -> Option<String> {
    let mut parts = place.rsplitn(3, ':');
    let column: usize = parts.next()?.parse().ok()?;
    let line: usize = parts.next()?.parse().ok()?;
    let rest = text.lines().nth(line.checked_sub(1)?)?.get(column.checked_sub(1)?..)?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    rest.get(..end).filter(|word| !word.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::redefined;

    #[test]
    fn names_that_the_kernel_has_too_are_found() {
        let text = "struct a { int x; };\ntypedef int b_t;\nstruct c {};\n";
        let diagnostics = "<text>:1:8: error: redefinition of 'a'\nstruct a { int x; };\n       ^\n\
            bcc/vmlinux.h:9:8: note: previous definition is here\nstruct a {\n       ^\n\
            <text>:2:13: error: typedef redefinition with different types ('int' vs 'long')\n\
            bcc/vmlinux.h:10:14: note: previous definition is here\n\
            <text>:3:8: error: redefinition of 'c'\n<text>:1:1: note: previous definition is here\n2 errors generated.";
        assert_eq!(redefined(diagnostics, text).into_iter().collect::<Vec<_>>(), ["a", "b_t"]);
    }
}
