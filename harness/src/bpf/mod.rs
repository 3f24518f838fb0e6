//! The facade: load an object, attach its programs, fire events, read its maps.
//!
//! Most of it means the same on a kernel: attaching by name (`kprobes.rs`, `uprobes.rs`, `tracepoints.rs`, `usdt.rs`,
//! `perf_event.rs`), counting (`links.rs`), buffers, the trace and symbols. What a simulated machine alone can do is told
//! apart: events that are fired (`event.rs`), and what is made up for them (`simulated.rs`, `state.rs`).

mod attach;
mod backend;
mod buffers;
mod builder;
mod decoded;
mod event;
mod globals;
mod gone;
mod graph;
mod input;
mod kprobes;
mod links;
mod passage;
mod perf_event;
mod point;
mod prog_type;
mod record;
mod records;
mod report;
mod running;
mod simulated;
mod state;
mod stimulate;
mod syms;
mod text;
mod trace;
mod tracepoints;
pub(crate) mod turns;
mod uprobes;
mod usdt;
mod usdt_spec;

#[cfg_attr(not(feature = "kernel"), allow(unused_imports, reason = "what a kernel backend is made of"))]
pub(crate) use attach::Attachment;
#[cfg_attr(not(feature = "kernel"), allow(unused_imports, reason = "what a kernel backend is made of"))]
pub(crate) use backend::{Attached, Backend, Item, KernelRun, MadeUp, Maps};
pub use buffers::{CallbackError, CallbackResult, PerfBufferOptions};
pub use builder::{BpfBuilder, MAX_CPUS};
pub use event::{Event, Fired};
use gone::Gone;
#[cfg(feature = "kernel")]
pub(crate) use graph::Block;
#[cfg(all(test, feature = "kernel"))]
pub(crate) use graph::Pointer;
pub use input::Input;
use links::UserPlace;
pub(crate) use links::{Host, Link};
#[cfg(feature = "kernel")]
pub(crate) use passage::is_egress;
pub use perf_event::{PerfEventSpec, perf};
pub use point::Point;
pub use prog_type::Func;
pub use record::Record;
#[cfg(feature = "kernel")]
pub(crate) use records::not_open;
pub use report::RunReport;
pub use trace::TraceFields;
pub use uprobes::UprobeTarget;

use std::collections::BTreeMap;

use std::sync::Arc;

use bpf_helpers_mock::Machine;
use bpf_helpers_mock::maps::MapId;
use bpf_helpers_mock::passes::PassError;
use bpf_vm_shim::exec::{InvalidCode, Outcome};
use bpf_vm_shim::object::{LinkedProgram, Object, ProgType};

use crate::error::Error;
use crate::profile::tracepoints::Tracepoints;
use crate::report::{Diagnostic, SourceLine};
use crate::tier::Tier;

/// An object loaded into a simulated machine.
#[derive(Debug)]
pub struct Bpf {
    machine: Machine,
    objects: Vec<Arc<Loaded>>,
    attached: Vec<Arc<attach::Attachment>>,
    host: Host,
    /// Records of the kernel's tracepoints, if it was built from a profile.
    tracepoints: Tracepoints,
    /// The kernel on which things happen; without one they happen in the machine.
    kernel: Option<Box<dyn Backend>>,
}

/// What loading one object gave.
#[derive(Clone, Debug)]
struct Loaded {
    object: Object,
    rejected: Vec<(String, InvalidCode)>,
    refused: BTreeMap<String, PassError>,
    maps: Vec<MapId>,
    notes: Vec<String>,
}

impl Bpf {
    /// Starts building.
    #[must_use]
    pub fn builder() -> BpfBuilder {
        BpfBuilder::default()
    }

    /// Loads a compiled object with all defaults.
    ///
    /// # Errors
    /// If it is no valid object, or the machine refuses it.
    pub fn load(object: impl Into<Vec<u8>>) -> Result<Self, Error> {
        Self::builder().object(object).load()
    }

