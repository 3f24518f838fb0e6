//! What is the same on both tiers, without anything that happens: objects of every style, maps, perf event arrays, memory.

mod legacy;
mod map_attributes;
mod perf_arrays;
