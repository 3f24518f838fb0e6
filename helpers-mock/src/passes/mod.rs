//! What bcc's compiler does to a program's source, done to its bytecode: arguments of the probed function
//! ([`Options::arguments`]) and reads of memory that only `bpf_probe_read` may read ([`Options::probe_reads`]).
//!
//! [`apply`] changes a linked program; [`rewrite`] does the same to plain instructions, for those who give them to a
//! kernel. [`refuse_direct_loads`] says what a kernel would say of a program that was not changed.
//! Source of the behaviour: bcc's reference guide ("kprobes", "rewriter") and what its tools rely on.

mod arguments;
mod direct;
mod error;
mod probe_reads;
mod splice;
#[cfg(test)]
mod tests;

use bpf_vm_shim::btf::{Btf, TypeId};
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::object::{Arch, KernelProfile, LinkedProgram, ProgType};

pub use arguments::{Argument, of_function as arguments_of};
pub use direct::{DirectLoad, direct_loads, refuse_direct_loads};
pub use error::PassError;

use crate::flow::{Subject, Tables};

/// Which helper reads memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum Reader {
    /// `bpf_probe_read` (4), which takes kernel and user addresses where the two do not overlap, as on x86-64 and
    /// arm64. bcc's own choice there: some programs read user memory through pointers of kernel functions.
    #[default]
    Either,
    /// `bpf_probe_read_kernel` (113), from Linux 5.5 on; before, `bpf_probe_read`.
    Kernel,
}

/// What to do, and for which kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Load the probed function's arguments into the registers of the parameters behind the context.
    pub arguments: bool,
    /// Read memory that must not be read directly by `bpf_probe_read`.
    pub probe_reads: bool,
    /// Which helper reads.
    pub reader: Reader,
    /// The architecture, for `struct pt_regs`.
    pub arch: Arch,
    /// `LINUX_KERNEL_VERSION`: old kernels have fewer helpers and instructions.
    pub version: u32,
    /// System calls have wrapper functions, whose only argument points to the registers.
    pub syscall_wrapper: bool,
    /// Refuse a program that then still reads memory directly that it must not, as the kernel does.
    pub refuse: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self::for_kernel(&KernelProfile::default())
    }
}

impl Options {
    /// Both passes, for a kernel.
    #[must_use]
    pub fn for_kernel(kernel: &KernelProfile) -> Self {
        Self {
            arguments: true,
            probe_reads: true,
            reader: Reader::default(),
            arch: kernel.arch,
            version: kernel.version,
            syscall_wrapper: kernel.syscall_wrapper,
            refuse: true,
        }
    }

    /// The same choices for another kernel.
    #[must_use]
    pub fn at_kernel(&self, kernel: &KernelProfile) -> Self {
        let (arch, version, syscall_wrapper) = (kernel.arch, kernel.version, kernel.syscall_wrapper);
        Self { arch, version, syscall_wrapper, ..self.clone() }
    }

    /// With or without automatic arguments.
    #[must_use]
    pub const fn with_arguments(mut self, on: bool) -> Self {
        self.arguments = on;
        self
    }

    /// With or without automatic reads.
    #[must_use]
    pub const fn with_probe_reads(mut self, on: bool) -> Self {
        self.probe_reads = on;
        self
    }

    /// With another helper to read with.
    #[must_use]
    pub const fn with_reader(mut self, reader: Reader) -> Self {
        self.reader = reader;
        self
    }

    const fn at_least(&self, major: u8, minor: u8) -> bool {
        self.version >= KernelProfile::kernel_version(major, minor, 0)
    }

    /// The helper that reads memory.
    const fn helper(&self) -> i32 {
        match self.reader {
            Reader::Kernel if self.at_least(5, 5) => 113,
            _ => 4,
        }
    }
}

/// What was changed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Arguments that are loaded at the program's start.
    pub arguments: usize,
    /// Loads that became reads by helper.
    pub probe_reads: usize,
}

impl Report {
    /// Whether nothing was changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.arguments == 0 && self.probe_reads == 0
    }
}

/// Changed instructions, and where the old ones are now.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Rewritten {
    /// The instructions.
    pub insns: Vec<Insn>,
    /// The place of each old instruction, and of the end; the first is 0, also where code was put in front of it.
    pub places: Vec<usize>,
    /// What was changed.
    pub report: Report,
}

