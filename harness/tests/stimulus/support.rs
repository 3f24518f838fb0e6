//! The stimuli that all tests go through, and a machine with nothing attached.

use std::time::Duration;

use bpf_harness::stimulus::{Action, Stimulus};
use bpf_harness::{Bpf, BpfBuilder};

/// Every built-in stimulus that is performed without a place of its own, by name.
pub(crate) fn all() -> Vec<(&'static str, Box<dyn Action>)> {
    vec![
        ("read_file", Box::new(Stimulus::read_file("/tmp/bpf-file").holding("hello world\n"))),
        ("open_missing", Box::new(Stimulus::open_missing("/tmp/bpf-missing"))),
        ("write_file", Box::new(Stimulus::write_file("/tmp/bpf-file", "hello world\n"))),
        ("sleep", Box::new(Stimulus::sleep(Duration::from_millis(20)))),
        ("fork", Box::new(Stimulus::fork())),
        ("exec", Box::new(Stimulus::exec())),
        ("thread", Box::new(Stimulus::thread())),
        ("kill_0", Box::new(Stimulus::kill(0))),
        ("kill_usr1", Box::new(Stimulus::kill(10))),
        ("kill_nobody", Box::new(Stimulus::kill_nobody(15))),
        ("tcp", Box::new(Stimulus::tcp())),
        ("tcp6", Box::new(Stimulus::tcp6())),
        ("tcp_refused", Box::new(Stimulus::tcp().refused())),
        ("udp", Box::new(Stimulus::udp())),
        ("udp6", Box::new(Stimulus::udp6())),
        ("page_fault", Box::new(Stimulus::page_fault())),
        ("read_disk", Box::new(Stimulus::read_disk(4096))),
        ("sync", Box::new(Stimulus::sync())),
    ]
}

/// A machine with a program that is attached nowhere.
pub(crate) fn machine(builder: BpfBuilder) -> Bpf {
    builder.object(bpf_fixtures::object("hostapi").unwrap()).load().unwrap()
}
