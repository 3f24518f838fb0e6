//! The same programs with the same inputs on both tiers, and what differs.
//!
//! [`facts`] gathers what can be compared of an object: what each program returned, the maps, the records, the trace.
//! [`compare`] says what two tiers do not agree on. The command line `bpf-harness diff` runs the second tier in virtual
//! machines. Tests leave such facts in a file (`witness.rs`).

mod collect;
mod compare;
mod show;
mod witness;

pub use collect::{Wanted, facts};
pub use compare::{Difference, Report, compare};
pub use show::side_by_side;
pub use witness::read_facts;
pub(crate) use witness::{Seen, VARIABLE, leave};

use serde::{Deserialize, Serialize};

/// What came of an object's programs on one tier.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Facts {
    /// The CPUs that there were, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// One for each program that was run by itself, or one for a scenario.
    pub groups: Vec<Group>,
}

/// What belongs together: everything that happened on one machine.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Group {
    /// The program, or the scenario.
    pub name: String,
    /// Why it could not be run here: a kind of event that cannot be made up, a program that is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
    /// How each run ended.
    pub runs: Vec<Run>,
    /// Maps, records, variables and trace, as lines.
    pub sections: Vec<Section>,
}

/// How one run ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Run {
    /// The program.
    pub program: String,
    /// Its fault, or what it needed that is not simulated. A kernel has neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The low half of R0, which is what the kernel takes for the result. A kernel does not tell what most probes return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<u32>,
    /// The packet afterwards, as hexadecimal bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packet: Option<String>,
}

/// Lines under a heading.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Section {
    /// `map counts`, `records of events`, `trace`, `output`.
    pub title: String,
    /// What is there, in a stable order.
    pub lines: Vec<String>,
}
