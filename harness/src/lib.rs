//! Test compiled BPF programs as ordinary `cargo test` cases: no root, no kernel, the same bytes out every time.
//!
//! [`Bpf`] loads a compiled object into a simulated machine. Attach its programs, let something happen, and look at its
//! maps, variables and events, which come as typed values:
//!
//! ```
//! use bpf_harness::Bpf;
//! use bpf_helpers_mock::state::Task;
//! # let object = bpf_fixtures::object("vfsreadlat").unwrap();
//! // let object = std::fs::read("vfsreadlat.bpf.o")?;
//! let mut bpf = Bpf::builder().object(object).cpus(2).global("target_tgid", 42u32).load()?;
//! bpf.attach_all()?;
//! bpf.add_task(Task::new(42, "cat"));
//!
//! bpf.kprobe("vfs_read").task(42).args([0x1000, 0, 512]).fire()?;
//! bpf.advance(15_000)?; // nanoseconds
//! bpf.kretprobe("vfs_read").task(42).ret(512).fire()?;
//!
//! let latency = bpf.table("latency")?;
//! assert_eq!(latency.get(4u32).unwrap(), &1u64); // 8 to 15 microseconds
//! let sizes = bpf.table("sizes")?;
//! assert_eq!(sizes.items()[0].key["comm"], "cat");
//! print!("{}", latency.log2_hist("usecs", ""));
//! // insta::assert_yaml_snapshot!(latency);
//! # Ok::<(), bpf_harness::Error>(())
//! ```
//!
//! A program that does something wrong gives an [`Error::Fault`], which names the C line:
//!
//! ```
//! use bpf_harness::{Bpf, Input};
//! # let object = bpf_fixtures::object("null_deref").unwrap();
//! let mut bpf = Bpf::load(object)?;
//! let report = bpf.run("unchecked_lookup", Input::default_for_type())?;
//! let fault = report.diagnostic.unwrap();
//! assert_eq!(fault.id, "null-deref");
//! assert!(fault.render(false).contains("null_deref.bpf.c:"));
//! # Ok::<(), bpf_harness::Error>(())
//! ```
//!
//! # Programs in bcc's dialect
//!
//! Text in the dialect of bcc's reference guide needs clang and nothing else: no kernel headers, no bcc. Programs attach
//! themselves by their names, and the host's functions have the guide's names:
//!
//! ```no_run
//! use bpf_harness::Bpf;
//! let mut bpf = Bpf::from_text(r#"
//!     BPF_HASH(sizes, u32);
//!     int kprobe__vfs_read(struct pt_regs *ctx, struct file *file, char *buf, size_t count)
//!     {
//!         sizes.increment(bpf_log2l(count));
//!         bpf_trace_printk("read %d, flags %x\n", count, file->f_flags);
//!         return 0;
//!     }
//! "#)?;
//! bpf.kprobe("vfs_read").args([0, 0, 512]).fire()?;
//! assert_eq!(bpf.get_table("sizes")?.get(10u32)?, Some(1u64.into()));
//! bpf.trace_print(Some("{1} {5}"))?;
//! # Ok::<(), bpf_harness::Error>(())
//! ```
//!
//! # Ways in
//!
//! Each is a program in `harness/examples`, and each runs as a test:
//!
//! | with | example |
//! |---|---|
//! | an object for libbpf | `vfsreadlat.rs` |
//! | text in bcc's dialect | `bcc_text.rs` |
//! | a packet program | `packet_program.rs` |
//! | a scenario file | `scenario_file.rs` |
//! | a property test | `property_test.rs` |
//! | a snapshot test | `snapshot_test.rs` |
//!
//! # Where to look
//!
//! | to | use |
//! |---|---|
//! | load an object, choose kernel version, CPUs, types, global variables | [`Bpf::builder`] |
//! | let functions be called, tracepoints hit, packets arrive | [`Bpf::kprobe`] and its like; [`Bpf::event`] with a [`Point`] |
//! | compile text, choose its macros, types, probes of binaries | [`Bpf::from_text`], [`BpfBuilder::cflag`] and its like, [`compile`], [`profile`] |
//! | do what makes probes fire, on a simulator and on a kernel | [`Bpf::stimulate`], [`stimulus`] |
//! | have one snapshot for every run and tier | [`redact`] |
//! | run one program on bytes | [`Bpf::run`] with an [`Input`] |
//! | attach by name, as bcc's reference guide does | [`Bpf::attach_kprobe`] and its like, [`UprobeTarget`], [`usdt`] |
//! | get events as they are sent, and the trace | [`Bpf::open_perf_buffer`], [`Bpf::open_ring_buffer`], [`Bpf::trace_print`] |
//! | name addresses of kernel and user space | [`Bpf::ksym`], [`Bpf::sym`], [`symbols`] |
//! | read and write maps as typed values | [`Bpf::table`], [`table`], [`value`] |
//! | print histograms as bcc does | [`hist`] |
//! | let things happen, on both tiers | [`Bpf::stimulate`], [`stimulus`] |
//! | override helpers, make them fail, see their calls | [`Bpf::override_helper`] and its like |
//! | describe all of it in a file instead | [`scenario`], and the program `bpf-harness` ([`cli`]) |
//!
//! # Two tiers
//!
//! The same test runs on the simulator and, with the feature `kernel`, on the kernel that it is started on (as root, mostly in
//! a virtual machine that `bpf-vm run` makes): `BPF_HARNESS_TIER=kernel`, or [`BpfBuilder::tier`]. There libbpf loads the
//! object, attaching is real, and tables, buffers, trace and symbols are the kernel's. Two ways let programs run:
//!
//! * A [`stimulus`] really happens: a file is read, a connection opened. The simulator expands it into the probe points that a
//!   kernel comes by, in its order.
//! * Made-up events ([`Bpf::kprobe`] and its like) reach programs on a kernel too, if the builder is told so
//!   ([`BpfBuilder::made_up_events`]).
//!
//! ```
//! use bpf_harness::{Bpf, stimulus::Stimulus};
//! # let object = bpf_fixtures::object("vfsreadlat").unwrap();
//! let mut bpf = Bpf::load(object)?;
//! bpf.attach_all()?;
//! bpf.stimulate(&Stimulus::read_file("/etc/hostname"))?;
//! assert!(!bpf.table("sizes")?.is_empty());
//! # Ok::<(), bpf_harness::Error>(())
//! ```
//!
//! What differs between the tiers, and from run to run, is replaced by redactions, so that one snapshot serves both.
//! [`Tier::only`] says that a test is for one tier. What the kernel's verifier refuses is [`Error::Refused`], with the line
//! of C; [`verifier_log`] reads its words.
//!
//! # How a run ends
//!
//! In exactly one way: the program returned; it did something wrong (a fault, its bug); or it needed something that is
//! not simulated, which is named and is never taken for a pass. Firing an event gives the latter two as errors:
//!
//! ```
//! use bpf_harness::{Bpf, Input};
//! use bpf_vm_shim::exec::Outcome;
//! # let object = bpf_fixtures::object("packets").unwrap();
//! let mut bpf = Bpf::load(object)?;
//! let report = bpf.run("count", Input::default_for_type().with_packet(vec![0; 64]))?;
//! match report.outcome {
//!     Outcome::Returned(verdict) => assert_eq!(verdict, 2), // XDP_PASS
//!     Outcome::Fault(fault) => panic!("the program is wrong: {}", fault.kind),
//!     Outcome::Unsupported(gap) => panic!("not simulated: {}", gap.name),
//! }
//! # Ok::<(), bpf_harness::Error>(())
//! ```
//!
//! # Determinism
//!
//! The clock, the tasks, the CPUs and everything random are the machine's own. The same object, the same calls and the
//! same seed give the same bytes, on every host. [`Bpf::fork`] copies a machine with all its state, to try two ways.
//!
//! The command line tool `bpf-harness` ([`cli`]) does the same for other languages, with scenarios ([`scenario`]).

#![cfg_attr(not(feature = "kernel"), forbid(unsafe_code))]
#![cfg_attr(feature = "kernel", deny(unsafe_code))]

pub mod annotations;
mod bpf;
pub mod cli;
pub mod compile;
pub mod diff;
mod error;
pub mod hist;
#[cfg(feature = "kernel")]
mod kernel;
pub mod profile;
pub mod redact;
pub mod report;
pub mod scenario;
pub mod stimulus;
#[cfg(any(test, feature = "proptest"))]
pub mod strategies;
mod support;
pub mod symbols;
pub mod table;
mod tier;
mod trace;
pub mod usdt;
pub mod value;
pub mod verifier_log;

pub use bpf::{
    Bpf, BpfBuilder, CallbackError, CallbackResult, Event, Fired, Func, Input, MAX_CPUS, PerfBufferOptions,
    PerfEventSpec, Point, Record, RunReport, TraceFields, UprobeTarget, perf,
};
pub use error::Error;
#[cfg(feature = "kernel")]
pub use kernel::verdicts;
pub use tier::Tier;
