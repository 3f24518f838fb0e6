//! Well-known tools while something happens: the same scenario and the same output on a simulator and on kernels.
//!
//! On the kernel tier (`BPF_HARNESS_TIER=kernel`, as root) the stimuli of `fixtures/bcc/live` are really performed, on the
//! simulator they are played. A tool that a kernel or the machines of the kernel tier have nothing for says so.

mod tools;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bpf_harness::compile::Clang;
use bpf_harness::scenario::play_with;
use bpf_harness::{Bpf, Tier};

use tools::{Live, On};

/// What is printed and attached is the machine's.
static MACHINE: Mutex<()> = Mutex::new(());

/// Plays a tool's live scenario; its output is the snapshot of both tiers.
#[track_caller]
fn play(live: &Live) {
    let tool = bpf_fixtures::bcc_tools().iter().find(|t| t.name == live.name).expect("a tool of this name");
    let tier = Tier::from_env().expect("a tier");
    if let Some(why) = live.why_not(tier) {
        eprintln!("skipped on the {tier}: {why}");
        return;
    }
    if let (Tier::Simulator, Err(why)) = (tier, Clang::find()) {
        eprintln!("skipped: {why}");
        return;
    }
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = Path::new("fixtures/bcc/live").join(live.name).with_extension("toml");
    let played = play_with(&file, live.scenario, Bpf::builder().text(tool.source));
    let played = played.unwrap_or_else(|e| panic!("{}", e.render()));
    for run in &played.runs {
        run.ret().unwrap_or_else(|e| panic!("{}: {e:?}", live.name));
    }
    insta::assert_snapshot!(live.name, played.output);
}

/// One test for each tool, so that they can be spread over machines.
macro_rules! tests {
    ($($name:ident: $on:expr,)*) => {
        /// All tools with a live scenario.
        static LIVE: &[Live] = &[$(Live {
            name: stringify!($name),
            scenario: include_str!(concat!("../../../fixtures/bcc/live/", stringify!($name), ".toml")),
            on: $on,
        }),*];
        $(
            #[test]
            fn $name() {
                play(LIVE.iter().find(|l| l.name == stringify!($name)).expect("it is in the table"));
            }
        )*
    };
}

tests! {
    biolatency: On::Disk((0, 0), ""),
    biosnoop: On::Disk((5, 15), "a request's queue knows no disk"),
    bitehist: On::Disk((0, 0), ""),
    cpucycles: On::Both,
    execsnoop: On::Both,
    funccount: On::Both,
    hello: On::Both,
    killsnoop: On::Both,
    nodehttp: On::Simulator("no program of the virtual machines has this probe"),
    offcputime: On::Both,
    opensnoop: On::Both,
    profile: On::Both,
    runqlat: On::Since((5, 14), "task_struct has no member __state"),
    stackcount: On::Both,
    strlen: On::Both,
    syncsnoop: On::Both,
    tcpconnect: On::Both,
    tcplife: On::Both,
    urandom_read: On::Simulator("the tracepoint is gone since 5.18, and from the long-term series before"),
    vfsreadlat: On::Both,
    vfsstat: On::Both,
}

#[test]
fn every_tool_has_a_live_scenario() {
    let tools: Vec<_> = bpf_fixtures::bcc_tools().iter().map(|t| t.name).collect();
    let live: Vec<_> = LIVE.iter().map(|l| l.name).collect();
    assert_eq!(live, tools);
}
