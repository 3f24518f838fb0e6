//! Snapshot tests: tables, records and outputs are serde values, so that `insta` takes them as they are.
//!
//! `cargo run -p bpf-harness --example snapshot_test`. With `cargo insta review` a change of what a program leaves behind
//! is read and accepted, instead of being typed again.

use std::error::Error;

use bpf_harness::Bpf;
use bpf_helpers_mock::state::Task;

/// Two programs read; the second one fails once.
fn after_some_reads() -> Result<Bpf, bpf_harness::Error> {
    let object = bpf_fixtures::object("vfsreadlat").unwrap_or_default();
    let mut bpf = Bpf::builder().object(object).cpus(2).load()?;
    bpf.attach_all()?;
    for (pid, comm, micros, ret) in [(42, "cat", 15, 512), (43, "sshd", 3, 48), (43, "sshd", 2, -11)] {
        bpf.add_task(Task::new(pid, comm));
        bpf.kprobe("vfs_read").task(pid).fire()?;
        bpf.advance(micros * 1000)?;
        bpf.kretprobe("vfs_read").task(pid).ret(ret).fire()?;
    }
    Ok(bpf)
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut bpf = after_some_reads()?;

    // Inline here; a test that is not an example writes `assert_yaml_snapshot!(sizes)` and keeps a file.
    let sizes = bpf.table("sizes")?;
    insta::assert_json_snapshot!(sizes, @r#"
    [
      {
        "key": {
          "comm": "cat",
          "slot": 10
        },
        "value": 1
      },
      {
        "key": {
          "comm": "sshd",
          "slot": 6
        },
        "value": 1
      }
    ]
    "#);

    // Text is as good: the histogram that the tool prints, byte for byte.
    insta::assert_snapshot!(bpf.table("latency")?.log2_hist("usecs", ""), @r"
     usecs               : count     distribution
         0 -> 1          : 0        |                                        |
         2 -> 3          : 2        |****************************************|
         4 -> 7          : 0        |                                        |
         8 -> 15         : 1        |********************                    |
    ");
    println!("both snapshots are as they were");
    Ok(())
}
