//! Stimuli: what their expansions are, and what tools make of them.

#[path = "../support/dynamic.rs"]
mod dynamic;
mod expansions;
mod library;
mod packets;
mod programs;
mod sockets;
mod support;
mod tools;
mod traced;
mod user;
