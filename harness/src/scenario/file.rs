//! What a scenario file can say.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::ScenarioError;
use super::attach::AttachFile;
use super::maps::ElementFile;
use super::print::PrintFile;
use super::redact::RedactFile;
use super::stimulus::{ActorFile, StimulusFile};
use super::user::{BinaryFile, CounterFile, MappingFile};
use crate::value::Value;

/// A scenario.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Scenario {
    /// The simulated kernel.
    pub kernel: KernelFile,
    /// Tasks, beside the default one.
    pub task: Vec<Spanned<TaskFile>>,
    /// Kernel memory that programs can probe.
    pub memory: Vec<Spanned<MemoryFile>>,
    /// Kernel objects of BTF types.
    pub object: Vec<Spanned<ObjectFile>>,
    /// Addresses of kernel symbols.
    pub symbols: BTreeMap<String, Spanned<Number>>,
    /// Values of global variables, set before loading. `$actor.pid` and `$actor.tgid` are numbers of the task that the stimuli
    /// are acts of: a tool's filter.
    pub globals: BTreeMap<String, Spanned<Value>>,
    /// What is in maps before anything happens.
    pub maps: BTreeMap<String, Vec<Spanned<ElementFile>>>,
    /// Binaries and libraries of user space.
    pub binary: Vec<Spanned<BinaryFile>>,
    /// Counters of perf event arrays.
    pub counter: Vec<Spanned<CounterFile>>,
    /// What a text in bcc's dialect is compiled with.
    pub compile: CompileFile,
    /// Programs to attach by hand; without any, all are attached where their sections say. Programs of a text in bcc's
    /// dialect whose names say where are attached anyway.
    pub attach: Vec<Spanned<AttachFile>>,
    /// Events that are made up, in order.
    pub event: Vec<Spanned<EventFile>>,
    /// What really happens, in order, and between events as the file has them.
    pub stimulus: Vec<Spanned<StimulusFile>>,
    /// The task that the stimuli are acts of.
    pub actor: ActorFile,
    /// What the tool's user would see, in order.
    pub print: Vec<Spanned<PrintFile>>,
    /// What is replaced wherever it is printed, so that one output serves all runs and both tiers.
    pub redact: Vec<Spanned<RedactFile>>,
    /// What to show at the end.
    pub output: OutputFile,
}

/// What a text in bcc's dialect is compiled with.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CompileFile {
    /// Flags for the compiler. `$actor.pid` and `$actor.tgid` are the numbers of the task that the stimuli are acts of: a
    /// tool's filter, as bcc's tools put it into their texts.
    pub cflags: Vec<String>,
}

/// The simulated kernel.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KernelFile {
    /// `6.12` or `6.12.3`.
    pub version: Option<Spanned<String>>,
    /// `x86_64` or `arm64`.
    pub arch: Option<Spanned<String>>,
    /// How many CPUs.
    pub cpus: Option<Spanned<u32>>,
    /// Timer frequency.
    pub hz: Option<u32>,
    /// Its types: a file of raw BTF, or an ELF file with them; relative to the scenario.
    pub btf: Option<Spanned<String>>,
    /// Functions beside those that its profile lists, such as those of modules, so that programs can be attached to them.
    pub functions: Option<Vec<String>>,
    /// Its configuration.
    pub kconfig: BTreeMap<String, String>,
    /// The seed of everything random.
    pub seed: Option<u64>,
    /// The clock at the start, nanoseconds since boot.
    pub clock: Option<u64>,
    /// What the clock advances with each reading, in nanoseconds.
    pub clock_step: Option<u64>,
    /// How many instructions a run may execute.
    pub budget: Option<u64>,
    /// Reading stack bytes that were never written is allowed.
    pub allow_uninit_stack: bool,
}

/// A task.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TaskFile {
    /// Thread id.
    pub pid: u32,
    /// Process id; the thread's if it is not given.
    pub tgid: Option<u32>,
    /// Name.
    #[serde(default)]
    pub comm: String,
    /// User.
    #[serde(default)]
    pub uid: u32,
    /// Group.
    #[serde(default)]
    pub gid: u32,
    /// Its parent's thread id.
    pub parent: Option<u32>,
    /// The CPU that it runs on from the start.
    pub cpu: Option<u32>,
    /// Its control group, as a path.
    pub cgroup: Option<String>,
    /// A kernel thread.
    #[serde(default)]
    pub kthread: bool,
    /// Its kernel stack, the innermost address first.
    #[serde(default)]
    pub kernel_stack: Vec<Spanned<Number>>,
    /// Its user stack, the innermost address first.
    #[serde(default)]
    pub user_stack: Vec<Spanned<Number>>,
    /// What its process has mapped; without any, every `[[binary]]`.
    #[serde(default)]
    pub map: Vec<Spanned<MappingFile>>,
    /// Its user memory.
    #[serde(default)]
    pub memory: Vec<Spanned<MemoryFile>>,
}

