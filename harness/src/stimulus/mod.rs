//! What makes probes fire, the same on both tiers: a file is read, a process is made, a connection is opened.
//!
//! A stimulus is an [`Action`]: something that is really done on a kernel, and its *expansion* for the simulator: which
//! probe points a kernel would come by, in which order, in which task, with which arguments, records and results.
//! [`Bpf::stimulate`](crate::Bpf::stimulate) takes either, so that a test does not say which.
//!
//! ```
//! use bpf_harness::{Bpf, profile::Profile, stimulus::Stimulus};
//! # let tools = bpf_fixtures::bcc_tools().iter();
//! # let object = tools.clone().find(|t| t.name == "opensnoop").unwrap().object;
//! let mut bpf = Bpf::builder().bcc_object(object).profile(Profile::default_x86_64()?).load()?;
//! bpf.attach_kprobe("do_sys_openat2", "trace_entry")?;
//! bpf.attach_kretprobe("do_sys_openat2", "trace_return")?;
//! bpf.keep_records("events")?;
//! let missing = bpf.stimulate(&Stimulus::open_missing("/etc/nothing"))?;
//! assert_eq!(missing.ret, -2); // -ENOENT
//! let record = &bpf.records("events", Some("data_t"))?[0];
//! assert_eq!(record["fname"], "/etc/nothing");
//! assert_eq!(record["ret"], -2);
//! # Ok::<(), bpf_harness::Error>(())
//! ```
//!
//! # What an expansion is, and is not
//!
//! It has the points that programs are attached to in practice: the tracepoints of system calls and their functions, the
//! functions between them and the file system or protocol that tools probe, security hooks, tracepoints of the
//! scheduler, of signals, sockets and timers. It follows the machine's kernel: where a function has another name, comes
//! at another place or is not called, the profile's version and functions decide. What was measured on real kernels is
//! in it; what depends on the file system, the device or on memory being short is not.
//!
//! Time passes by [`STEP_NS`] before every function, return and tracepoint, and by what an action says (a sleep). A task
//! that is made gets the next thread id. All of it is the same every time.
//!
//! While a function runs it is on its task's kernel stack, above what the test has put there: `bpf_get_stackid` sees the
//! functions of the expansion, at their beginnings.
//!
//! Hooks of security modules, and functions whose results programs may decide (`fmod_ret`), decide here too: a program
//! that refuses `file_open` makes [`Stimulus::read_file`] fail with what it has returned.
//!
//! # One's own
//!
//! [`Stimulus::custom`] makes one of two closures; a type of one's own implements [`Action`].

mod action;
mod busy;
mod custom;
mod disk;
mod fault;
mod file;
mod happened;
mod net;
mod network;
mod objects;
mod packet;
mod process;
mod real;
mod sched;
mod signal;
mod simulation;
mod sleep;
mod sync;
mod syscall;
mod tracepoint;
mod user;

pub use action::{Action, Stimulus};
pub use busy::Busy;
pub use custom::Custom;
pub use disk::ReadDisk;
pub use fault::PageFault;
pub use file::{OpenMissing, ReadFile, WriteFile};
pub use happened::{Happened, Stimulated};
pub use net::tcp::Tcp;
pub use net::udp::Udp;
pub use network::{Device, Left, Network, Passage};
pub use packet::Packet;
pub use process::{Exec, Fork, Thread};
pub use real::Real;
pub(crate) use real::by_this_thread;
pub use signal::Kill;
pub use simulation::{Occasion, STEP_NS, Simulation};
pub use sleep::Sleep;
pub use sync::SyncFiles;
pub use user::UserCall;

#[cfg(feature = "kernel")]
pub(crate) use net::Family;
#[cfg(feature = "kernel")]
pub(crate) use process::{DEFAULT_PROGRAM, THREAD_FLAGS};
