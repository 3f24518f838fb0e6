//! Running programs and writing down what came of it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bpf_vm_shim::exec::Outcome;
use bpf_vm_shim::object::{AttachKind, AttachPoint, AttachTarget, MapType, Object, ProgType};

use super::{Facts, Group, Run, Section};
use crate::bpf::{Bpf, BpfBuilder, Input, Point, Record, RunReport};
use crate::error::Error;
use crate::redact::{Redact, Redaction};
use crate::scenario;
use crate::table::Entry;
use crate::tier::Tier;
use crate::value::Value;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Wanted<'a> {
    /// The compiled object.
    pub object: &'a [u8],
    /// A scenario, with the path of its file. Without one each program runs once, with the default input of its type.
    pub scenario: Option<(&'a Path, &'a str)>,
    /// Only this program.
    pub program: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// All programs of an object, each with the default input of its type.
    #[must_use]
    pub fn of(object: &'a [u8]) -> Self {
        Self { object, scenario: None, program: None }
    }
}

/// How long records and trace of a kernel are waited for. They are there when the program has returned.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs the programs on a tier, with made-up events or a scenario's stimuli, and says what came of it.
///
/// # Errors
/// If the bytes are no object. What is wrong with one program is in the facts.
pub fn facts(wanted: &Wanted<'_>, tier: Tier) -> Result<Facts, Error> {
    let object = Object::parse(wanted.object)
        .map_err(|source| Error::Load { object: "the object".to_owned(), source })?;
    let is_bcc = object.programs.iter().any(|p| {
        p.prog_type == ProgType::Unspec && p.section.strip_prefix(".text.") == Some(p.name.as_str())
    });
    let builder = || {
        let bytes = wanted.object.to_vec();
        let builder = Bpf::builder().tier(tier);
        if is_bcc { builder.bcc_object(bytes) } else { builder.object(bytes) }
    };
    if let Some((path, text)) = wanted.scenario {
        let (group, cpus) = played(path, text, builder());
        return Ok(Facts { groups: vec![group], cpus });
    }
    let names = object.programs.iter().map(|p| p.name.as_str());
    let chosen = names.filter(|name| wanted.program.is_none_or(|wanted| wanted == *name));
    Ok(Facts { groups: chosen.map(|name| alone(name, builder().made_up_events())).collect(), cpus: None })
}

fn played(path: &Path, text: &str, builder: BpfBuilder) -> (Group, Option<u32>) {
    let name = path.file_name().map_or_else(|| "scenario".to_owned(), |n| n.to_string_lossy().into_owned());
    let mut group = Group { name, ..Group::default() };
    match scenario::play_with(path, text, builder) {
        Ok(mut played) => {
            // What runs how often on a kernel nobody tells, when things really happen.
            if !played.stimulated {
                group.runs = played.runs.iter().map(run).collect();
            }
            let output = played.output.to_string();
            group.add("output", output.lines().map(str::to_owned).collect());
            state(&mut played.bpf, played.redaction.as_mut(), &mut group);
            let cpus = played.bpf.machine().kernel.state.cpus.count;
            return (group, Some(cpus));
        }
        Err(error) => group.not_run = Some(error.to_string()),
    }
    (group, None)
}

/// One program on a machine of its own.
fn alone(name: &str, builder: BpfBuilder) -> Group {
    let mut group = Group { name: name.to_owned(), ..Group::default() };
    let done = builder.only(name).load_all(true).load().and_then(|mut bpf| {
        let records = open(&mut bpf);
        group.runs = happen(&mut bpf, name)?.iter().map(run).collect();
        for (map, taken) in records {
            poll(&mut bpf, &map)?;
            let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            group.add(&format!("records of {map}"), taken.clone());
        }
        state(&mut bpf, None, &mut group);
        Ok(())
    });
    if let Err(error) = done {
        group.not_run = Some(error.to_string());
    }
    group
}

/// Lets happen what the program waits for: at the place of its section, with all arguments 0.
fn happen(bpf: &mut Bpf, name: &str) -> Result<Vec<RunReport>, Error> {
    let target = bpf.program(name)?.attach.clone();
    if let Some(point) = point(&target) {
        bpf.attach(name)?;
        return bpf.event(point).try_fire();
    }
    if matches!(bpf.program_type(name), ProgType::Unspec | ProgType::Kprobe) {
        // A program for any probe, as most of bcc's: at a function that every kernel has.
        let point = Point::Kprobe("vfs_read".to_owned());
        bpf.attach_to(name, &point, 0)?;
        return bpf.event(point).try_fire();
    }
    let input = match bpf.program_type(name) {
        ProgType::Syscall => Input::default_for_type(),
        _ => Input::default_for_type().with_packet(vec![0; 64]),
    };
    Ok(vec![bpf.run(name, input)?])
}

