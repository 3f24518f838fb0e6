//! What is the same on both tiers: objects of every style, maps, perf event arrays, memory, settings.

mod cookies;
mod legacy;
mod map_attributes;
mod perf_arrays;
mod records;
mod silent;
mod stimuli;
mod tail_calls;
