//! Scenarios in which things really happen: order, errors with their lines, what a kernel cannot be told.

use std::path::Path;

use bpf_harness::scenario::{ScenarioError, play_with};
use bpf_harness::{Bpf, Tier};

const SCENARIO: &str = r#"redact = ["pids", { member = "comm", text = "[comm]" }]

[actor]
comm = "sender"

[[event]]
probe = "tracepoint/syscalls/sys_enter_kill"
args = [1, 1]

[[event]]
probe = "tracepoint/syscalls/sys_exit_kill"
ret = 0

[[stimulus]]
do = "kill_nobody"
signal = 2
times = 2

[[event]]
probe = "tracepoint/syscalls/sys_enter_kill"
args = [1, 3]

[[event]]
probe = "tracepoint/syscalls/sys_exit_kill"
ret = 0

[[print]]
events = "events"
line = "{pid} {comm} {sig} {ret} {tpid}"

[[print]]
line = "{actor.comm} {table('infotmp')|length}"
"#;

fn play(text: &str, tier: Tier) -> Result<String, ScenarioError> {
    let tool = bpf_fixtures::bcc_tools().iter().find(|t| t.name == "killsnoop").expect("a tool");
    let played = play_with(Path::new("s.toml"), text, Bpf::builder().bcc_object(tool.object).tier(tier))?;
    Ok(played.output.to_string())
}

#[test]
fn events_and_stimuli_happen_in_the_order_of_the_file() {
    insta::assert_snapshot!(play(SCENARIO, Tier::Simulator).expect("right"), @r"
    [pid 1] [comm] 1 0 [pid 2]
    [pid 1] [comm] 2 -3 [pid 3]
    [pid 1] [comm] 2 -3 [pid 3]
    [pid 1] [comm] 3 0 [pid 2]
    sender 0
    ");
}

#[test]
fn errors_point_at_the_line() {
    for (from, to, line, message) in [
        (
            "\"kill_nobody\"",
            "\"kill_somebody\"",
            15,
            "there is no stimulus 'kill_somebody'; there are: read_file",
        ),
        ("signal = 2", "signl = 2", 16, "signl"),
        ("signal = 2", "status = 2", 16, "'status' says nothing about 'kill_nobody'"),
        ("signal = 2", "", 15, "'kill_nobody' needs 'signal'"),
        ("times = 2", "times = 2000000", 14, "more than 1000000"),
        ("times = 2", "tier = \"kernal\"", 17, "'kernal' is no tier"),
        ("\"kill_nobody\"\nsignal = 2", "\"packet\"\nhex = \"xyz\"", 16, "not hexadecimal"),
        ("\"kill_nobody\"\nsignal = 2", "\"exec\"\nargs = [[1]]", 16, "a number or a text"),
        ("\"pids\"", "\"pidz\"", 1, "nothing of the kind 'pidz'"),
        ("text = \"[comm]\"", "", 1, "either 'text' or 'kind'"),
    ] {
        assert!(SCENARIO.contains(from), "{from}");
        let e = play(&SCENARIO.replacen(from, to, 1), Tier::Simulator).expect_err(to);
        assert_eq!(e.place.map(|p| p.0), Some(line), "{to}: {e}");
        assert!(e.message.contains(message), "{to}: {e}");
    }
}

/// None of this comes as far as a kernel.
#[test]
fn a_kernel_cannot_be_told_everything() {
    let stimulus = "[[stimulus]]\ndo = \"fork\"\n";
    for (text, line, message) in [
        (SCENARIO, 14, "either [[event]]s, which are made up, or [[stimulus]]es"),
        ("[[object]]\nname = \"sk\"\ntype = \"sock\"\n", 1, "an object of the kernel"),
        ("[[memory]]\nname = \"m\"\nzeros = 8\n", 1, "memory of the kernel"),
        ("[symbols]\nf = 1\n", 2, "the address of a kernel symbol"),
        ("[[counter]]\nmap = \"m\"\n", 1, "what a counter counts"),
        ("[[task]]\npid = 7\nkthread = true\n", 1, "a kernel thread"),
        ("[[task]]\npid = 7\nuser_stack = [1]\n", 3, "the stack of a task"),
        ("[kernel]\nbtf = \"x\"\n", 2, "its types"),
    ] {
        let e = play(text, Tier::Kernel).expect_err(text);
        assert_eq!(e.place.map(|p| p.0), Some(line), "{text}: {e}");
        assert!(e.message.contains(message), "{text}: {e}");
    }
    let e = play(&format!("[kernel]\nclock = 5\n\n{stimulus}"), Tier::Kernel).expect_err("it has a clock");
    assert!(e.message.contains("'clock' in [kernel]"), "{e}");
}

#[test]
fn what_is_for_the_other_tier_does_not_happen() {
    let text = SCENARIO.replace("times = 2", "tier = \"kernel\"");
    assert_eq!(play(&text, Tier::Simulator).expect("right").lines().count(), 3);
}
