//! Scenarios of stimuli are the same on both tiers: variables and maps that they fill, what they show.

use std::path::Path;

use bpf_harness::scenario::play_with;
use bpf_harness::{Bpf, Tier};

fn played(programs: &[&str], object: &str, scenario: &str) -> String {
    let mut builder = Bpf::builder().object(bpf_fixtures::object(object).unwrap());
    for program in programs {
        builder = builder.only(*program);
    }
    let tier = Tier::from_env().unwrap();
    play_with(Path::new("s.toml"), scenario, builder.tier(tier)).unwrap().output.to_string()
}

#[test]
fn a_variable_is_the_actors_number() {
    let scenario = r#"
[globals]
me = "$actor.pid"

[[stimulus]]
do = "sleep"
ns = 1_000_000
times = 2

[output]
globals = ["order"]
"#;
    assert_eq!(played(&["kprobe_1", "kprobe_2"], "order", scenario), "order = 8481\n");
}

#[test]
fn maps_are_filled_and_what_is_shown_is_redacted() {
    let scenario = r#"
redact = [{ path = ".key", kind = "call" }, { member = "asked", text = "[asked]" }]

[globals]
asked = 9

[maps]
calls = [{ key = 5_000, value = 3 }, { key = "$actor.pid", value = 4 }]

[output]
tables = ["calls"]
globals = ["asked"]
"#;
    let shown = played(&["look"], "decides", scenario);
    assert!(shown.contains("[call 1]") && shown.contains("[call 2]") && !shown.contains("5000"), "{shown}");
    assert!(shown.ends_with("asked = \"[asked]\"\n"), "{shown}");
}
