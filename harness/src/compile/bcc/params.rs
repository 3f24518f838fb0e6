//! Programs with more parameters than a BPF function may have: they are rewritten to take the context alone.
//!
//! Where what stands in the text is told by clang's own syntax tree, never by looking for patterns.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::output::errors;

/// Arguments that x86-64 and arm64 both have in registers, which is as many as bcc reads.
const MAX_ARGUMENTS: usize = 6;

/// Parameters that a BPF function may have, its context among them.
const BPF_PARAMETERS: usize = 5;

/// The functions that clang says have too many parameters; it points at their names.
pub(super) fn functions(diagnostics: &str, text: &str) -> BTreeSet<String> {
    const WORDS: [&str; 3] =
        ["stack arguments are not supported", "defined with too many args", "too many arguments"];
    let is_about = |line: &&str| errors(line).any(|m| WORDS.contains(&m.text));
    let places = diagnostics.lines().filter(is_about).filter_map(|line| line.split(": error: ").next());
    places.filter_map(|place| super::fixes::at_place(place, text)).collect()
}

/// Something to be done to the text: what to take away, and what to put there.
struct Edit {
    from: usize,
    to: usize,
    put: String,
}

/// The text with the functions of these syntax trees (`-ast-dump=json`, one after the other) taking the context alone;
/// `None` if one of them cannot be rewritten.
pub(super) fn rewrite(text: &str, trees: &str) -> Option<String> {
    let mut edits = Vec::new();
    // clang selects trees by parts of names: one may come twice.
    let mut done = BTreeSet::new();
    for tree in serde_json::Deserializer::from_str(&without_titles(trees)).into_iter::<Value>() {
        let tree = tree.ok()?;
        let has_body = nodes(&tree).any(|n| kind(n) == "CompoundStmt");
        let place = tree.get("loc").and_then(offset);
        if kind(&tree) == "FunctionDecl" && has_body && done.insert(place) {
            edits.extend(of_function(text, &tree)?);
        }
    }
    edits.sort_by_key(|e| e.from);
    let mut out = String::new();
    let mut at = 0;
    for edit in &edits {
        out += text.get(at..edit.from)?;
        out += &edit.put;
        // Lines keep their numbers.
        let gone = text.get(edit.from..edit.to)?;
        out.extend(gone.chars().filter(|c| *c == '\n'));
        at = edit.to;
    }
    out += text.get(at..)?;
    (!edits.is_empty()).then_some(out)
}

/// Two edits: the parameters go, and declarations of variables stand at the beginning of the body.
fn of_function(text: &str, function: &Value) -> Option<Vec<Edit>> {
    let name = function.get("name")?.as_str()?;
    let params: Vec<&Value> = nodes(function).filter(|n| kind(n) == "ParmVarDecl").collect();
    let (context, arguments) = params.split_first()?;
    if arguments.len() > MAX_ARGUMENTS {
        return None;
    }
    if arguments.len() < BPF_PARAMETERS {
        return Some(Vec::new());
    }
    let context_name = context.get("name")?.as_str()?;
    let body = nodes(function).find(|n| kind(n) == "CompoundStmt")?;
    let open = offset(body.get("range")?.get("begin")?)?;
    if text.get(open..open + 1) != Some("{") {
        return None;
    }
    let is_syscall =
        ["syscall__", "kprobe____x64_sys_", "kprobe____arm64_sys_"].iter().any(|p| name.starts_with(p));
    let mut put = "{".to_owned();
    let regs = if is_syscall { "__bcc_regs" } else { context_name };
    let suffix = if is_syscall { "_SYSCALL" } else { "" };
    if is_syscall {
        put += &format!(" struct pt_regs *__bcc_regs = __BCC_SYSCALL_REGS({context_name});");
    }
    for (number, argument) in (1..).zip(arguments) {
        let Some(name) = argument.get("name").and_then(Value::as_str) else { continue };
        let ty = argument.get("type")?.get("qualType")?.as_str()?;
        put += &format!(
            " __typeof__({ty}) {name} = (__typeof__({ty}))__BCC_ARGUMENT({regs}, {number}, {suffix});"
        );
    }
    Some(vec![
        Edit { from: end(context)?, to: end(arguments.last()?)?, put: String::new() },
        Edit { from: open, to: open + 1, put },
    ])
}

