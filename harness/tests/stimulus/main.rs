//! Stimuli: what their expansions are, and what tools make of them.

mod expansions;
mod programs;
mod support;
mod tools;
mod traced;