    /// The machine below, with everything that this facade does not show.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// A copy of everything; its cost follows what is changed afterwards, on either side. A kernel's state cannot be
    /// copied: everything that needs it is an error of the copy.
    ///
    /// ```
    /// use bpf_harness::Bpf;
    /// # let object = bpf_fixtures::object("vfsreadlat").unwrap();
    /// let mut before = Bpf::load(object)?;
    /// before.attach_all()?;
    /// let mut after = before.fork();
    /// after.kprobe("vfs_read").fire()?;
    /// assert_eq!((before.table("start")?.len(), after.table("start")?.len()), (0, 1));
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self {
            machine: self.machine.fork(),
            objects: self.objects.clone(),
            attached: self.attached.clone(),
            host: self.host.clone(),
            tracepoints: self.tracepoints.clone(),
            kernel: self.kernel.as_ref().map(|_| -> Box<dyn Backend> { Box::new(Gone) }),
        }
    }

    /// On what it runs.
    #[must_use]
    pub fn tier(&self) -> Tier {
        if self.kernel.is_some() { Tier::Kernel } else { Tier::Simulator }
    }

    pub(crate) fn maps(&mut self) -> Maps<'_> {
        let kernel = self.kernel.as_deref_mut();
        Maps { machine: &mut self.machine, kernel }
    }

    /// Remarks of the loader about what was decided for the author.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.objects.iter().flat_map(|o| o.notes.iter().map(String::as_str))
    }

    /// The names of the programs that can run, in the object's order.
    pub fn program_names(&self) -> impl Iterator<Item = &str> {
        self.machine.kernel.progs.iter().map(|p| p.linked.name.as_str())
    }

    /// The linked form of a program.
    ///
    /// # Errors
    /// If there is none of this name, or it is not valid.
    pub fn program(&self, name: &str) -> Result<&LinkedProgram, Error> {
        Ok(&self.loaded_program(name)?.linked)
    }

    /// The type of a program; `unspec` if there is none of this name.
    #[must_use]
    pub fn program_type(&self, name: &str) -> ProgType {
        self.machine.kernel.progs.by_name(name).map_or(ProgType::Unspec, |p| p.prog_type)
    }

    fn loaded_program(&self, name: &str) -> Result<&bpf_helpers_mock::LoadedProg, Error> {
        if let Some(p) = self.machine.kernel.progs.by_name(name) {
            return Ok(p);
        }
        for o in &self.objects {
            if let Some((program, source)) = o.rejected.iter().find(|(n, _)| n == name) {
                return Err(Error::Rejected { program: program.clone(), source: source.clone() });
            }
            if let Some(source) = o.refused.get(name) {
                return Err(source.clone().into());
            }
        }
        Err(Error::not_found("program", name, self.program_names()))
    }

    /// Checks a program as the kernel's verifier would before it runs; see [`bpf_helpers_mock::verifier`].
    ///
    /// # Errors
    /// What the kernel would refuse. A program that is not there is not refused.
    pub fn verify(&self, program: &str) -> Result<(), bpf_helpers_mock::verifier::Refusal> {
        match self.loaded_program(program) {
            Ok(prog) => bpf_helpers_mock::verifier::check(&self.machine.kernel, prog.id),
            Err(_) => Ok(()),
        }
    }

    /// Runs one program by name, whatever it is attached to, and reports how it ended.
    ///
    /// # Errors
    /// If there is no such program or the machine has no memory for it. A fault is in the report.
    pub fn run(&mut self, program: &str, input: Input) -> Result<RunReport, Error> {
        let report = self.run_unseen(program, input)?;
        self.host.seen.runs(std::slice::from_ref(&report));
        Ok(report)
    }

    fn run_unseen(&mut self, program: &str, input: Input) -> Result<RunReport, Error> {
        self.check_refused()?;
        let prog = self.loaded_program(program)?;
        let (id, prog_type) = (prog.id, prog.prog_type);
        if let Some(kernel) = &mut self.kernel {
            let packet = input.kernel_packet(prog_type)?;
            let run = kernel.run(id, input.given_ctx(), packet, &self.machine.kernel.state.tasks)?;
            return Ok(RunReport::of_kernel(program, run));
        }
        let run_input = input.prepare(&mut self.machine, id, prog_type)?;
        let report = self.machine.run(id, run_input)?;
        Ok(self.report(program, report))
    }

    /// What is to be compared with another tier.
    pub(crate) fn seen(&mut self) -> &mut crate::diff::Seen {
        &mut self.host.seen
    }

    fn report(&self, program: &str, report: bpf_helpers_mock::Report) -> RunReport {
        let find = |name: &str| self.machine.kernel.progs.by_name(name).map(|p| &p.linked);
        let gap_at = report.gap_at.as_ref().and_then(|at| SourceLine::of(find(&at.prog)?, at.insn));
        let diagnostic = match &report.outcome {
            Outcome::Fault(fault) => Some(Box::new(Diagnostic::new(fault, find))),
            _ => None,
        };
        let (outcome, insns, packet) = (report.outcome, report.insns, report.packet);
        RunReport { program: program.to_owned(), outcome, insns, packet, gap_at, diagnostic, ret_known: true }
    }
}

impl Drop for Bpf {
    fn drop(&mut self) {
        crate::diff::leave(self);
    }
}
