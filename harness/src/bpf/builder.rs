//! What a machine is made of before anything runs.

use std::path::PathBuf;

use bpf_helpers_mock::state::Rng;
use bpf_helpers_mock::{LoadOptions, Machine};
use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::engine;
use bpf_vm_shim::exec::Limits;
use bpf_vm_shim::object::{KernelProfile, Object, ProgType};

use super::{Bpf, Host, Loaded, globals};
use crate::error::Error;
use crate::value::Value;

/// The most CPUs that a machine may have: the largest `CONFIG_NR_CPUS` of x86-64.
pub const MAX_CPUS: u32 = 8192;

/// Where an object comes from.
#[derive(Clone, Debug)]
enum Source {
    Bytes(Vec<u8>),
    File(PathBuf),
    Parsed(Box<Object>),
}

/// Builds a [`Bpf`]. Everything has a default but the object.
#[derive(Clone, Default, Debug)]
pub struct BpfBuilder {
    sources: Vec<(String, Source)>,
    kernel: KernelProfile,
    options: LoadOptions,
    limits: Limits,
    globals: Vec<(String, Value)>,
    /// Chosen apart from the kernel, and kept whichever kernel is given.
    cpus: Option<u32>,
    btf: Option<Btf>,
    seed: Option<u64>,
    engine: Option<String>,
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
        let file = path.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
        let name = file.split('.').next().unwrap_or_default().to_owned();
        self.sources.push((name, Source::File(path)));
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

    /// Loads everything into a new machine.
    ///
    /// # Errors
    /// If an object cannot be read, parsed, linked or loaded, or a global variable does not exist or fit.
    pub fn load(self) -> Result<Bpf, Error> {
        if self.sources.is_empty() {
            return Err(Error::NoObject);
        }
        let mut kernel = self.kernel;
        kernel.cpus = self.cpus.unwrap_or(kernel.cpus).clamp(1, MAX_CPUS);
        kernel.btf = self.btf.or(kernel.btf);
        let mut machine = Machine::new(kernel);
        machine.limits = self.limits;
        if let Some(name) = &self.engine {
            let found = engine::by_name(name);
            machine.engine =
                found.ok_or_else(|| Error::not_found("engine", name, engine::names().iter().copied()))?;
        }
        machine.kernel.state.rng = Rng::seeded(self.seed.unwrap_or_default());
        let mut bpf = Bpf { machine, objects: Vec::new(), attached: Vec::new(), host: Host::default() };
        let mut objects = Vec::new();
        for (name, source) in self.sources {
            objects.push(parse(&name, source)?);
        }
        for (name, value) in &self.globals {
            let holder = objects.iter().position(|o| o.global(name).is_some()).unwrap_or(0);
            if let Some(object) = objects.get_mut(holder) {
                globals::set_initial(object, name, value)?;
            }
        }
        for object in objects {
            let loaded = bpf.machine.load(&object, &self.options)?;
            bpf.objects.push(Loaded {
                object,
                rejected: loaded.rejected.into_iter().collect(),
                maps: loaded.maps,
                notes: loaded.notes,
            });
        }
        Ok(bpf)
    }
}

fn parse(name: &str, source: Source) -> Result<Object, Error> {
    let bytes = match source {
        Source::Parsed(object) => return Ok(*object),
        Source::Bytes(bytes) => bytes,
        Source::File(path) => match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) => return Err(Error::Read { path, why: e.to_string() }),
        },
    };
    Object::parse_named(name, &bytes).map_err(|source| Error::Load { object: name.to_owned(), source })
}
