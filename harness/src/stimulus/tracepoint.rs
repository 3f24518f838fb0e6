//! Tracepoints: their records by what the kernel has of their fields, and their raw arguments.

use bpf_helpers_mock::contexts::TracepointLayout;
use bpf_helpers_mock::objects::Value;

use super::simulation::{Occasion, STEP_NS, Simulation};
use crate::bpf::Point;
use crate::error::Error;
use crate::profile::tracepoints::Tracepoints;

/// Classes of tracepoints that share a record (`DEFINE_EVENT` in `include/trace/events/`).
const CLASSES: &[(&str, &str)] = &[
    ("sched_process_exit", "sched_process_template"),
    ("sched_process_free", "sched_process_template"),
    ("sched_wakeup", "sched_wakeup_template"),
    ("sched_wakeup_new", "sched_wakeup_template"),
    ("sched_waking", "sched_wakeup_template"),
    ("page_fault_user", "exceptions"),
    ("page_fault_kernel", "exceptions"),
];

impl Simulation<'_> {
    /// A tracepoint is hit: programs that take its record, and those that take its raw arguments. Fields that the
    /// kernel's record does not have are left out.
    ///
    /// # Errors
    /// As [`Simulation::happen`].
    pub fn tracepoint(
        &mut self,
        category: &str,
        name: &str,
        fields: &[(&str, Value)],
        raw: &[u64],
    ) -> Result<(), Error> {
        self.advance(STEP_NS)?;
        self.raw_tracepoint(name, raw)?;
        self.record(category, name, fields)
    }

    /// Programs that take a tracepoint's raw arguments.
    pub(super) fn raw_tracepoint(&mut self, name: &str, raw: &[u64]) -> Result<(), Error> {
        let point = Point::RawTp(name.to_owned());
        if self.bpf.is_attached_at(&point) {
            self.happen(point, &Occasion { args: raw.to_vec(), ..Occasion::default() })?;
        }
        Ok(())
    }

    pub(super) fn record(
        &mut self,
        category: &str,
        name: &str,
        fields: &[(&str, Value)],
    ) -> Result<(), Error> {
        let point = Point::Tracepoint(category.to_owned(), name.to_owned());
        let mut occasion = Occasion::default();
        if self.bpf.is_attached_at(&point)
            && let Some(layout) = self.layout(category, name)?
        {
            let known = |n: &str| layout.fields.iter().any(|f| f.name == n);
            let known = fields.iter().filter(|(n, _)| known(n));
            occasion.fields = known.map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
            occasion.layout = Some(layout);
        }
        self.happen(point, &occasion)?;
        Ok(())
    }

    /// Whether the machine's kernel has a tracepoint; the bundled kernel's, if nothing is known of its tracepoints.
    pub fn has_tracepoint(&mut self, category: &str, name: &str) -> bool {
        let known = self.bpf.known_tracepoints().clone();
        if known.names().is_empty() {
            // Renamed in 6.15, the only one of those that expansions ask for.
            return match name {
                "hrtimer_setup" => self.since(6, 15),
                "hrtimer_init" => !self.since(6, 15),
                "sched_prepare_exec" => self.since(6, 11),
                _ => Tracepoints::bundled().find(category, name).is_some(),
            };
        }
        known.find(category, name).is_some()
    }

    /// What the record looks like: as the profile says, as the types say, as the bundled kernel has it.
    pub(super) fn layout(&mut self, category: &str, name: &str) -> Result<Option<TracepointLayout>, Error> {
        if let Some(format) = self.bpf.known_tracepoints().find(category, name) {
            return Ok(Some(format.layout()?));
        }
        if category == "syscalls" {
            return Ok(Some(TracepointLayout::syscall(name)));
        }
        let class = CLASSES.iter().find(|(n, _)| *n == name).map_or(name, |(_, class)| class);
        let types = self.bpf.machine().kernel.types();
        if let Some(Ok(layout)) = types.map(|btf| TracepointLayout::from_btf(btf, class)) {
            return Ok(Some(layout));
        }
        let bundled = Tracepoints::bundled().find(category, name);
        bundled.map(|f| f.layout()).transpose()
    }
}
