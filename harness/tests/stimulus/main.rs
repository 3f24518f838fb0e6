//! Stimuli: what their expansions are, and what tools make of them.

mod expansions;
mod library;
mod programs;
mod support;
mod tools;
mod traced;
mod user;
