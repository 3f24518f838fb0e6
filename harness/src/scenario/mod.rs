//! Scenarios: a kernel, its tasks and memory, and what happens, as a TOML file. Users of any language can test with it.
//!
//! ```toml
//! [kernel]
//! version = "6.12"
//! cpus = 2
//!
//! [[task]]
//! pid = 42
//! comm = "cat"
//!
//! [globals]
//! target_tgid = 42
//!
//! [maps]                              # what is in them before anything happens
//! start = [{ key = 42, value = 0 }]
//!
//! [[event]]
//! probe = "kprobe/vfs_read"
//! task = 42
//! args = [0x1000, 0, 512]
//!
//! [[event]]
//! probe = "kretprobe/vfs_read"
//! task = 42
//! after = 1500        # nanoseconds since the event before
//! ret = 512
//!
//! [output]
//! tables = ["start"]
//! log2 = [{ map = "latency", type = "nsecs" }]
//! trace = true
//! ```
//!
//! Numbers among the arguments can be names in quotes: `"$buf"` is the address of the memory, kernel object or symbol of
//! that name, `"$vfs_read+0x10"` a place behind it, `"$c:strlen"` a function of a binary where the task has it.
//!
//! # What really happens
//!
//! `[[event]]`s are made up. A `[[stimulus]]` really happens where there is a kernel (`BPF_HARNESS_TIER=kernel`, or
//! `bpf-harness bcc TOOL.c --scenario S.toml --tier kernel`, as root), and is played on the simulator; the same file and the
//! same output serve both:
//!
//! ```toml
//! redact = ["pids", "times"]          # before the first table: what differs from run to run
//!
//! [actor]                             # the task whose acts they are: a thread that does nothing else
//! comm = "reader"
//!
//! [compile]
//! cflags = ["-DFILTER_TID=$actor.pid"]
//!
//! [globals]                           # as are values of variables and elements of [maps]
//! target_tid = "$actor.pid"
//!
//! [[stimulus]]
//! do = "read_file"
//! path = "/etc/hostname"
//! times = 3
//! after = 1_000_000                   # nanoseconds; a kernel waits for them
//!
//! [[stimulus]]
//! do = "tcp"
//! text = "hello"
//! tier = "kernel"                     # not on the simulator
//!
//! [[print]]
//! events = "events"
//! only = "pid == actor.tgid"          # a kernel has other processes too
//! line = "{pid:<8} {comm:<16} {fname}"
//!
//! [[print]]                           # a line alone sums up
//! line = "{table('counts')|map(attribute='value')|sum} reads"
//! ```
//!
//! | `do` | options |
//! |---|---|
//! | `read_file` | `path`; `holding`: what the simulated file holds |
//! | `open_missing` | `path` |
//! | `write_file` | `path`, `text` or `hex` |
//! | `sync`, `thread`, `page_fault` | |
//! | `read_disk` | `bytes`; a kernel needs loop devices (`bpf-vm run --module loop`) |
//! | `fork` | `status` |
//! | `exec` | `program`, `args` |
//! | `sleep`, `busy` | `ns` |
//! | `kill`, `kill_nobody` | `signal` |
//! | `tcp`, `tcp6` | `text` or `hex`, `refused` |
//! | `udp`, `udp6` | `text` or `hex` |
//! | `strlen` | `text` |
//! | `user_call` | `function`, `args`, `ret`; a kernel can be told `c:getenv` and `c:strlen` |
//! | `usdt` | `provider`, `name`, `args`; on the simulator only |
//! | `packet` | `hex`, `device` |
//!
//! Events and stimuli happen in the order of the file. On a kernel there are either stimuli, or events: then nothing else
//! reaches the programs, as with [`BpfBuilder::made_up_events`](crate::BpfBuilder::made_up_events). What `tier` keeps from a
//! kernel does not count. A kernel cannot be told its objects, memory, symbols, types, clock, stacks and counters; a scenario
//! that tries is refused, with the line. The rest of `[kernel]` describes the simulated one, and is passed over. A
//! `[[counter]]` with an `event` (`cpu-clock`) is a real one there.
//!
//! `redact` takes kinds (`pids`, `times`, `cpus`, `comms`, `ports`, `inodes`, `fds`, `addresses`, `all`) and rules:
//! `{ member = "delta", text = "[delta]" }`, `{ path = ".key.id", kind = "request" }`; see [`crate::redact`]. Rows are chosen,
//! sorted and grouped by what they were, and printed redacted.
//!
//! # What a tool's user sees
//!
//! `[output]` shows data. `[[print]]` shows what the tool that belongs to the program would print, in order:
//!
//! ```toml
//! [[attach]]                          # in bcc's words; programs named `kprobe__...` attach themselves
//! program = "trace_return"
//! kretprobe = "do_sys_openat2"
//!
//! [[print]]
//! text = "Tracing... Hit Ctrl-C to end."
//!
//! [[print]]                           # a line for each record
//! events = "events"
//! header = "TIME(s)   PID    COMM             ERR PATH"
//! line = "{((ts - first.ts) / 1e9):<9.3f} {pid:<6} {comm:<16} {(-ret if ret < 0 else 0):>3} {fname}"
//!
//! [[print]]                           # a line for each element
//! table = "counts"
//! sort = "value"
//! line = """
//!   {stack('stack_traces', key.kernel_stack_id)|ksym}
//!   {stack('stack_traces', key.user_stack_id)|sym(key.pid)}
//!     {value}
//! """
//!
//! [[print]]
//! log2 = "dist"
//! type = "usecs"
//! section = "disk"
//! section_line = "{0x800000: 'sda'}[section]"
//!
//! [[print]]                           # bpf_trace_printk
//! trace = "{1} {5}"
//! ```
//!
//! In braces stands an expression, in the language of Jinja templates, over the members of a record, or over `key` and
//! `value`; behind a colon, how it is written, in Python's format language. A field that is a list makes one line for each
//! of its elements, and none if it is empty. Besides Jinja's own filters there are:
//!
//! | filter | |
//! |---|---|
//! | `ksym`, `sym(pid)` | the kernel's or a process's function at an address, or at each of a list; `ksym(offset=true, module=true)` says more |
//! | `ipv4`, `ipv6` | an address as it is in memory |
//! | `ntohs`, `ntohl` | a number from network byte order |
//! | `errno` | an error's name |
//! | `hex` | a number with `0x` |
//! | `stack(map, id)` | a function: the addresses of a stack, the innermost first; none for -EFAULT |
//! | `table(map)` | a function: the elements of a map, each with `key` and `value` |
//! | `actor` | the task of the stimuli: its `pid`, `tgid` and `comm` |
//!
//! See [`PrintFile`] for all that can be said, and [`AttachFile`], [`BinaryFile`] and [`TaskFile`] for what goes before it.
//! The repository's `fixtures/bcc` has twenty tools with their scenarios, and `fixtures/bcc/live` those of stimuli.

mod actor;
mod attach;
mod error;
mod file;
mod kernel;
mod line;
mod maps;
mod output;
mod play;
mod print;
mod redact;
mod stimulus;
mod tiers;
mod user;

pub use attach::{AttachFile, PerfEventFile};
pub use error::ScenarioError;
pub use file::{
    CompileFile, EventFile, EventsFile, HistFile, KernelFile, MemoryFile, Number, ObjectFile, OutputFile,
    Scenario, TaskFile,
};
pub use maps::ElementFile;
pub use output::{Output, Printed};
pub use play::{Played, play, play_with, prepare};
pub use print::{PrintFile, Trace};
pub use redact::{RedactFile, RedactRule};
pub use stimulus::{ActorFile, StimulusFile};
pub use user::{BinaryFile, CounterFile, MappingFile, ProbeFile};
