//! The whole simulated machine in one value.

use std::collections::BTreeMap;
use std::sync::Arc;

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::engine::{Engine, Interp};
use bpf_vm_shim::exec::{Code, Execution, InvalidCode, Limits, Outcome};
use bpf_vm_shim::fault::Site;
use bpf_vm_shim::mem::{MemError, Memory};
use bpf_vm_shim::object::{
    KernelProfile, LinkError, LinkOptions, Linked, LinkedProgram, MapDef, Object, ProgType, SlotTarget,
};

use crate::contexts::{self, PacketOutput};
use crate::kernel::Kernel;
use crate::maps::{self, MapCx, MapError, MapId, MapOpError};
use crate::passes::{self, PassError};
use crate::prepare::PrepareError;
use crate::progs::{LoadedObject, LoadedProg, ProgId};
use crate::run::{Run, RunInput};

/// Something could not be put into the machine or started.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The object does not link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A map cannot be created.
    #[error(transparent)]
    Map(#[from] MapError),
    /// An initial value cannot be put into its map.
    #[error(transparent)]
    Value(#[from] MapOpError),
    /// No memory.
    #[error(transparent)]
    Memory(#[from] MemError),
    /// No function of the program starts there.
    #[error("no function of the program starts at {addr:#x}")]
    NoFunction {
        /// The address.
        addr: u64,
    },
    /// Timers start themselves again and again without time passing.
    #[error("timers do not come to rest: {callbacks} callbacks ran in one advance of the clock")]
    EndlessTimers {
        /// How many ran.
        callbacks: usize,
    },
    /// A program is not valid for what it is attached to.
    #[error("program '{program}' is not valid: {source}")]
    Invalid {
        /// The program.
        program: String,
        /// Why.
        source: InvalidCode,
    },
    /// A program cannot be rewritten, or reads memory that it must not.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// No such program.
    #[error("there is no program number {}", .0.0)]
    NoProgram(ProgId),
}

/// How a run ended, and how long it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Instructions executed.
    pub insns: u64,
    /// Where it ended, if that was because of a gap.
    pub gap_at: Option<Site>,
    /// What became of the packet, for contexts that carry one.
    pub packet: Option<PacketOutput>,
}

/// What loading an object gave.
#[derive(Clone, Default, Debug)]
pub struct Loaded {
    /// The programs, in the object's order.
    pub progs: Vec<ProgId>,
    /// Programs that are not valid, by name.
    pub rejected: BTreeMap<String, InvalidCode>,
    /// Programs that cannot be rewritten, or that the kernel would refuse for reading memory directly, by name.
    pub refused: BTreeMap<String, PassError>,
    /// The maps, in the object's order.
    pub maps: Vec<MapId>,
    /// Remarks of the loader.
    pub notes: Vec<String>,
    /// What the passes changed, by program.
    pub rewritten: BTreeMap<String, passes::Report>,
}

/// How to load an object.
#[derive(Clone, Default, Debug)]
pub struct LoadOptions {
    /// Which programs, and how they are linked.
    pub link: LinkOptions,
    /// `max_entries` by map name, where another one than the object's is wanted (`bpf_map__set_max_entries`).
    pub max_entries: BTreeMap<String, u32>,
    /// Types for programs whose section names none, or another one.
    pub prog_types: BTreeMap<String, ProgType>,
    /// bcc's rewrites, for programs that count on them; the kernel is the machine's.
    pub passes: Option<passes::Options>,
}

impl LoadOptions {
    fn prog_type(&self, linked: &LinkedProgram) -> ProgType {
        self.prog_types.get(&linked.name).copied().unwrap_or(linked.prog_type)
    }
}

/// A simulated machine: memory and kernel. Everything that a test can observe is in here.
#[derive(Debug)]
pub struct Machine {
    /// The guest's memory.
    pub mem: Memory,
    /// The simulated kernel.
    pub kernel: Kernel,
    /// What bounds each run.
    pub limits: Limits,
    /// What runs programs.
    pub engine: Arc<dyn Engine>,
    stacks: Vec<u64>,
}

impl Machine {
    /// A machine with nothing loaded.
    #[must_use]
    pub fn new(profile: KernelProfile) -> Self {
        Self {
            mem: Memory::default(),
            kernel: Kernel::new(profile),
            limits: Limits::default(),
            engine: Arc::new(Interp),
            stacks: Vec::new(),
        }
    }

    /// A copy of the whole machine; its cost follows what is changed afterwards, on either side.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self {
            mem: self.mem.fork(),
            kernel: self.kernel.clone(),
            limits: self.limits,
            engine: Arc::clone(&self.engine),
            stacks: self.stacks.clone(),
        }
    }

    /// Links an object against the machine's kernel and loads its maps and programs.
    ///
    /// # Errors
    /// If it does not link or a map cannot be created. A program that is not valid is set aside, not an error.
    pub fn load(&mut self, object: &Object, options: &LoadOptions) -> Result<Loaded, MachineError> {
        let Linked { programs, maps: defs, kfuncs, ksyms: decls, notes, .. } =
            object.link(&self.kernel.profile, &options.link)?;
        let mut maps = Vec::new();
        let mut notes = notes;
        for mut def in defs.iter().cloned() {
            if let Some(entries) = options.max_entries.get(&def.name) {
                def.max_entries = *entries;
            }
            maps::complete(&mut def, self.kernel.state.cpus.count, &mut notes);
            let mut cx = MapCx::host(&mut self.mem, self.kernel.state.cpus.count);
            let map = maps::create(Arc::new(def), object.btf.clone(), &mut cx)?;
            maps.push(self.add_map(map)?);
        }
        let mut ksyms = Vec::new();
        for decl in &decls {
            ksyms.push(self.ksym(decl, object.btf.as_ref())?);
        }
        let shared = Arc::new(LoadedObject {
            name: object.name.clone(),
            license: object.license.clone(),
            btf: object.btf.clone(),
            kfuncs,
            maps: maps.clone(),
            defs,
            ksyms: decls.into_iter().zip(ksyms).collect(),
            passes: options.passes.as_ref().map(|p| p.at_kernel(&self.kernel.profile)),
        });
        let mut loaded = Loaded { maps, notes, ..Loaded::default() };
        for linked in programs {
            let (id, name) = (self.kernel.progs.next_id(), linked.name.clone());
            let prog_type = options.prog_type(&linked);
            match self.prepare(id, linked, prog_type, &shared) {
                Ok((prog, report)) => {
                    self.kernel.progs.push(prog);
                    loaded.progs.push(id);
                    if !report.is_empty() {
                        loaded.rewritten.insert(name, report);
                    }
                }
                Err(PrepareError::Invalid(invalid)) => {
                    loaded.rejected.insert(name, invalid);
                }
                Err(PrepareError::Pass(error)) => {
                    loaded.refused.insert(name, error);
                }
            }
        }
        self.fill_slots(object, &mut loaded)?;
        Ok(loaded)
    }

    /// Creates a map that no object defines, such as one to be put into a map of maps.
    ///
    /// # Errors
    /// If the kernel would refuse it or there is no memory.
    pub fn create_map(&mut self, def: MapDef) -> Result<MapId, MapError> {
        self.create_map_typed(def, None)
    }

    /// As [`Machine::create_map`], with the types that the definition's `key_type` and `value_type` are from.
    ///
    /// # Errors
    /// As there.
    pub fn create_map_typed(&mut self, def: MapDef, btf: Option<Btf>) -> Result<MapId, MapError> {
        let mut cx = MapCx::host(&mut self.mem, self.kernel.state.cpus.count);
        let map = maps::create(Arc::new(def), btf, &mut cx)?;
        self.add_map(map)
    }

    /// Puts the object's initial `values` into its arrays of programs and maps of maps, as libbpf's
    /// `init_map_in_map_slots` and `init_prog_array_slots` do.
    fn fill_slots(&mut self, object: &Object, loaded: &mut Loaded) -> Result<(), MachineError> {
        for (def, id) in object.maps.iter().zip(loaded.maps.clone()) {
            for value in &def.values {
                let number = match value.target {
                    SlotTarget::Map(index) => loaded.maps.get(index).map(|m| m.0),
                    SlotTarget::Program(index) => {
                        let named =
                            |p: &&ProgId| self.kernel.progs.get(**p).is_some_and(|p| p.linked.index == index);
                        loaded.progs.iter().find(named).map(|p| p.0)
                    }
                    _ => None,
                };
                let Some(number) = number else {
                    let what = format!(
                        "map '{}': value {} is not loaded, the slot stays empty",
                        def.name, value.slot
                    );
                    loaded.notes.push(what);
                    continue;
                };
                let mut key = value.slot.to_le_bytes().to_vec();
                key.resize(def.key_size as usize, 0);
                self.map_update(id, &key, &number.to_le_bytes(), 0)?;
            }
        }
        Ok(())
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// If there is no such program or no memory for its stack. What the program does wrong is in the report.
    pub fn run(&mut self, prog: ProgId, input: RunInput) -> Result<Report, MachineError> {
        let loaded = self.kernel.progs.get(prog).cloned().ok_or(MachineError::NoProgram(prog))?;
        let code = Arc::clone(&loaded.code);
        self.execute(loaded, code, None, input)
    }

    /// Runs code on behalf of a program, from its beginning or from a function (a timer's callback).
    pub(crate) fn execute(
        &mut self,
        loaded: Arc<LoadedProg>,
        code: Arc<Code>,
        at: Option<u64>,
        input: RunInput,
    ) -> Result<Report, MachineError> {
        let depth = self.kernel.runs.len();
        if self.stacks.len() <= depth {
            self.stacks.push(Execution::alloc_stack(&mut self.mem)?);
        }
        let mut execution = Execution::new(code, input.args, self.stacks[depth], self.limits, &mut self.mem);
        if let Some(addr) = at {
            execution = execution.at_function(addr).ok_or(MachineError::NoFunction { addr })?;
        }
        let scratch = input.scratch.clone();
        let (prog_type, packet) = (loaded.prog_type, input.packet);
        self.kernel.runs.push(Run::new(loaded, input));
        let engine = Arc::clone(&self.engine);
        let (outcome, insns) = match at {
            None => engine.run(execution, &mut self.mem, &mut self.kernel),
            // Other engines can start programs at their beginning only.
            Some(_) => Interp.run(execution, &mut self.mem, &mut self.kernel),
        };
        for run in self.kernel.runs.split_off(depth) {
            for addr in &run.freed {
                // It is there: nobody else could free it.
                let _ = self.mem.free(*addr);
            }
            // A run that faulted must not block the ring buffers for the next one.
            self.discard_records(run);
        }
        for addr in scratch {
            self.kernel.state.files.remove(addr);
            // Freed already if the input is used again.
            let _ = self.mem.free(addr);
        }
        let packet = packet.and_then(|id| contexts::finish(self, prog_type, id));
        let gap_at = self.kernel.gap_at.take().filter(|_| matches!(outcome, Outcome::Unsupported(_)));
        Ok(Report { outcome, insns, gap_at, packet })
    }
}
