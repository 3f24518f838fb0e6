//! `cargo xtask fuzz`: feeds the entry points mutated input, deterministically, for a given time.
//!
//! Needs no nightly compiler and no fuzzing engine: inputs are numbered, the number is the seed of the mutation, and a
//! failure prints the number. Builds with debug assertions, so that arithmetic overflow is found too.

mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mutate::Rng;

/// One entry point: takes input made from the random numbers. A panic is a finding; so is running for too long.
pub(crate) struct Target {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Runs one input.
    pub(crate) run: fn(&mut Rng),
}

/// The longest that one input may take, on a slow machine, in a debug build.
const TOO_LONG: Duration = Duration::from_secs(10);

/// Runs one target or all of them.
pub(crate) fn run(only: Option<&str>, seconds: u64, seed: u64, once: bool) -> Result<(), String> {
    let targets: Vec<&Target> = targets::ALL.iter().filter(|t| only.is_none_or(|o| o == t.name)).collect();
    if targets.is_empty() {
        let names: Vec<&str> = targets::ALL.iter().map(|t| t.name).collect();
        return Err(format!("no such fuzz target; there are: {}", names.join(", ")));
    }
    for target in targets {
        let count = fuzz(target, Duration::from_secs(seconds), seed, once)?;
        println!("fuzz {}: {count} inputs, nothing found", target.name);
    }
    Ok(())
}

fn fuzz(target: &Target, time: Duration, first: u64, once: bool) -> Result<u64, String> {
    let begin = Instant::now();
    let mut seed = first;
    loop {
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (target.run)(&mut Rng::new(seed))));
        let repeat = format!("repeat it with: cargo xtask fuzz {} --seed {seed} --once", target.name);
        if result.is_err() {
            return Err(format!("fuzz {}: input {seed} panics (see above); {repeat}", target.name));
        }
        if start.elapsed() > TOO_LONG {
            return Err(format!("fuzz {}: input {seed} took {:?}; {repeat}", target.name, start.elapsed()));
        }
        seed += 1;
        if once || begin.elapsed() >= time {
            return Ok(seed - first);
        }
    }
}
