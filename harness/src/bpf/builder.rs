//! What a machine is made of before anything runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpf_helpers_mock::state::Rng;
use bpf_helpers_mock::{LoadOptions, Machine, passes};
use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::engine;
use bpf_vm_shim::exec::Limits;
use bpf_vm_shim::object::{KernelProfile, Object, ProgType};

use super::text::{self, TextOptions};
use super::{Bpf, Host, Loaded, globals, running};
use crate::compile::bcc::{Compiled, Text};
use crate::error::Error;
use crate::profile::{Profile, tracepoints::Tracepoints};
use crate::tier::Tier;
use crate::value::Value;

/// The most CPUs that a machine may have: the largest `CONFIG_NR_CPUS` of x86-64.
pub const MAX_CPUS: u32 = 8192;

/// Where an object comes from.
#[derive(Clone, Debug)]
enum Source {
    Bytes(Vec<u8>),
    File(PathBuf),
    Parsed(Box<Object>),
    /// bcc text, compiled when it is loaded.
    Text(String),
    /// A file of bcc text.
    TextFile(PathBuf),
    /// What a bcc text was compiled to.
    Compiled(Vec<u8>),
}

impl Source {
    /// Whether its programs are a bcc text's: they count on rewrites, and their names say where they are attached.
    const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_) | Self::TextFile(_) | Self::Compiled(_))
    }
}

/// Builds a [`Bpf`]. Everything has a default but the object.
#[derive(Clone, Default, Debug)]
pub struct BpfBuilder {
    sources: Vec<(String, Source)>,
    kernel: KernelProfile,
    profile: Option<Profile>,
    options: LoadOptions,
    limits: Limits,
    globals: Vec<(String, Value)>,
    /// Chosen apart from the kernel, and kept whichever kernel is given.
    cpus: Option<u32>,
    btf: Option<Btf>,
    seed: Option<u64>,
    engine: Option<String>,
    tier: Option<Tier>,
    made_up: bool,
    pub(super) texts: TextOptions,
}

impl BpfBuilder {
    /// The bytes of a compiled object. More than one may be given; all go into one machine.
    #[must_use]
    pub fn object(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.sources.push((String::new(), Source::Bytes(bytes.into())));
        self
    }

    /// The file of a compiled object, read when it is loaded. Its name becomes the object's, as in libbpf.
    #[must_use]
    pub fn object_file(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.sources.push((object_name(&path), Source::File(path)));
        self
    }

