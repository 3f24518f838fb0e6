//! Where each tool can be seen.

use std::path::Path;

use bpf_harness::Tier;

/// A tool and what happens while it runs.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) name: &'static str,
    pub(crate) scenario: &'static str,
    pub(crate) on: On,
}

/// On which tier a tool has something to show.
#[derive(Clone, Copy, Debug)]
pub(crate) enum On {
    /// On the simulator and on every kernel.
    Both,
    /// On kernels from this one on, and why not before.
    Since((u32, u32), &'static str),
    /// On the simulator, and on kernels with loop devices from this version on, and why not before.
    Disk((u32, u32), &'static str),
    /// On the simulator only, and why.
    Simulator(&'static str),
}

impl Live {
    /// Why the tool cannot be seen here, if so.
    pub(crate) fn why_not(&self, tier: Tier) -> Option<String> {
        match (self.on, tier) {
            (On::Simulator(why), Tier::Kernel) => Some(why.to_owned()),
            (On::Disk(..), Tier::Kernel) if !Path::new("/dev/loop-control").exists() => {
                Some("there are no disks: load the module `loop` (bpf-vm run --module loop)".to_owned())
            }
            (On::Since(first, why) | On::Disk(first, why), Tier::Kernel) => {
                let running = running();
                (running < first)
                    .then(|| format!("{}.{} is before {}.{}: {why}", running.0, running.1, first.0, first.1))
            }
            _ => None,
        }
    }
}

/// The version of the running kernel.
fn running() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc is mounted");
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().expect("a number"));
    (parts.next().expect("a version"), parts.next().expect("two numbers"))
}
