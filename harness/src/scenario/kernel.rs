//! The machine of a scenario: its kernel before loading, its tasks and memory after.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use bpf_helpers_mock::state::Task;
use bpf_helpers_mock::{Machine, objects};
use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::mem::{Alloc, Area, Perm, RegionKind};
use bpf_vm_shim::object::{Arch, KernelProfile};

use super::actor::Actor;
use super::file::{MemoryFile, Number, Scenario};
use crate::bpf::{Bpf, BpfBuilder, MAX_CPUS};
use crate::tier::Tier;
use crate::value::{Value, hex_to_bytes};

/// An error and the place that it is about.
pub(super) type Placed = (Option<Range<usize>>, String);

/// Addresses by name.
pub(super) type Names = BTreeMap<String, u64>;

pub(super) fn at<T>(spanned: &toml::Spanned<T>) -> impl Fn(String) -> Placed + use<T> {
    let span = spanned.span();
    move |message| (Some(span.clone()), message)
}

/// Configures the builder. `dir` is where the scenario's other files are.
pub(super) fn configure(
    scenario: &Scenario,
    dir: &Path,
    actor: &Actor,
    builder: BpfBuilder,
) -> Result<BpfBuilder, Placed> {
    let k = &scenario.kernel;
    let mut profile = KernelProfile::default();
    if let Some(version) = &k.version {
        let wrong = || at(version)(format!("'{}' is no kernel version such as 6.12", version.get_ref()));
        profile.version = parse_version(version.get_ref()).ok_or_else(wrong)?;
    }
    if let Some(arch) = &k.arch {
        profile.arch = match arch.get_ref().as_str() {
            "x86_64" | "x86" => Arch::X86_64,
            "arm64" | "aarch64" => Arch::Arm64,
            other => {
                return Err(at(arch)(format!("'{other}' is no architecture; there are x86_64 and arm64")));
            }
        };
    }
    if let Some(path) = &k.btf {
        let full = dir.join(path.get_ref());
        let bytes = std::fs::read(&full).map_err(|e| at(path)(format!("{}: {e}", full.display())))?;
        profile.btf = Some(Btf::parse_file(bytes).map_err(|e| at(path)(e.to_string()))?);
    }
    if let Some(cpus) = &k.cpus {
        profile.cpus = *cpus.get_ref();
        if !(1..=MAX_CPUS).contains(&profile.cpus) {
            return Err(at(cpus)(format!("there may be 1 to {MAX_CPUS} CPUs")));
        }
    }
    profile.hz = k.hz.unwrap_or(profile.hz).max(1);
    profile.kconfig.clone_from(&k.kconfig);
    if let Some(functions) = &k.functions {
        profile.symbols = functions.iter().cloned().collect();
    }
    let mut builder = builder.kernel(profile).allow_uninit_stack(k.allow_uninit_stack);
    if let Some(seed) = k.seed {
        builder = builder.default_seed(seed);
    }
    if let Some(budget) = k.budget {
        builder = builder.budget(budget);
    }
    for (name, value) in &scenario.globals {
        builder = builder.global(name.as_str(), actor.value(value.get_ref()).map_err(at(value))?);
    }
    let binaries = scenario.binary.iter().map(|b| b.get_ref().binary(dir));
    let binaries = binaries.collect::<Result<Vec<_>, _>>()?;
    for a in &scenario.attach {
        if let Some(place) = &a.get_ref().usdt {
            builder = builder.usdt_context(a.get_ref().usdt_context(place, &binaries).map_err(at(a))?);
        }
    }
    builder = builder.cflags(scenario.compile.cflags.iter().map(|f| actor.flag(f)));
    Ok(builder)
}

fn parse_version(text: &str) -> Option<u32> {
    let mut parts = text.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().unwrap_or("0").parse().ok()?;
    let patch = parts.next().unwrap_or("0").parse().ok()?;
    parts.next().is_none().then(|| KernelProfile::kernel_version(major, minor, patch))
}

/// Puts clock, symbols, tasks and memory into the machine; gives the addresses by name.
pub(super) fn populate(scenario: &Scenario, dir: &Path, bpf: &mut Bpf) -> Result<Names, Placed> {
    let mut names = Names::new();
    let k = &scenario.kernel;
    if let Some(ns) = k.clock {
        bpf.set_clock(ns);
    }
    bpf.set_clock_step(k.clock_step.unwrap_or(0));
    for (name, addr) in &scenario.symbols {
        let addr = number(addr.get_ref(), &names, bpf, 0).map_err(at(addr))?;
        bpf.machine().kernel.state.symbols.define(name, addr);
    }
    for m in &scenario.memory {
        let bytes = bytes(m.get_ref(), &names, bpf, 0).map_err(at(m))?;
        let addr = kernel_memory(bpf.machine(), m.get_ref(), &bytes).map_err(at(m))?;
        names.extend(m.get_ref().name.clone().map(|n| (n, addr)));
    }
    for t in &scenario.task {
        task(t, bpf, &mut names)?;
    }
    for o in &scenario.object {
        let addr = object(o, &names, bpf)?;
        names.insert(o.get_ref().name.clone(), addr);
    }
    super::user::populate(scenario, dir, bpf, &names)?;
    Ok(names)
}