fn kind(node: &Value) -> &str {
    node.get("kind").and_then(Value::as_str).unwrap_or_default()
}

fn nodes(node: &Value) -> impl Iterator<Item = &Value> {
    node.get("inner").and_then(Value::as_array).into_iter().flatten()
}

/// A place in the text itself; one that macros made has other members.
fn offset(place: &Value) -> Option<usize> {
    usize::try_from(place.get("offset")?.as_u64()?).ok()
}

/// Where a node ends: behind its last token.
fn end(node: &Value) -> Option<usize> {
    let last = node.get("range")?.get("end")?;
    Some(offset(last)? + usize::try_from(last.get("tokLen")?.as_u64()?).ok()?)
}

/// The trees without the lines in between that say whose they are.
fn without_titles(trees: &str) -> String {
    trees.lines().filter(|l| !l.starts_with("Dumping ")).fold(String::new(), |all, line| all + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::{functions, rewrite};

    const TEXT: &str = "int f(struct pt_regs *ctx, int a,\n  char *b, int c, int d, int e)\n{ return a; }\n";

    /// clang's syntax tree of a function `f` in a text, with these parameters: name and type.
    fn tree(text: &str, params: &[(&str, &str)]) -> String {
        let place = |offset: usize, len: usize| format!(r#"{{"offset": {offset}, "tokLen": {len}}}"#);
        let node = |kind: &str, from: usize, to: String, rest: &str| {
            format!(r#"{{"kind": "{kind}", "range": {{"begin": {}, "end": {to}}}{rest}}}"#, place(from, 1))
        };
        let mut inner: Vec<String> = params
            .iter()
            .map(|(name, ty)| {
                let declared = format!("{ty}{}{name}", if ty.ends_with('*') { "" } else { " " });
                let from = text.find(&declared).unwrap();
                let to = place(from + declared.len() - name.len(), name.len());
                let rest = format!(r#", "name": "{name}", "type": {{"qualType": "{ty}"}}"#);
                node("ParmVarDecl", from, to, &rest)
            })
            .collect();
        inner.push(node("CompoundStmt", text.find('{').unwrap(), place(text.rfind('}').unwrap(), 1), ""));
        let inner = inner.join(",");
        format!("Dumping f:\n{{\"kind\": \"FunctionDecl\", \"name\": \"f\", \"inner\": [{inner}]}}\n")
    }

    #[test]
    fn too_many_parameters_become_variables_and_lines_stay() {
        let params = [
            ("ctx", "struct pt_regs *"),
            ("a", "int"),
            ("b", "char *"),
            ("c", "int"),
            ("d", "int"),
            ("e", "int"),
        ];
        let rewritten = rewrite(TEXT, &tree(TEXT, &params)).unwrap();
        assert!(rewritten.starts_with("int f(struct pt_regs *ctx\n)\n{ __typeof__(int) a ="), "{rewritten}");
        assert!(rewritten.ends_with(" return a; }\n"), "{rewritten}");
        let variable = " __typeof__(char *) b = (__typeof__(char *))__BCC_ARGUMENT(ctx, 2, );";
        assert!(rewritten.contains(variable), "{rewritten}");
        assert_eq!(rewritten.lines().count(), TEXT.lines().count());
    }

    #[test]
    fn what_a_bpf_function_can_take_stays() {
        let text = "int f(struct pt_regs *ctx, int a)\n{ return a; }\n";
        assert_eq!(rewrite(text, &tree(text, &[("ctx", "struct pt_regs *"), ("a", "int")])), None);
    }

    #[test]
    fn functions_are_named_by_the_place_of_the_error() {
        for words in ["stack arguments are not supported", "defined with too many args"] {
            let found = functions(&format!("<text>:1:5: error: {words}\n"), TEXT);
            assert_eq!(found.into_iter().collect::<Vec<_>>(), ["f"]);
        }
    }
}
