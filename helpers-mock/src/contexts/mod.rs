//! Contexts: what R1 points to when a program starts, one file per family of program types.

pub mod net;
