//! Loading: the objects that the describing machine has loaded, opened and loaded again by libbpf.
//!
//! A program that has no type until it is attached is loaded then, in an instance of its object of its own that shares
//! the maps of the first one (`bpf_map__reuse_fd`): libbpf loads all programs of an object at once.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::Arc;

use bpf_helpers_mock::maps::MapId;
use bpf_helpers_mock::passes;
use bpf_helpers_mock::{LoadOptions, Loaded, LoadedProg, Machine, ProgId};
use bpf_vm_shim::btf::LineInfo;
use bpf_vm_shim::object::{AttachKind, AttachTarget, LinkedProgram, MapDef, MapType, Object, ProgType};
use libbpf_rs::{
    AsRawLibbpf, MapCore, MapFlags, MapHandle, ObjectBuilder, OpenMapMut, OpenObject, OpenProgramMut,
    ProgramAttachType, ProgramType,
};

use super::log_room::LogRoom;
use super::maps::KernelMap;
use super::object::{Opened, Prog};
use super::{Kernel, errors, legacy, messages, rewrite, slots, symbols, trace_pipe};
use crate::bpf::Backend;
use crate::error::Error;

/// What an object was loaded from, to load more of it later.
#[derive(Debug)]
pub(super) struct Source {
    bytes: Vec<u8>,
    object: Object,
    /// Definitions as the machine has completed them, and their numbers there.
    maps: Vec<(MapDef, MapId)>,
    passes: Option<passes::Options>,
}

/// A program that is wanted.
#[derive(Clone, Copy, Debug)]
struct Want<'a> {
    prog_type: ProgType,
    /// Where it belongs, if its section does not say.
    target: &'a AttachTarget,
    /// What it is in the describing machine.
    linked: Option<&'a LinkedProgram>,
}

/// Programs that are wanted, by name.
type Wanted<'a> = BTreeMap<&'a str, Want<'a>>;

/// Loads objects.
#[derive(Debug)]
pub(crate) struct Loader {
    kernel: Kernel,
}

impl Loader {
    pub(crate) fn new(made_up: bool) -> Self {
        Self {
            kernel: Kernel {
                made_up,
                sources: Vec::new(),
                late: BTreeMap::new(),
                progs: BTreeMap::new(),
                maps: BTreeMap::new(),
                perf: BTreeMap::new(),
                rings: BTreeMap::new(),
                counters: BTreeMap::new(),
                trace: trace_pipe::TracePipe::open(),
                symbols: symbols::Kallsyms,
                net: None,
                heap: None,
                actors: None,
            },
        }
    }

    /// Loads an object that the machine has loaded.
    pub(crate) fn object(
        &mut self,
        object: &Object,
        bytes: Vec<u8>,
        loaded: &Loaded,
        machine: &Machine,
        options: &LoadOptions,
    ) -> Result<(), Error> {
        if bytes.is_empty() {
            let why = "an object that was parsed elsewhere has no bytes for libbpf: give the builder the bytes or the file";
            return Err(Error::Invalid(why.to_owned()));
        }
        let bytes = legacy::modern(&bytes, object)?.into_owned();
        let def = |id: &MapId| Some(((*machine.kernel.maps.get(*id)?.def).clone(), *id));
        let source = Source {
            bytes,
            object: object.clone(),
            maps: loaded.maps.iter().filter_map(def).collect(),
            passes: options.passes.as_ref().map(|p| p.at_kernel(&machine.kernel.profile)),
        };
        let progs = loaded.progs.iter().filter_map(|id| machine.kernel.progs.get(*id));
        let (late, typed): (Vec<_>, Vec<_>) = progs.partition(|p| p.prog_type == ProgType::Unspec);
        let mut wanted: Wanted<'_> = typed.iter().map(|p| want(p)).collect();
        // What the simulator foresees that a kernel refuses, the kernel is to refuse itself.
        for p in object.programs.iter().filter(|p| loaded.refused.contains_key(&p.name)) {
            let want = Want { prog_type: p.prog_type, target: &p.attach, linked: None };
            if p.prog_type != ProgType::Unspec {
                wanted.insert(&p.name, want);
            }
        }
        let opened = Arc::new(source.load(&wanted, None)?);
        for (def, id) in &source.maps {
            if let Some(handle) = handle_of(&opened, def)? {
                self.kernel.maps.insert(*id, kernel_map(def, handle));
            }
        }
        for (outer, slot, inside) in legacy::initial_maps(object, &source.maps) {
            if let (Some(outer), Some(inside)) = (self.kernel.maps.get(&outer), self.kernel.maps.get(&inside))
            {
                let fd = inside.handle.as_fd().as_raw_fd().to_ne_bytes();
                let failed =
                    |e| Error::Invalid(format!("map '{}' cannot hold '{}': {e:#}", outer.name, inside.name));
                outer.handle.update(&slot.to_ne_bytes(), &fd, MapFlags::ANY).map_err(failed)?;
            }
        }
        for p in typed {
            let (name, object) = (p.linked.name.clone(), Arc::clone(&opened));
            self.kernel.progs.insert(p.id, Prog { name, object });
        }
        let source = Arc::new(source);
        for p in late {
            self.kernel.late.insert(p.id, (Arc::clone(&source), p.linked.name.clone()));
        }
        self.kernel.sources.push((source, opened));
        Ok(())
    }