/// A kernel object; its members are numbers, addresses or text.
fn object(spanned: &toml::Spanned<super::ObjectFile>, names: &Names, bpf: &mut Bpf) -> Result<u64, Placed> {
    let file = spanned.get_ref();
    let mut members = Vec::new();
    for (path, value) in &file.set {
        let member = match (Number::of(value.get_ref()), value.get_ref()) {
            (Ok(n), _) => number(&n, names, bpf, 0).map_err(at(value))?.into(),
            (Err(_), Value::Text(text)) => objects::Value::from(text.as_str()),
            (Err(why), _) => return Err(at(value)(why)),
        };
        members.push((path, value, member));
    }
    let mut builder = bpf.machine().object(&file.type_name);
    for (path, _, member) in members {
        builder = builder.set(path, member);
    }
    Ok(builder.build().map_err(|e| at(spanned)(e.to_string()))?.addr)
}

fn task(t: &toml::Spanned<super::TaskFile>, bpf: &mut Bpf, names: &mut Names) -> Result<(), Placed> {
    let file = t.get_ref();
    let mut task = Task::new(file.pid, file.comm.as_str());
    task.tgid = file.tgid.unwrap_or(file.pid);
    (task.uid, task.gid, task.kthread) = (file.uid, file.gid, file.kthread);
    task.parent = file.parent.unwrap_or(task.parent);
    if let Some(path) = &file.cgroup {
        task.cgroup = bpf.machine().kernel.state.cgroups.make(path);
    }
    for m in &file.memory {
        let bytes = bytes(m.get_ref(), names, bpf, 0).map_err(at(m))?;
        let addr = match m.get_ref().at {
            Some(addr) => task.user.write(addr, &bytes).map(|()| addr).ok(),
            // A real task's memory is the kernel's to hold.
            None if bpf.tier() == Tier::Kernel => {
                Some(bpf.user_memory(&bytes).map_err(|e| at(m)(e.to_string()))?)
            }
            None => task.user.place(&bytes).ok(),
        };
        let addr = addr.ok_or_else(|| at(m)("these are no user addresses".to_owned()))?;
        names.extend(m.get_ref().name.clone().map(|n| (n, addr)));
    }
    let state = &mut bpf.machine().kernel.state;
    state.tasks.insert(task);
    if let Some(cpu) = file.cpu {
        state.tasks.run_on(cpu, file.pid);
    }
    Ok(())
}

/// Bytes in a page.
const PAGE: usize = 4096;

fn kernel_memory(machine: &mut Machine, file: &MemoryFile, bytes: &[u8]) -> Result<u64, String> {
    if file.at.is_some() {
        return Err("kernel memory has no address of one's choice: give it a name and refer to it".to_owned());
    }
    // A kernel's memory goes on behind what somebody is interested in: programs read names into buffers of a fixed size.
    let size = bytes.len().max(1).next_multiple_of(PAGE);
    let size = u32::try_from(size).map_err(|_| "too large".to_owned())?;
    let name = file.name.clone().unwrap_or_default();
    let alloc = Alloc::new(Area::Kernel, RegionKind::Kernel, size, name).perm(Perm::ProbeOnly);
    let addr = machine.mem.alloc(alloc).map_err(|e| e.to_string())?;
    machine.mem.poke(addr, bytes).map_err(|_| "no memory".to_owned())?;
    Ok(addr)
}

fn bytes(m: &MemoryFile, names: &Names, bpf: &mut Bpf, tgid: u32) -> Result<Vec<u8>, String> {
    match (&m.text, &m.hex, &m.words, m.zeros) {
        (Some(text), None, None, None) => Ok([text.as_bytes(), &[0]].concat()),
        (None, Some(hex), None, None) => {
            hex_to_bytes(hex).ok_or_else(|| "'hex' is not hexadecimal".to_owned())
        }
        (None, None, Some(words), None) => {
            let words = words.iter().map(|w| number(w, names, bpf, tgid).map(u64::to_le_bytes));
            Ok(words.collect::<Result<Vec<_>, _>>()?.concat())
        }
        (None, None, None, Some(n)) if n <= 64 << 20 => Ok(vec![0; n as usize]),
        (None, None, None, Some(_)) => Err("more than 64 MiB".to_owned()),
        _ => Err("memory needs exactly one of 'text', 'hex', 'words' and 'zeros'".to_owned()),
    }
}

/// A number, or the address behind a name: something of the scenario, a kernel symbol, a function in a process.
pub(super) fn number(n: &Number, names: &Names, bpf: &mut Bpf, tgid: u32) -> Result<u64, String> {
    let Number::AddressOf(text) = n else {
        return Ok(if let Number::Is(v) = n { *v } else { 0 });
    };
    let (name, offset) = offset(text)?;
    if let Some((binary, symbol)) = name.split_once(':') {
        let addr = bpf.user_address(tgid, binary, symbol).map_err(|e| e.to_string())?;
        return Ok(addr.wrapping_add(offset));
    }
    match names.get(name).copied().or_else(|| bpf.ksymname(name)) {
        Some(addr) => Ok(addr.wrapping_add(offset)),
        None => Err(format!("nothing is called '{name}': no memory, object or symbol")),
    }
}

/// A name and the number behind it: `vfs_read+0x10`.
pub(super) fn offset(text: &str) -> Result<(&str, u64), String> {
    let Some((name, offset)) = text.rsplit_once('+') else { return Ok((text, 0)) };
    let parsed = match offset.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => offset.parse(),
    };
    parsed.map(|n| (name, n)).map_err(|_| format!("'{offset}' is no offset, in '{text}'"))
}
