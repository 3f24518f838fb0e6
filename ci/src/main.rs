//! `cargo xtask JOB`: one command per development job. Continuous integration calls nothing else.

mod bench;
mod conformance;
mod fixtures;
mod fuzz;
mod kernel;
mod steps;
mod vm_bench;

use std::process::ExitCode;

use bpf_kernel_tests::kernels::Spec;
use clap::{Parser, Subcommand, ValueEnum};

/// One command per development job.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Everything that continuous integration checks, in order
    Ci {
        /// Seconds for each fuzz target
        #[arg(long, default_value_t = 5)]
        fuzz_seconds: u64,
    },
    /// Check the formatting
    Fmt,
    /// Run clippy over all targets, warnings are errors
    Clippy,
    /// Build the documentation, warnings are errors
    Doc,
    /// Run all tests (with cargo-nextest where it is installed) and the documentation's examples
    Test,
    /// Run what the README's first command runs, and the conformance examples
    Examples,
    /// Compile the fixtures again (needs clang-19 and llvm-19)
    Fixtures {
        /// Change nothing; report what is stale. Without clang-19, only hashes are compared
        #[arg(long)]
        check: bool,
    },
    /// Run the tests of the kernel tier on real kernels, in virtual machines
    Kernel {
        /// Which kernels: 6.12, 5.10..7.3, newest [default: 6.1 and 6.12]
        #[arg(value_name = "SPEC")]
        specs: Vec<Spec>,
        /// Where none are named, every kernel from 5.10 on
        #[arg(long)]
        matrix: bool,
        /// Only this part of the tests, for several machines: hash:1/3 (nextest)
        #[arg(long)]
        partition: Option<String>,
    },
    /// Measure the interpreter against rbpf and what virtual machines cost, in release mode
    Bench {
        /// Only one of them, and the machines as this command itself was built
        only: Option<Measured>,
    },
    /// Accept the snapshots that the tests now produce
    Bless,
    /// Feed the entry points mutated input for a while
    Fuzz {
        /// Only this target
        target: Option<String>,
        /// Seconds for each target
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// The first number of the input sequence; a failure prints the one to repeat
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Exactly one input: the one with the given seed
        #[arg(long)]
        once: bool,
    },
}

/// What there is to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Measured {
    /// The interpreter and rbpf
    Engines,
    /// Virtual machines
    Vm,
}

fn main() -> ExitCode {
    let result = match Args::parse().job {
        Job::Ci { fuzz_seconds } => steps::ci(fuzz_seconds),
        Job::Fmt => steps::fmt(),
        Job::Clippy => steps::clippy(),
        Job::Doc => steps::doc(),
        Job::Test => steps::test(),
        Job::Examples => steps::examples(),
        Job::Fixtures { check: true } => fixtures::check(),
        Job::Fixtures { check: false } => fixtures::build(),
        Job::Kernel { specs, matrix, partition } => {
            kernel::run(&kernel::wanted(specs, matrix), partition.as_deref())
        }
        Job::Bench { only: Some(Measured::Vm) } => vm_bench::run(),
        Job::Bench { only } if cfg!(debug_assertions) => steps::bench_in_release(only.is_some()),
        Job::Bench { only: Some(Measured::Engines) } => bench::run(),
        Job::Bench { only: None } => bench::run().and_then(|()| vm_bench::run()),
        Job::Bless => steps::bless(),
        Job::Fuzz { target, seconds, seed, once } => fuzz::run(target.as_deref(), seconds, seed, once),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernels(words: &[&str]) -> Vec<String> {
        let args = Args::try_parse_from([&["xtask", "kernel"], words].concat()).expect("it is understood");
        let Job::Kernel { specs, matrix, .. } = args.job else { panic!("{words:?}") };
        kernel::wanted(specs, matrix).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_matrix_is_of_all_kernels_unless_some_are_named() {
        assert_eq!(kernels(&[]), ["6.1", "6.12"]);
        assert_eq!(kernels(&["--matrix"]), ["5.10..99.0"]);
        assert_eq!(kernels(&["--matrix", "--partition", "hash:1/3"]), ["5.10..99.0"]);
        assert_eq!(kernels(&["--matrix", "6.1..6.12", "--partition", "hash:1/3"]), ["6.1..6.12"]);
    }
}