    /// The kernel with everything loaded.
    pub(crate) fn finish(self) -> Result<Box<dyn Backend>, Error> {
        Ok(Box::new(self.kernel))
    }
}

impl Kernel {
    /// Loads a program that had no type.
    pub(super) fn load_late(
        &mut self,
        prog: ProgId,
        prog_type: ProgType,
        target: &AttachTarget,
    ) -> Result<(), Error> {
        let Some((source, name)) = self.late.get(&prog).cloned() else { return Ok(()) };
        let wanted: Wanted<'_> = [(name.as_str(), Want { prog_type, target, linked: None })].into();
        let object = Arc::new(source.load(&wanted, Some(&self.maps))?);
        self.progs.insert(prog, Prog { name, object });
        self.late.remove(&prog);
        Ok(())
    }
}

impl Source {
    /// Opens the object, loads the wanted programs, and leaves out the others.
    fn load(
        &self,
        wanted: &Wanted<'_>,
        shared: Option<&BTreeMap<MapId, KernelMap>>,
    ) -> Result<Opened, Error> {
        let name = if self.object.name.is_empty() { "object" } else { self.object.name.as_str() };
        let bytes = slots::only(&self.bytes, &self.object, |program| wanted.contains_key(program));
        let (opened, said) = messages::of(|| {
            let mut builder = ObjectBuilder::default();
            builder.name(name)?;
            builder.open_memory(&bytes)
        });
        let failed = |what: &str, e: &libbpf_rs::Error, said: &str| {
            let why = errors::privilege(e).map_or_else(|| format!("{e:#}"), str::to_owned);
            let said = if said.is_empty() { String::new() } else { format!("\nlibbpf: {said}") };
            Error::Invalid(format!("object '{name}' cannot be {what}: {why}{said}"))
        };
        let mut open = opened.map_err(|e| failed("opened by libbpf", &e, &said))?;
        self.set_maps(&mut open, shared)?;
        set_programs(&mut open, wanted);
        let logs = set_logs(&mut open, wanted);
        if let Some(passes) = &self.passes {
            let (prepared, said) = messages::of(|| prepare(&open));
            prepared.map_err(|e| failed("prepared by libbpf", &e, &said))?;
            self.rewrite(&open, wanted, passes)?;
        }
        let (loaded, said) = messages::of(|| open.load());
        match loaded {
            Ok(object) => Ok(Opened { object }),
            Err(e) => {
                let refused = logs.iter().find(|(_, log)| !log.text().is_empty());
                match refused {
                    Some((program, log)) => Err(errors::refused(
                        program,
                        log.text(),
                        wanted.get(program.as_str()).and_then(|w| w.linked),
                        self.lines_of(program),
                    )),
                    None => Err(failed("loaded", &e, &said)),
                }
            }
        }
    }

    /// What the object says of the source lines of a program's section.
    fn lines_of(&self, program: &str) -> &[LineInfo] {
        let found = self.object.programs.iter().find(|p| p.name == program);
        let lines = found.zip(self.object.btf_ext.as_ref()).map(|(p, ext)| ext.line_info(&p.section));
        lines.unwrap_or_default()
    }

