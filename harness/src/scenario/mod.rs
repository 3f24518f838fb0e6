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
//! that name.

mod attach;
mod error;
mod file;
mod kernel;
mod line;
mod output;
mod play;
mod print;
mod user;

pub use attach::{AttachFile, PerfEventFile};
pub use error::ScenarioError;
pub use file::{
    CompileFile, EventFile, EventsFile, HistFile, KernelFile, MemoryFile, Number, ObjectFile, OutputFile,
    Scenario, TaskFile,
};
pub use output::{Output, Printed};
pub use play::{Played, play, play_with, prepare};
pub use print::{PrintFile, Trace};
pub use user::{BinaryFile, CounterFile, MappingFile, ProbeFile};
