//! What happens on the way to a kernel, for whoever wants to show it.

/// A step.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The archive's lists are being read.
    Updating,
    /// Another process is at the same work; this one waits.
    Waiting {
        /// What for.
        what: String,
    },
    /// Packages are being fetched.
    Fetching {
        /// The kernel.
        release: String,
        /// All packages' bytes.
        size: u64,
        /// How much of them is here, 0 to 100.
        percent: f32,
    },
    /// A package or an image is being taken apart.
    Unpacking {
        /// The kernel.
        release: String,
    },
    /// What was begun last has ended, well or not.
    Done,
    /// Something was not to be had and was done without.
    Warning(String),
}

/// Takes [`Event`]s; any closure of that shape is one.
pub trait Report: Send + Sync {
    /// Called for each step, from the thread that works.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> Report for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// Says nothing.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Silent;

impl Report for Silent {
    fn event(&self, _: Event) {}
}