/// Bytes in memory: exactly one of `text`, `hex`, `words` or `zeros`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryFile {
    /// A name for arguments: `"$name"`.
    pub name: Option<String>,
    /// The address, in user memory only; chosen otherwise.
    pub at: Option<u64>,
    /// Text with a final NUL.
    pub text: Option<String>,
    /// Hexadecimal bytes.
    pub hex: Option<String>,
    /// 64-bit words.
    pub words: Option<Vec<Number>>,
    /// That many zero bytes.
    pub zeros: Option<u32>,
}

/// A kernel object.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ObjectFile {
    /// A name for arguments: `"$name"`.
    pub name: String,
    /// The structure, such as `task_struct`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Members by path: `"mm.arg_start" = 4096`; character arrays take text.
    #[serde(default)]
    pub set: BTreeMap<String, Spanned<Value>>,
}

/// Something that happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EventFile {
    /// The probe point: `kprobe/vfs_read`, `tracepoint/sched/sched_switch`, `xdp`.
    pub probe: Spanned<String>,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<Spanned<Number>>,
    /// Return value.
    pub ret: Option<Spanned<Number>>,
    /// The system call's number.
    #[serde(default)]
    pub nr: u64,
    /// Fields of a tracepoint's record: numbers, `"$names"` of what has an address, text, lists of bytes.
    #[serde(default)]
    pub set: BTreeMap<String, Spanned<Value>>,
    /// The task, by thread id.
    pub task: Option<Spanned<u32>>,
    /// The CPU.
    pub cpu: Option<Spanned<u32>>,
    /// Of a user-space probe with several places, which one is hit, from 0.
    #[serde(default)]
    pub location: usize,
    /// Nanoseconds since the event before.
    #[serde(default)]
    pub after: u64,
    /// How often it happens.
    pub repeat: Option<u32>,
    /// Only on this tier: `simulator` or `kernel`.
    pub tier: Option<Spanned<String>>,
    /// The packet, as hexadecimal bytes.
    pub packet: Option<Spanned<String>>,
    /// The context of a `syscall` program, as hexadecimal bytes.
    pub ctx: Option<Spanned<String>>,
}

/// What to show at the end.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct OutputFile {
    /// Maps to show as tables; of arrays only what is not zero.
    pub tables: Vec<Spanned<String>>,
    /// Maps to show as log2 histograms.
    pub log2: Vec<Spanned<HistFile>>,
    /// Maps to show as linear histograms.
    pub linear: Vec<Spanned<HistFile>>,
    /// Perf and ring buffers whose records to show.
    pub events: Vec<Spanned<EventsFile>>,
    /// Global variables to show.
    pub globals: Vec<Spanned<String>>,
    /// Show what programs printed.
    pub trace: bool,
}

/// A histogram.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HistFile {
    /// The map.
    pub map: String,
    /// What is counted: the heading of the first column.
    #[serde(rename = "type", default = "default_type")]
    pub val_type: String,
    /// The heading of sections, for keys of two members.
    #[serde(default = "default_section")]
    pub section: String,
}

/// Records of a buffer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EventsFile {
    /// The map.
    pub map: String,
    /// The structure that records are; bytes if it is not given.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
}

fn default_type() -> String {
    "value".to_owned()
}

fn default_section() -> String {
    "Bucket ptr".to_owned()
}

/// A number, or the name of something that has an address: `$memory`, `$object`, `$symbol`, `$binary:symbol`, each with
/// an offset if need be (`$vfs_read+0x10`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Number {
    /// The number.
    Is(u64),
    /// The address of what has this name.
    AddressOf(String),
}

impl Number {
    /// A number or a name, if the value is one.
    pub(super) fn of(value: &Value) -> Result<Self, String> {
        match value {
            Value::Uint(v) => Ok(Self::Is(*v)),
            Value::Int(v) => Ok(Self::Is(v.cast_unsigned())),
            Value::Bool(v) => Ok(Self::Is((*v).into())),
            Value::Text(t) => {
                match (t.strip_prefix('$'), t.strip_prefix("0x")) {
                    (Some(name), _) => Ok(Self::AddressOf(name.to_owned())),
                    (_, Some(hex)) => u64::from_str_radix(hex, 16).map(Self::Is).map_err(|e| e.to_string()),
                    _ => Err("expected a number, \"0x...\" or the \"$name\" of something with an address"
                        .to_owned()),
                }
            }
            _ => Err("expected a number or the \"$name\" of something with an address".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::of(&Value::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

impl Scenario {
    /// Reads a scenario; `file` is its name in errors.
    ///
    /// # Errors
    /// What is wrong and on which line.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        toml::from_str(text).map_err(|e| ScenarioError::new(file, text, e.span(), e.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::Scenario;

    #[test]
    fn errors_point_at_the_line() {
        let text = "[kernel]\ncpus = 2\n\n[[event]]\nprobe = \"kprobe/f\"\nargz = [1]\n";
        let e = Scenario::parse("s.toml", text).unwrap_err();
        assert_eq!(e.place.map(|p| p.0), Some(6), "{e}");
        assert!(e.message.contains("argz"), "{e}");
        assert!(e.render().contains("argz = [1]"), "{}", e.render());
    }

    #[test]
    fn everything_is_optional() {
        assert!(Scenario::parse("s.toml", "").unwrap().event.is_empty());
    }
}