    fn set_maps(
        &self,
        open: &mut OpenObject,
        shared: Option<&BTreeMap<MapId, KernelMap>>,
    ) -> Result<(), Error> {
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            let failed = |e: libbpf_rs::Error| Error::Invalid(format!("map '{name}': {e:#}"));
            let Some((def, id)) = self.maps.iter().find(|(def, _)| is_called(def, &name)) else { continue };
            unpin(&map.as_libbpf_object());
            if let Some(own) = shared.and_then(|s| s.get(id)) {
                map.reuse_fd(own.handle.as_fd()).map_err(failed)?;
                continue;
            }
            let Some(data) = def.data.as_ref().filter(|_| def.section != ".kconfig") else {
                complete(&mut map, def).map_err(failed)?;
                continue;
            };
            // What a structure of operations holds is libbpf's to fill in.
            if def.map_type == MapType::StructOps {
                continue;
            }
            // What libbpf has from the file anyway is not worth a copy; `.bss` may be large. Of an arena it is the part that
            // has variables.
            let Some(known) = map.initial_value() else { continue };
            let changed = u32::try_from(known.len()).ok().and_then(|len| data.read(0, len));
            if let Some(bytes) = changed.filter(|bytes| bytes.as_slice() != &*known) {
                map.set_initial_value(&bytes).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn rewrite(
        &self,
        open: &OpenObject,
        wanted: &Wanted<'_>,
        options: &passes::Options,
    ) -> Result<(), Error> {
        let mut maps = Vec::new();
        for map in open.maps() {
            let name = map.name().to_string_lossy().into_owned();
            if let Some((def, _)) = self.maps.iter().find(|(def, _)| is_called(def, &name)) {
                // SAFETY: the map is alive as long as the object.
                maps.push((def.clone(), unsafe { libbpf_sys::bpf_map__fd(map.as_libbpf_object().as_ptr()) }));
            }
        }
        for prog in open.progs() {
            let name = prog.name().to_string_lossy().into_owned();
            if let Some(Want { prog_type, .. }) = wanted.get(name.as_str()) {
                rewrite::rewrite(
                    prog.as_libbpf_object().as_ptr(),
                    &name,
                    *prog_type,
                    &self.object,
                    &maps,
                    options,
                )?;
            }
        }
        Ok(())
    }
}

/// Sets what the object leaves to its loader, as the machine has set it.
fn complete(map: &mut OpenMapMut<'_>, def: &MapDef) -> Result<(), libbpf_rs::Error> {
    if map.max_entries() != def.max_entries && def.max_entries != 0 {
        map.set_max_entries(def.max_entries)?;
    }
    if def.struct_ops.is_some() {
        // The kernel's own structure has the size.
        return Ok(());
    }
    if map.key_size() != def.key_size {
        map.set_key_size(def.key_size)?;
    }
    if map.value_size() != def.value_size {
        map.set_value_size(def.value_size)?;
    }
    Ok(())
}

fn want(prog: &LoadedProg) -> (&str, Want<'_>) {
    let (prog_type, linked) = (prog.prog_type, &prog.linked);
    (linked.name.as_str(), Want { prog_type, target: &linked.attach, linked: Some(linked) })
}

/// A map of its own, instead of the pinned one that its declaration asks for.
pub(super) fn unpin(map: &NonNull<libbpf_sys::bpf_map>) {
    // SAFETY: the map belongs to an object that is open; a null path means no path.
    let _ = unsafe { libbpf_sys::bpf_map__set_pin_path(map.as_ptr(), std::ptr::null()) };
}

/// `bpf_object__prepare`: maps are made and instructions relocated, nothing is loaded.
pub(super) fn prepare(open: &OpenObject) -> Result<(), libbpf_rs::Error> {
    // SAFETY: the object is alive, and nobody else uses it meanwhile.
    let ret = unsafe { libbpf_sys::bpf_object__prepare(open.as_libbpf_object().as_ptr()) };
    if ret == 0 { Ok(()) } else { Err(libbpf_rs::Error::from_raw_os_error(-ret)) }
}

fn set_programs(open: &mut OpenObject, wanted: &Wanted<'_>) {
    for mut prog in open.progs_mut() {
        let name = prog.name().to_string_lossy().into_owned();
        let Some(Want { prog_type, target, .. }) = wanted.get(name.as_str()) else {
            prog.set_autoload(false);
            continue;
        };
        prog.set_autoload(true);
        set_type(&mut prog, *prog_type, target);
        if target.kind == AttachKind::Usdt {
            leave_to_us(&mut prog);
        }
    }
}

/// Takes a USDT program out of libbpf's hands, which loads it for links of uprobe_multi where the kernel has these
/// (`libbpf_prepare_prog_load()`). We attach it, and made-up events are uprobes too.
fn leave_to_us(prog: &mut OpenProgramMut<'_>) {
    // Only another type makes libbpf forget what the section's name has meant.
    prog.set_prog_type(ProgramType::SocketFilter);
    prog.set_prog_type(ProgramType::Kprobe);
    if prog.section().to_string_lossy().starts_with("usdt.s") {
        // What the name has meant besides.
        prog.set_flags(libbpf_sys::BPF_F_SLEEPABLE);
    }
}

/// Gives a program its type, and what it is loaded for.
pub(super) fn set_type(prog: &mut OpenProgramMut<'_>, prog_type: ProgType, target: &AttachTarget) {
    // What libbpf knows from the section's name it knows best.
    if prog.prog_type() as u32 == prog_type.number() {
        return;
    }
    prog.set_prog_type(ProgramType::from(prog_type.number()));
    if let Some((attach_type, by_name)) = attach_type(target.kind) {
        prog.set_attach_type(attach_type);
        if by_name {
            // An error comes back when the program is loaded, with the name.
            let _ = prog.set_attach_target(0, target.name().map(str::to_owned));
        }
    }
}

/// `expected_attach_type` of programs that need one, and whether they are loaded for one function.
fn attach_type(kind: AttachKind) -> Option<(ProgramAttachType, bool)> {
    use AttachKind as K;
    use ProgramAttachType as T;
    Some(match kind {
        K::Fentry => (T::TraceFentry, true),
        K::Fexit => (T::TraceFexit, true),
        K::FmodRet => (T::ModifyReturn, true),
        K::TpBtf => (T::TraceRawTp, true),
        K::Lsm => (T::LsmMac, true),
        K::KprobeMulti | K::KretprobeMulti => (T::KprobeMulti, false),
        _ => return None,
    })
}

/// Gives each program that is going to be loaded room for the verifier's log.
fn set_logs(open: &mut OpenObject, wanted: &Wanted<'_>) -> Vec<(String, LogRoom)> {
    let mut logs = Vec::new();
    for prog in open.progs_mut() {
        let name = prog.name().to_string_lossy().into_owned();
        if wanted.contains_key(name.as_str()) {
            // Without room there is libbpf's own message.
            let Some(mut log) = LogRoom::new() else { continue };
            // SAFETY: the mapping lives longer than the load, and does not move with the vector that owns it.
            unsafe {
                libbpf_sys::bpf_program__set_log_buf(
                    prog.as_libbpf_object().as_ptr(),
                    log.as_mut_ptr().cast(),
                    log.size() as libbpf_sys::size_t,
                );
            }
            logs.push((name, log));
        }
    }
    logs
}

/// Whether libbpf's name of a map is that of a definition: data sections carry the start of the object's name.
pub(super) fn is_called(def: &MapDef, name: &str) -> bool {
    def.name == name || def.data.is_some() && name.ends_with(&def.section)
}

fn handle_of(opened: &Opened, def: &MapDef) -> Result<Option<MapHandle>, Error> {
    let found = opened.object.maps().find(|m| is_called(def, &m.name().to_string_lossy()));
    // Maps that are not created have no descriptor.
    let Some(map) = found.filter(|_| def.autocreate) else { return Ok(None) };
    let failed = |e: libbpf_rs::Error| Error::Invalid(format!("map '{}': {e:#}", def.name));
    MapHandle::try_from(&map).map(Some).map_err(failed)
}

fn kernel_map(def: &MapDef, handle: MapHandle) -> KernelMap {
    KernelMap {
        name: def.name.clone(),
        map_type: def.map_type,
        key_size: handle.key_size() as usize,
        value_size: handle.value_size() as usize,
        max_entries: handle.max_entries(),
        handle,
    }
}
