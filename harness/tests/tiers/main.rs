//! What is the same on both tiers: objects of every style, maps, perf event arrays, memory, settings.

mod legacy;
mod perf_arrays;
mod silent;