/// Applies the passes to a linked program: its instructions, its source lines and its functions move along.
///
/// `prog_type` is what the program is loaded as, which may be another type than its section says; without a type
/// nothing is done. Applying them again changes nothing.
///
/// # Errors
/// If the program needs more than the stack, the instruction set or the registers of that kernel offer, or still reads
/// memory directly that it must not.
pub fn apply(
    prog: &mut LinkedProgram,
    prog_type: ProgType,
    tables: Tables<'_>,
    options: &Options,
) -> Result<Report, PassError> {
    // A function that may become a program of some type, and one whose arguments are those of what it replaces.
    if matches!(prog_type, ProgType::Unspec | ProgType::Ext) {
        return Ok(Report::default());
    }
    let functions: Vec<usize> = prog.subprogs.iter().map(|s| s.start).collect();
    let main = prog.subprogs.first().and_then(|s| s.func);
    let subject = Subject {
        prog_type,
        insns: &prog.insns,
        functions: &functions,
        poisoned: Some(&prog.poisoned),
        tables,
    };
    let done = rewrite(&prog.name, &subject, main, options)?;
    if !done.report.is_empty() {
        move_along(prog, &done);
    }
    if options.refuse {
        refuse_direct_loads(prog, prog_type, tables, options.version)?;
    }
    Ok(done.report)
}

fn move_along(prog: &mut LinkedProgram, done: &Rewritten) {
    let place = |slot: usize| done.places.get(slot).copied().unwrap_or(done.insns.len());
    for line in &mut prog.lines {
        line.insn = place(line.insn);
    }
    for field in &mut prog.fields {
        field.insn = place(field.insn);
    }
    for function in &mut prog.subprogs {
        function.start = place(function.start);
        function.end = place(function.end);
    }
    prog.poisoned = std::mem::take(&mut prog.poisoned).into_iter().map(|(s, p)| (place(s), p)).collect();
    prog.insns.clone_from(&done.insns);
}

/// Applies the passes to instructions. `main` is the main function in the BTF of `subject.tables`; without it there are
/// no automatic arguments.
///
/// # Errors
/// As for [`apply`].
pub fn rewrite(
    name: &str,
    subject: &Subject<'_>,
    main: Option<TypeId>,
    options: &Options,
) -> Result<Rewritten, PassError> {
    let insns = subject.insns.to_vec();
    let places = (0..=insns.len()).collect();
    let mut done = Rewritten { insns, places, report: Report::default() };
    let proto = |btf: &Btf| main.map_or(Ok(Vec::new()), |m| arguments::of_function(btf, m, name));
    if options.arguments
        && subject.prog_type == ProgType::Kprobe
        && let Some(arguments) = subject.tables.btf.map(proto).transpose()?
    {
        let edits = arguments::edits(name, subject, &arguments, options)?;
        done.report.arguments = if edits.is_empty() { 0 } else { arguments.len() };
        done.edit(name, subject, &edits, options)?;
    }
    // Programs that work on packets may read no kernel memory, and those with typed pointers need no helper for it.
    if options.probe_reads && subject.prog_type.is_tracing() {
        let functions: Vec<usize> = subject.functions.iter().map(|f| done.place(*f)).collect();
        let poisoned = subject.poisoned.map(|p| p.iter().map(|(s, p)| (done.place(*s), p.clone())).collect());
        let changed = done.insns.clone();
        let subject =
            Subject { insns: &changed, functions: &functions, poisoned: poisoned.as_ref(), ..*subject };
        let edits = probe_reads::edits(name, &subject, options).map_err(|e| e.moved_back(&done.places))?;
        done.report.probe_reads = edits.len();
        done.edit(name, &subject, &edits, options)?;
    }
    Ok(done)
}

impl Rewritten {
    fn place(&self, slot: usize) -> usize {
        self.places.get(slot).copied().unwrap_or(self.insns.len())
    }

    fn edit(
        &mut self,
        name: &str,
        subject: &Subject<'_>,
        edits: &splice::Edits,
        options: &Options,
    ) -> Result<(), PassError> {
        if edits.is_empty() {
            return Ok(());
        }
        let patch = splice::splice(name, &self.insns, edits, options.at_least(6, 6), subject.poisoned)?;
        for place in &mut self.places {
            *place = patch.places.get(*place).copied().unwrap_or(patch.insns.len());
        }
        self.insns = patch.insns;
        Ok(())
    }
}
