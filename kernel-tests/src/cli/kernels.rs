//! `bpf-vm kernels`: list, fetch and describe kernels.

use std::io::Write;
use std::process::ExitCode;

use super::{Format, Outcome};
use crate::kernels::{Arch, Kernels, Spec};

/// `bpf-vm kernels`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Which kernels
    specs: Vec<Spec>,
}

/// Runs the subcommand.
pub(super) fn main(args: &Args, out: &mut dyn Write) -> Outcome {
    let kernels = Kernels::new(Arch::of_host())?;
    for spec in &args.specs {
        for image in kernels.get(spec)? {
            match args.format {
                Format::Text => writeln!(out, "{} {}", image.version, image.vmlinux.display())?,
                Format::Json => writeln!(out, "{}", serde_json::to_string(&image)?)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
