//! Maps: against plain models, edge by edge, and as programs see them.

mod asm;
mod edges;
mod fields;
mod lpm;
mod models;
mod programs;
mod support;
