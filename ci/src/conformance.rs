//! Runs the conformance plugin over `ci/conformance.txt`, as a conformance runner would: one process for each program.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

const ENGINES: [&str; 2] = ["interp", "rbpf"];

/// Runs all cases on all engines; `plugin` is the compiled example.
pub(crate) fn run(plugin: &Path) -> Result<(), String> {
    let text = include_str!("../conformance.txt");
    let mut count = 0;
    let mut wrong = Vec::new();
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, engines, memory, program, expected] = fields[..] else {
            return Err(format!("ci/conformance.txt: bad line '{line}'"));
        };
        for engine in ENGINES {
            count += 1;
            let result = one(plugin, engine, memory, program)?;
            // An engine that cannot run a program refuses it; it never gives something else.
            let wanted = engines.split(' ').any(|e| e == engine).then_some(expected);
            if result.as_deref() != wanted {
                wrong.push(format!("{name}: {engine} gives {result:?} instead of {wanted:?}"));
            }
        }
    }
    println!("{count} conformance programs");
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// What the plugin prints; `None` if it fails.
fn one(plugin: &Path, engine: &str, memory: &str, program: &str) -> Result<Option<String>, String> {
    let mut command = Command::new(plugin);
    if memory != "-" {
        command.arg(memory);
    }
    command.args(["--engine", engine]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| format!("{}: {e}", plugin.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(program.as_bytes()).map_err(|e| e.to_string())?;
    }
    let out = child.wait_with_output().map_err(|e| e.to_string())?;
    Ok(out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned()))
}
