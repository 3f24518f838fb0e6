//! What is the same on both tiers: objects of every style, maps, perf event arrays, probes, refusals, memory, settings.

mod legacy;
mod perf_arrays;
mod refusals;
mod silent;
mod usdt_sections;
mod xdp;
