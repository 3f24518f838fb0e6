//! User space of a scenario: binaries, what processes have mapped, counters.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::file::{Number, Scenario};
use super::kernel::{Names, Placed, at, number};
use crate::bpf::Bpf;
use crate::symbols::{Binary, Process};
use crate::tier::Tier;

/// A binary or library: a file, or declared by its symbols and probes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BinaryFile {
    /// The path under which it is known.
    pub path: String,
    /// An ELF file with its symbols and probes, relative to the scenario.
    pub file: Option<Spanned<String>>,
    /// Addresses of functions, as the file has them.
    #[serde(default)]
    pub symbols: BTreeMap<String, u64>,
    /// Statically defined probes.
    #[serde(default)]
    pub probe: Vec<Spanned<ProbeFile>>,
}

/// A statically defined probe of a declared binary.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProbeFile {
    /// Its provider.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// Its address, as the file has it.
    pub at: u64,
    /// Where its arguments are, as the notes of binaries say it: `8@%rdi -4@-20(%rbp)`.
    #[serde(default)]
    pub args: String,
}

/// A binary in the memory of a process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MappingFile {
    /// The binary, by path or short name.
    pub binary: String,
    /// Where its address 0 is.
    pub at: u64,
    /// How many bytes belong to it.
    #[serde(default = "default_size")]
    pub size: u64,
}

/// A counter of a perf event array.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CounterFile {
    /// The map.
    pub map: String,
    /// The CPU.
    #[serde(default)]
    pub cpu: u32,
    /// Its value when the first program reads it.
    #[serde(default)]
    pub value: u64,
    /// What each reading adds.
    #[serde(default)]
    pub step: u64,
    /// What a real one counts, on every CPU, as `perf list` calls it: `cpu-clock`, `cycles`. On the simulator every CPU
    /// then has the counter that the rest says.
    pub event: Option<Spanned<String>>,
    /// There is none: programs that read it get an error.
    #[serde(default)]
    pub closed: bool,
}

fn default_size() -> u64 {
    16 << 20
}

/// The longest function of a declared binary.
const REACH: u64 = 0x1000;

impl BinaryFile {
    /// The binary that is described.
    pub(super) fn binary(&self, dir: &Path) -> Result<Binary, Placed> {
        let mut binary = match &self.file {
            None => Binary::declared(self.path.as_str()),
            Some(file) => {
                let full = dir.join(file.get_ref());
                let bytes = std::fs::read(&full).map_err(|e| at(file)(format!("{}: {e}", full.display())))?;
                Binary::parse(&self.path, &bytes).map_err(|e| at(file)(e.to_string()))?
            }
        };
        for (name, addr) in &self.symbols {
            let next = self.symbols.values().filter(|a| *a > addr).min();
            let size = next.map_or(REACH, |n| (n - addr).min(REACH));
            binary = binary.symbol(name.as_str(), *addr, size);
        }
        for probe in &self.probe {
            let p = probe.get_ref();
            binary =
                binary.probe(&p.provider, &p.name, p.at, &p.args).map_err(|e| at(probe)(e.to_string()))?;
        }
        Ok(binary)
    }
}

/// Adds binaries, mappings and stacks; these name each other in this order.
pub(super) fn populate(scenario: &Scenario, dir: &Path, bpf: &mut Bpf, names: &Names) -> Result<(), Placed> {
    for b in &scenario.binary {
        bpf.add_binary(b.get_ref().binary(dir)?);
    }
    for t in &scenario.task {
        let file = t.get_ref();
        let tgid = file.tgid.unwrap_or(file.pid);
        if !file.map.is_empty() {
            let mut process = Process::new();
            for m in &file.map {
                let m = m.get_ref();
                let binary = bpf.find_binary(&m.binary).map_err(|e| at(t)(e.to_string()))?;
                process = process.map((*binary).clone(), m.at, m.size);
            }
            bpf.add_process(tgid, process);
        }
    }
    for t in &scenario.task {
        let file = t.get_ref();
        let tgid = file.tgid.unwrap_or(file.pid);
        let mut stack = |frames: &[Spanned<Number>]| {
            let addr = |f: &Spanned<Number>| number(f.get_ref(), names, bpf, tgid).map_err(at(f));
            frames.iter().map(addr).collect::<Result<Vec<_>, _>>()
        };
        let (kernel, user) = (stack(&file.kernel_stack)?, stack(&file.user_stack)?);
        if let Some(task) = bpf.machine().kernel.state.tasks.get_mut(file.pid) {
            (task.kernel_stack, task.user_stack) = (kernel, user);
        }
    }
    for c in &scenario.counter {
        let file = c.get_ref();
        if let Some(event) = &file.event {
            opened(file, event, bpf)?;
            continue;
        }
        let done = match file.closed {
            true => bpf.map(&file.map).and_then(|mut m| m.close_perf_event(file.cpu)),
            false => bpf.set_perf_counter(&file.map, file.cpu, file.value, file.step),
        };
        done.map_err(|e| at(c)(e.to_string()))?;
    }
    Ok(())
}

/// Opens a counter on every CPU.
fn opened(file: &CounterFile, event: &Spanned<String>, bpf: &mut Bpf) -> Result<(), Placed> {
    let (ev_type, config) = super::attach::perf_event(event.get_ref()).map_err(at(event))?;
    let text = |e: crate::error::Error| at(event)(e.to_string());
    bpf.map(&file.map).and_then(|mut m| m.open_perf_event(ev_type, config)).map_err(text)?;
    if bpf.tier() == Tier::Simulator {
        for cpu in 0..bpf.machine().kernel.profile.cpus {
            bpf.set_perf_counter(&file.map, cpu, file.value, file.step).map_err(text)?;
        }
    }
    Ok(())
}
