//! A scenario: what happens in the kernel, described in a file, which any language and the command line can use too.
//!
//! `cargo run -p bpf-harness --example scenario_file`, or without Rust:
//! `bpf-harness run fixtures/objects/progs/vfsreadlat.o --scenario FILE.toml`.

use std::error::Error;
use std::path::Path;

use bpf_harness::Bpf;
use bpf_harness::scenario::play_with;

const SCENARIO: &str = r#"
    [kernel]
    cpus = 2

    [[task]]
    pid = 42
    comm = "cat"

    [[event]]
    probe = "kprobe/vfs_read"
    task = 42

    [[event]]
    probe = "kretprobe/vfs_read"
    task = 42
    after = 15_000        # nanoseconds since the event before
    ret = 512

    [[print]]
    table = "sizes"
    header = "COMM             BYTES     COUNT"
    line = "{key.comm:<16} {2 ** (key.slot - 1):>5} ...{value:>6}"

    [[print]]
    log2 = "latency"
    type = "usecs"
"#;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let object = bpf_fixtures::object("vfsreadlat").ok_or("the fixture is there")?;
    let mut played = play_with(Path::new("reads.toml"), SCENARIO, Bpf::builder().object(object))?;

    // How every run ended is kept, and so is the machine, for more questions.
    assert_eq!(played.runs.len(), 2);
    assert!(played.bpf.trace().is_empty());
    let text = played.output.to_string();
    print!("{text}");
    assert!(text.contains("cat                512 ...     1\n"), "{text}");

    // What is wrong with a scenario is said with its line.
    let wrong = SCENARIO.replace("kretprobe/vfs_read", "kretprobe/vfs_raed");
    let error = play_with(Path::new("reads.toml"), &wrong, Bpf::builder().object(object)).err();
    let error = error.ok_or("nothing is attached there")?;
    assert_eq!(error.place.map(|(line, _)| line), Some(14));
    println!("\n{}", error.render());
    Ok(())
}
