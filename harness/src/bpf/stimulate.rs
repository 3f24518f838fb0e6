//! Stimuli: something real happens, or what a kernel would make of it.

use super::{Bpf, Point};
use crate::error::Error;
use crate::stimulus::{Action, Network, Real, Simulation, Stimulated, by_this_thread};

impl Bpf {
    /// Lets something happen that makes probes fire: a file is read, a process is made, a connection is opened.
    ///
    /// On the simulator the action is played: every probe point of its expansion that has a program attached is fired, in
    /// the kernel's order and with the kernel's contexts, by the running task. Points without programs are passed over,
    /// and so it is no error if nothing ran; [`Stimulated::fired`] says how many programs did.
    ///
    /// On a kernel it is really done, by the thread that calls this or by a child made for it, and whatever is attached
    /// there runs. Other processes come by the same probes: a program that is to see this one only has to look at the
    /// process ([`Stimulated::tgid`]).
    ///
    /// ```
    /// use bpf_harness::{Bpf, stimulus::Stimulus};
    /// # let object = bpf_fixtures::object("vfsreadlat").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// bpf.attach_all();
    /// let done = bpf.stimulate(&Stimulus::read_file("/etc/hostname"))?;
    /// assert_eq!(done.fired, 2); // the entry and the return of vfs_read
    /// assert_eq!(bpf.table("sizes")?.len(), 1);
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If a program faults or needs what is not simulated, or a context cannot be made. On a kernel: if it cannot be done,
    /// or nothing is attached for real ([`BpfBuilder::made_up_events`](crate::BpfBuilder::made_up_events)).
    pub fn stimulate(&mut self, action: &dyn Action) -> Result<Stimulated, Error> {
        self.check_refused()?;
        match self.kernel.as_ref().map(|k| k.makes_up_events()) {
            Some(false) => return action.perform(&mut Real::new(self)).map(by_this_thread),
            Some(true) => {
                return Err(Error::Invalid(
                    "a stimulus runs no programs in a test that makes up its events: nothing is attached for real; build \
                     without `made_up_events()`"
                        .to_owned(),
                ));
            }
            None => {}
        }
        let mut simulation = Simulation::begin(self);
        let result = action.simulate(&mut simulation);
        simulation.end(result)
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

    /// The devices that packets of this test come by, where its packet programs are attached: their names, numbers and
    /// addresses, the same on both tiers wherever a kernel has `veth`.
    ///
    /// # Errors
    /// If a kernel cannot make them.
    pub fn network(&mut self) -> Result<Network, Error> {
        match &mut self.kernel {
            Some(kernel) => kernel.network(),
            None => Ok(Network::pair()),
        }
    }

    /// Sends a frame through the network that packet programs are attached to; whether it came to its end.
    pub(crate) fn send_packet(&mut self, frame: &[u8]) -> Result<bool, Error> {
        match &mut self.kernel {
            Some(kernel) => kernel.send_packet(frame),
            None => Err(Error::Invalid("there is no kernel to send a packet through".to_owned())),
        }
    }

    /// The tracepoints of the kernel's profile.
    pub(crate) fn known_tracepoints(&self) -> &crate::profile::tracepoints::Tracepoints {
        &self.tracepoints
    }
}
