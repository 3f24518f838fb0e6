//! Loading objects on the running kernel, beside the machine that describes them.

use bpf_helpers_mock::{LoadOptions, Loaded, Machine};
use bpf_vm_shim::object::{KernelProfile, Object};

use super::Backend;
use crate::error::Error;
#[cfg(feature = "kernel")]
use crate::profile::Profile;
use crate::tier::Tier;

/// Makes the description fit the running kernel, whatever kernel the test would simulate: its architecture, version and number of
/// CPUs. Its functions are looked up when somebody asks.
pub(super) fn fit(kernel: &mut KernelProfile) -> Result<(), Error> {
    #[cfg(feature = "kernel")]
    {
        kernel.arch = crate::profile::RUNNING_ARCH;
        kernel.cpus = crate::kernel::possible_cpus()?;
        kernel.version = Profile::running_version().unwrap_or(kernel.version);
    }
    #[cfg(not(feature = "kernel"))]
    let _ = kernel;
    Ok(())
}

/// What is being loaded. On the simulator nothing is.
pub(super) struct Loading {
    #[cfg(feature = "kernel")]
    kernel: Option<(crate::kernel::Loader, Vec<Vec<u8>>)>,
    #[cfg(not(feature = "kernel"))]
    wanted: bool,
}

#[cfg(not(feature = "kernel"))]
const WITHOUT: &str = "the kernel tier was asked for (BPF_HARNESS_TIER or `tier()`), and this program was built without it: \
                       enable the feature `kernel` of bpf-harness";

impl Loading {
    pub(super) fn new(tier: Tier, made_up: bool) -> Self {
        let wanted = tier == Tier::Kernel;
        #[cfg(feature = "kernel")]
        return Self { kernel: wanted.then(|| (crate::kernel::Loader::new(made_up), Vec::new())) };
        #[cfg(not(feature = "kernel"))]
        {
            let _ = made_up;
            Self { wanted }
        }
    }

    /// The bytes of the next object.
    pub(super) fn bytes(&mut self, bytes: Vec<u8>) {
        #[cfg(feature = "kernel")]
        if let Some((_, all)) = &mut self.kernel {
            all.push(bytes);
        }
        #[cfg(not(feature = "kernel"))]
        drop(bytes);
    }

    /// Loads an object that the machine has loaded.
    pub(super) fn object(
        &mut self,
        index: usize,
        object: &Object,
        loaded: &Loaded,
        machine: &Machine,
        options: &LoadOptions,
    ) -> Result<(), Error> {
        #[cfg(feature = "kernel")]
        if let Some((loader, all)) = &mut self.kernel {
            let bytes = all.get_mut(index).map(std::mem::take).unwrap_or_default();
            return loader.object(object, bytes, loaded, machine, options);
        }
        let _ = (index, object, loaded, machine, options);
        Ok(())
    }

    /// The kernel with everything loaded; `None` on the simulator.
    pub(super) fn finish(self) -> Result<Option<Box<dyn Backend>>, Error> {
        #[cfg(feature = "kernel")]
        return self.kernel.map(|(loader, _)| loader.finish()).transpose();
        #[cfg(not(feature = "kernel"))]
        if self.wanted { Err(Error::Invalid(WITHOUT.to_owned())) } else { Ok(None) }
    }
}