/// The probe of a section, `None` for programs that run on packets or by the `bpf` system call.
fn point(target: &AttachTarget) -> Option<Point> {
    use AttachKind as K;
    let name = || target.name().map(str::to_owned);
    Some(match (target.kind, &target.point) {
        (K::Kprobe | K::KprobeMulti, _) => Point::Kprobe(name()?),
        (K::Kretprobe | K::KretprobeMulti, _) => Point::Kretprobe(name()?),
        (K::Ksyscall, AttachPoint::Syscall(name)) => Point::Ksyscall(name.clone()),
        (K::Uprobe, AttachPoint::Binary { function: Some(f), .. }) => Point::Uprobe(f.clone()),
        (K::Uretprobe, AttachPoint::Binary { function: Some(f), .. }) => Point::Uretprobe(f.clone()),
        (K::Tracepoint, AttachPoint::Tracepoint { category, name }) => {
            Point::Tracepoint(category.clone(), name.clone())
        }
        (K::RawTracepoint | K::TpBtf, _) => Point::RawTp(name()?),
        (K::Fentry, _) => Point::Fentry(name()?),
        (K::Fexit, _) => Point::Fexit(name()?),
        (K::FmodRet, _) => Point::FmodRet(name()?),
        (K::Lsm, _) => Point::Lsm(name()?),
        (K::PerfEvent, _) => Point::PerfEvent,
        _ => return None,
    })
}

pub(super) fn run(report: &RunReport) -> Run {
    let stopped = match &report.outcome {
        Outcome::Returned(_) => None,
        Outcome::Fault(fault) => Some(format!("fault: {}", fault.kind)),
        Outcome::Unsupported(gap) => Some(format!("unsupported: {}", gap.name)),
    };
    let ret = match report.outcome {
        Outcome::Returned(r0) if report.ret_known => Some(r0 as u32),
        _ => None,
    };
    let packet = report.packet.as_ref().map(|p| p.packet.iter().map(|b| format!("{b:02x}")).collect());
    Run { program: report.program.clone(), stopped, ret, packet }
}

/// A record as JSON, or its bytes where its type is not known.
pub(super) fn record_text(record: &Record<'_>) -> String {
    match record.value() {
        Ok(value) => serde_json::to_string(&value).unwrap_or_default(),
        Err(_) => record.data().iter().map(|b| format!("{b:02x}")).collect(),
    }
}

type Taken = Arc<Mutex<Vec<String>>>;

/// Opens all rings, before anything is written to them.
fn open(bpf: &mut Bpf) -> Vec<(String, Taken)> {
    let names: Vec<String> = bpf.map_names().map(str::to_owned).collect();
    let mut open = Vec::new();
    for name in names {
        let taken = Taken::default();
        let into = Arc::clone(&taken);
        let keep = move |record: Record<'_>| {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(record_text(&record));
        };
        let opened = match map_type(bpf, &name) {
            Some(MapType::PerfEventArray) => bpf.open_perf_buffer(&name, move |_, record| keep(record)),
            Some(MapType::Ringbuf) => bpf.open_ring_buffer(&name, keep),
            _ => continue,
        };
        if opened.is_ok() {
            open.push((name, taken));
        }
    }
    open
}

fn poll(bpf: &mut Bpf, map: &str) -> Result<usize, Error> {
    match map_type(bpf, map) {
        Some(MapType::Ringbuf) => bpf.ring_buffer_poll(PATIENCE),
        _ => bpf.perf_buffer_poll(PATIENCE),
    }
}

fn map_type(bpf: &mut Bpf, name: &str) -> Option<MapType> {
    let machine = bpf.machine();
    let map = machine.map_by_name(name)?;
    machine.kernel.maps.get(map).map(|m| m.def.map_type)
}

/// Maps with data, redacted if that is wanted, and the trace.
pub(super) fn state(bpf: &mut Bpf, mut redaction: Option<&mut Redaction>, group: &mut Group) {
    let names: Vec<String> = bpf.map_names().map(str::to_owned).collect();
    for name in names {
        // The others hold addresses of a tier, or nothing.
        let has_data = matches!(
            map_type(bpf, &name),
            Some(
                MapType::Hash
                    | MapType::Array
                    | MapType::PercpuHash
                    | MapType::PercpuArray
                    | MapType::LruHash
                    | MapType::LruPercpuHash
                    | MapType::LpmTrie
                    | MapType::Queue
                    | MapType::Stack
            )
        );
        // Constants are what they were.
        if !has_data || name.contains(".rodata") || name.contains(".kconfig") {
            continue;
        }
        match bpf.table(&name) {
            Ok(table) => {
                let table = table.nonzero();
                let text = |v: &Value| serde_json::to_string(v).unwrap_or_default();
                let lines = match &mut redaction {
                    None => {
                        let line = |e: &Entry| format!("{}: {}", text(&e.key), text(&e.value));
                        table.items().iter().map(line).collect()
                    }
                    Some(redaction) => {
                        let member = |e: &Value, name| e.get(name).map(text).unwrap_or_default();
                        let line = |e: &Value| format!("{}: {}", member(e, "key"), member(e, "value"));
                        table.redact(redaction).iter().map(line).collect()
                    }
                };
                group.add(&format!("map {name}"), lines);
            }
            Err(error) => group.add(&format!("map {name}"), vec![format!("cannot be read: {error}")]),
        }
    }
    let mut lines = Vec::new();
    while let Ok(Some(line)) = bpf.trace_fields(true) {
        lines.push(line.msg);
    }
    group.add("trace", lines);
}

impl Group {
    /// What is empty on both tiers is not worth a heading; which side has it is seen by the other one.
    pub(super) fn add(&mut self, title: &str, lines: Vec<String>) {
        if !lines.is_empty() {
            self.sections.push(Section { title: title.to_owned(), lines });
        }
    }
}
