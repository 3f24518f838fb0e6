//! What is wrong with a tool's scenario, and on which line.

use std::path::Path;

use bpf_harness::Bpf;
use bpf_harness::scenario::play_with;

const SCENARIO: &str = r#"
[kernel]
cpus = 2
functions = ["vfs_read", "vfs_write"]

[[binary]]
path = "/usr/bin/server"
symbols = { main = 0x1000 }

[[object]]
name = "sk"
type = "sock"
set = { "__sk_common.skc_num" = 80 }

[[task]]
pid = 7
kernel_stack = ["$vfs_read+0x10"]
user_stack = ["$server:main"]

[[attach]]
program = "trace_count"
kprobe_re = "vfs_.*"

[[event]]
probe = "kprobe/vfs_read"
task = 7

[[print]]
table = "counts"
sort = "value"
line = "{key.name:<16} {value:>8}"
"#;

fn play(text: &str) -> Result<String, bpf_harness::scenario::ScenarioError> {
    let tool = bpf_fixtures::bcc_tools().iter().find(|t| t.name == "stackcount").expect("a tool");
    let played = play_with(Path::new("s.toml"), text, Bpf::builder().bcc_object(tool.object))?;
    Ok(played.output.to_string())
}

#[test]
fn the_scenario_is_right_as_it_stands() {
    assert_eq!(play(SCENARIO).expect("right"), "                        1\n");
}

#[test]
fn errors_point_at_the_line() {
    for (from, to, line, message) in [
        ("\"vfs_.*\"", "\"xfs_.*\"", 20, "'xfs_.*' matches nothing"),
        ("\"vfs_.*\"", "\"vfs_(\"", 20, "regular expression"),
        ("kprobe_re", "kprobe = \"vfs_read\"\nkretprobe", 20, "one place"),
        ("kprobe_re = \"vfs_.*\"", "kprobe = \"vfs_raed\"", 20, "vfs_raed"),
        ("kprobe_re = \"vfs_.*\"", "uprobe = \"main\"", 20, "'binary:function'"),
        (
            "kprobe_re = \"vfs_.*\"",
            "perf_event = { event = \"cpu-cloak\", sample_freq = 1 }",
            20,
            "cpu-clock",
        ),
        ("kprobe_re = \"vfs_.*\"", "usdt = \"server:request\"", 20, "request"),
        ("\"trace_count\"", "\"trace_cuont\"", 20, "there is no program 'trace_cuont'"),
        ("\"sock\"", "\"sokc\"", 10, "sokc"),
        ("skc_num", "skc_mun", 10, "skc_mun"),
        ("$vfs_read+0x10", "$nothing", 17, "nothing is called 'nothing'"),
        ("$vfs_read+0x10", "$vfs_read+x", 17, "'x' is no offset"),
        ("$server:main", "$server:mian", 18, "mian"),
        ("table = \"counts\"", "table = \"coutns\"", 29, "there is no map 'coutns'"),
        ("table = \"counts\"", "events = \"counts\"", 29, "neither a ring buffer"),
        ("table = \"counts\"", "table = \"counts\"\nlog2 = \"counts\"", 28, "exactly one of"),
        ("table = \"counts\"", "text = \"x\"", 28, "says nothing about 'text'"),
        ("\"value\"", "\"valeu\"", 30, "valeu"),
        ("key.name", "key.nmae", 31, "nmae"),
        ("value:>8", "value:>8q", 31, "no format"),
        ("{value:>8}", "{value", 31, "not closed"),
        ("line = \"{key.name:<16} {value:>8}\"", "", 28, "needs a 'line'"),
    ] {
        let text = SCENARIO.replacen(from, to, 1);
        assert_ne!(text, SCENARIO, "{from}");
        let error = play(&text).expect_err(to);
        assert_eq!(error.place.map(|(line, _)| line), Some(line), "{to}: {error}");
        assert!(error.message.contains(message), "{to}: {error}");
    }
}

#[test]
fn rows_are_chosen_sorted_and_cut() {
    let tool = bpf_fixtures::bcc_tools().iter().find(|t| t.name == "funccount").expect("a tool");
    for (options, expected) in [
        ("", "vfs_create 1\nvfs_open 27\nvfs_write 390\nvfs_read 1240\n"),
        ("reverse = true\nlimit = 2\n", "vfs_read 1240\nvfs_write 390\n"),
        ("only = \"value > 1 and 'write' not in key.ip|ksym\"\n", "vfs_open 27\nvfs_read 1240\n"),
        ("limit = 0\nheader = \"none\"\n", "none\n"),
    ] {
        let before = tool.scenario.split("[[print]]").next().unwrap_or_default();
        let print = "[[print]]\ntable = \"counts\"\nsort = \"value\"\nline = \"{key.ip|ksym} {value}\"\n";
        let text = format!("{before}{print}{options}");
        let played = play_with(Path::new("s.toml"), &text, Bpf::builder().bcc_object(tool.object));
        assert_eq!(played.map(|p| p.output.to_string()), Ok(expected.to_owned()), "{options}");
    }
}

#[test]
fn lists_make_lines() {
    let line = r#"line = "{stack('stack_traces', key.kernel_stack_id)|ksym(offset=true)} of {value}""#;
    let text = SCENARIO.replacen("line = \"{key.name:<16} {value:>8}\"", line, 1);
    assert_eq!(play(&text).expect("right"), "vfs_read+0x10 of 1\n");
}
