//! Stimuli: something real happens, or what a kernel would make of it.

use super::{Bpf, Point};
use crate::error::Error;
use crate::stimulus::{Action, Simulation, Stimulated};

impl Bpf {
    /// Lets something happen that makes probes fire: a file is read, a process is made, a connection is opened.
    ///
    /// On the simulator the action is played: every probe point of its expansion that has a program attached is fired, in
    /// the kernel's order and with the kernel's contexts, by the running task. Points without programs are passed over,
    /// and so it is no error if nothing ran; [`Stimulated::fired`] says how many programs did.
    ///
    /// ```
    /// use bpf_harness::{Bpf, stimulus::Stimulus};
    /// # let object = bpf_fixtures::object("vfsreadlat").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// bpf.attach_all()?;
    /// let done = bpf.stimulate(&Stimulus::read_file("/etc/hostname"))?;
    /// assert_eq!(done.fired, 2); // the entry and the return of vfs_read
    /// assert_eq!(bpf.table("latency")?.len(), 32);
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a program faults or needs what is not simulated, or a context cannot be made.
    pub fn stimulate(&mut self, action: &dyn Action) -> Result<Stimulated, Error> {
        if let Some(kernel) = &self.kernel {
            if kernel.makes_up_events() {
                return Err(Error::Invalid(
                    "nothing but made-up events reaches the programs: leave out `made_up_events()` to let something \
                     really happen"
                        .to_owned(),
                ));
            }
            return action.perform_for(self);
        }
        let mut simulation = Simulation::begin(self);
        let result = action.simulate(&mut simulation);
        simulation.end(result)
    }

    /// Sends a frame through the device that packet programs are attached to on a kernel.
    pub(crate) fn send_packet(&mut self, frame: &[u8]) -> Result<(), Error> {
        match &mut self.kernel {
            Some(kernel) => kernel.send_packet(frame),
            None => Err(Error::Invalid("a simulated machine has no device".to_owned())),
        }
    }

    /// Whether a program is attached where this point is.
    pub(crate) fn is_attached_at(&self, point: &Point) -> bool {
        self.attached.iter().any(|a| point.concerns(&a.target))
    }

    /// Whether a program is attached whose arguments have types.
    pub(crate) fn has_typed_programs(&self) -> bool {
        use bpf_vm_shim::object::AttachKind as K;
        self.attached.iter().any(|a| matches!(a.target.kind, K::Fentry | K::Fexit | K::Fsession))
    }

    /// The tracepoints of the kernel's profile.
    pub(crate) fn known_tracepoints(&self) -> &crate::profile::tracepoints::Tracepoints {
        &self.tracepoints
    }
}