    /// A program text in the dialect of bcc's reference guide, compiled when it is loaded. More than one may be given.
    ///
    /// Its types are those of a kernel: see [`bcc_kernel`](Self::bcc_kernel).
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.sources.push((String::new(), Source::Text(text.into())));
        self
    }

    /// A file of such text; `#include "..."` finds what lies beside it.
    #[must_use]
    pub fn source_file(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.sources.push((object_name(&path), Source::TextFile(path)));
        self
    }

    /// The object that a text was compiled to ([`compile`](Self::compile)): loaded as the text would be, without a
    /// compiler.
    #[must_use]
    pub fn bcc_object(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.sources.push((String::new(), Source::Compiled(bytes.into())));
        self
    }

    /// An object that is parsed already.
    #[must_use]
    pub fn parsed(mut self, object: Object) -> Self {
        self.sources.push((object.name.clone(), Source::Parsed(Box::new(object))));
        self
    }

    /// The kernel to be simulated: version, architecture, types, configuration.
    #[must_use]
    pub fn kernel(mut self, profile: KernelProfile) -> Self {
        self.kernel = profile;
        self
    }

    /// The kernel to be simulated, and what texts are compiled for, from a named profile: types, functions,
    /// configuration, tracepoints. Texts get [`Profile::default_x86_64`] if no types are given; compiled objects get
    /// what is asked for only, and are otherwise relocated against their own types.
    ///
    /// ```
    /// use bpf_harness::{Bpf, profile::Profile};
    /// # let object = bpf_fixtures::object("vfsreadlat").unwrap();
    /// let mut bpf = Bpf::builder().object(object).profile(Profile::default_x86_64()?).load()?;
    /// assert!(bpf.get_kprobe_functions("vfs_read|vfs_nothing")?.contains(&"vfs_read".to_owned()));
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.kernel = profile.kernel().clone();
        self.profile = Some(profile);
        self
    }

    /// The kernel's version (`LINUX_KERNEL_VERSION`).
    #[must_use]
    pub fn kernel_version(mut self, major: u8, minor: u8, patch: u32) -> Self {
        self.kernel.version = KernelProfile::kernel_version(major, minor, patch);
        self
    }

    /// The kernel's types, against which CO-RE relocations are resolved; kept whichever
    /// [`kernel`](Self::kernel) is given.
    #[must_use]
    pub fn kernel_btf(mut self, btf: Btf) -> Self {
        self.btf = Some(btf);
        self
    }

    /// A value of the kernel's configuration: `("CONFIG_HZ", "250")`.
    #[must_use]
    pub fn kconfig(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.kernel.kconfig.insert(name.into(), value.into());
        self
    }

    /// The number of CPUs, taken to be at least 1 and at most [`MAX_CPUS`]; kept whichever [`kernel`](Self::kernel) is given.
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = Some(cpus);
        self
    }

    /// The seed of everything random.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The seed, unless one was chosen.
    pub(crate) fn default_seed(mut self, seed: u64) -> Self {
        self.seed.get_or_insert(seed);
        self
    }

    /// What runs the instructions: `interp`, or another engine of [`bpf_vm_shim::engine::names`].
    #[must_use]
    pub fn engine(mut self, name: impl Into<String>) -> Self {
        self.engine = Some(name.into());
        self
    }

    /// On what it runs; otherwise the environment decides ([`Tier::from_env`]).
    #[must_use]
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = Some(tier);
        self
    }

    /// On what it will run.
    pub(crate) fn chosen_tier(&self) -> Result<Tier, Error> {
        self.tier.map_or_else(Tier::from_env, Ok)
    }

    /// On a kernel, lets nothing reach the programs but what the test makes up ([`Bpf::kprobe`] and its like, with
    /// [`Event::fire`](crate::Event::fire)), as on the simulator: attaching proves that the kernel would (a binary that only
    /// the test has declared proves nothing), and the kernel runs a program at probes of this process's own, in tasks that
    /// look as the test has described them. Without it attached programs see what the machine does.
    #[must_use]
    pub fn made_up_events(mut self) -> Self {
        self.made_up = true;
        self
    }

    /// How many instructions one run may execute.
    #[must_use]
    pub fn budget(mut self, insns: u64) -> Self {
        self.limits.insns = insns;
        self
    }

    /// Allows programs to read stack bytes that they never wrote, as the kernel does for privileged programs.
    #[must_use]
    pub fn allow_uninit_stack(mut self, allow: bool) -> Self {
        self.limits.uninit_stack = allow;
        self
    }

    /// Gives a program another type than its section says.
    #[must_use]
    pub fn prog_type(mut self, program: impl Into<String>, prog_type: ProgType) -> Self {
        self.options.prog_types.insert(program.into(), prog_type);
        self
    }

    /// Applies bcc's rewrites (automatic arguments, automatic `bpf_probe_read`) to programs that count on them, and
    /// refuses what then still reads memory directly that it must not. The kernel is the builder's, whatever the
    /// options say. Texts get them without being asked.
    #[must_use]
    pub fn passes(mut self, passes: passes::Options) -> Self {
        self.options.passes = Some(passes);
        self
    }

    /// Loads only this program; may be given more than once. Without it all are loaded.
    #[must_use]
    pub fn only(mut self, program: impl Into<String>) -> Self {
        self.options.link.programs.insert(program.into());
        self
    }

    /// Loads programs of `?` sections too.
    #[must_use]
    pub fn load_all(mut self, all: bool) -> Self {
        self.options.link.all = all;
        self
    }

    /// Sets a global variable before loading, constants (`const volatile`) included.
    #[must_use]
    pub fn global(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.globals.push((name.into(), value.into()));
        self
    }

    /// Only compiles: the objects of the texts, in order, as clang writes them. [`bcc_object`](Self::bcc_object) takes
    /// them, without their debugging information too (`llvm-strip -g`).
    ///
    /// # Errors
    /// If there is no clang, or a text does not compile.
    pub fn compile(self) -> Result<Vec<Vec<u8>>, Error> {
        let (kernel, profile) = self.kernel_of_texts(Tier::Simulator)?;
        let mut objects = Vec::new();
        for (_, source) in self.sources {
            let text = match source {
                Source::Text(text) => Text::new(text),
                Source::TextFile(path) => Text::from_file(path)?,
                _ => continue,
            };
            objects.push(self.texts.compiled(text, profile.as_ref(), &kernel)?.object);
        }
        Ok(objects)
    }

    /// The kernel that everything runs on, and the profile that it was taken from.
    fn kernel_of_texts(&self, tier: Tier) -> Result<(KernelProfile, Option<Profile>), Error> {
        let mut kernel = self.kernel.clone();
        let mut profile = self.profile.clone();
        let has_text = self.sources.iter().any(|(_, s)| s.is_text());
        if has_text && tier == Tier::Kernel && !self.texts.has_kernel() {
            let running = Profile::types_of_running_kernel()?;
            kernel = running.kernel().clone();
            profile = Some(running);
        } else if has_text && profile.is_none() && !self.texts.has_kernel() {
            profile = Some(match self.btf.clone().or_else(|| kernel.btf.clone()) {
                Some(btf) => Profile::from_btf(btf),
                None => Profile::default_x86_64()?,
            });
            kernel = profile.iter().fold(kernel, |kernel, p| p.fill(kernel));
        }
        kernel.cpus = self.cpus.unwrap_or(kernel.cpus).clamp(1, MAX_CPUS);
        kernel.btf = self.btf.clone().or(kernel.btf);
        Ok((kernel, profile))
    }

    /// Loads everything into a new machine.
    ///
    /// # Errors
    /// If an object cannot be read, parsed, linked or loaded, or a global variable does not exist or fit.
    pub fn load(self) -> Result<Bpf, Error> {
        if self.sources.is_empty() {
            return Err(Error::NoObject);
        }
        let tier = self.chosen_tier()?;
        let (mut kernel, profile) = self.kernel_of_texts(tier)?;
        if tier == Tier::Kernel {
            running::fit(&mut kernel)?;
        }
        let mut machine = Machine::new(kernel);
        machine.limits = self.limits;
        if let Some(name) = &self.engine {
            let found = engine::by_name(name);
            machine.engine =
                found.ok_or_else(|| Error::not_found("engine", name, engine::names().iter().copied()))?;
        }
        machine.kernel.state.rng = Rng::seeded(self.seed.unwrap_or_default());
        let tracepoints = profile.as_ref().map_or_else(Tracepoints::none, |p| p.tracepoints().clone());
        let host = Host::default();
        let (objects, attached) = (Vec::new(), Vec::new());
        let mut bpf = Bpf { machine, objects, attached, host, tracepoints, kernel: None };
        let mut loading = running::Loading::new(tier, self.made_up);
        let mut objects = Vec::new();
        for (name, source) in self.sources {
            let is_text = source.is_text();
            let (object, bytes) =
                parse(&name, source, &self.texts, profile.as_ref(), &bpf.machine.kernel.profile)?;
            loading.bytes(bytes);
            objects.push((object, is_text));
        }
        for (name, value) in &self.globals {
            let holder = objects.iter().position(|(o, _)| o.global(name).is_some()).unwrap_or(0);
            if let Some((object, _)) = objects.get_mut(holder) {
                globals::set_initial(object, name, value)?;
            }
        }
        let texts = objects.iter().any(|(_, is_text)| *is_text);
        for (i, (object, is_text)) in objects.into_iter().enumerate() {
            let mut options = self.options.clone();
            options.passes =
                is_text.then(|| self.texts.passes(&bpf.machine.kernel.profile)).or(options.passes);
            let loaded = bpf.machine.load(&object, &options)?;
            loading.object(i, &object, &loaded, &bpf.machine, &options)?;
            text::refuse(&object, &loaded.refused)?;
            bpf.objects.push(Arc::new(Loaded {
                object,
                rejected: loaded.rejected.into_iter().collect(),
                refused: loaded.refused,
                maps: loaded.maps,
                notes: loaded.notes,
            }));
        }
        bpf.kernel = loading.finish()?;
        if texts && self.texts.attaches() {
            bpf.attach_named()?;
        }
        for usdt in self.texts.usdt() {
            bpf.attach_usdt_of(usdt, true)?;
        }
        Ok(bpf)
    }
}

/// The name that libbpf gives the object of a file.
fn object_name(path: &Path) -> String {
    let file = path.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
    file.split('.').next().unwrap_or_default().to_owned()
}

fn parse(
    name: &str,
    source: Source,
    texts: &TextOptions,
    profile: Option<&Profile>,
    kernel: &KernelProfile,
) -> Result<(Object, Vec<u8>), Error> {
    let bytes = match source {
        Source::Parsed(object) => return Ok((*object, Vec::new())),
        Source::Compiled(bytes) => return text::parse(name, Compiled::from_object(bytes)),
        Source::Text(text) => return texts.compile(name, Text::new(text), profile, kernel),
        Source::TextFile(path) => return texts.compile(name, Text::from_file(path)?, profile, kernel),
        Source::Bytes(bytes) => bytes,
        Source::File(path) => match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) => return Err(Error::Read { path, why: e.to_string() }),
        },
    };
    match Object::parse_named(name, &bytes) {
        Ok(object) => Ok((object, bytes)),
        Err(source) => Err(Error::Load { object: name.to_owned(), source }),
    }
}
