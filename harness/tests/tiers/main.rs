//! What is the same on both tiers: objects of every style, maps, perf event arrays, probes, refusals, memory, settings.

mod cookies;
mod dissector;
mod legacy;
mod loading;
mod map_attributes;
mod order;
mod perf_arrays;
mod records;
mod refusals;
mod scenarios;
mod silent;
mod stimuli;
mod tail_calls;
mod usdt_sections;
mod xdp;
