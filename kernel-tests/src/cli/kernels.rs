//! `bpf-vm kernels`: list, fetch and describe kernels.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use super::progress::Bars;
use super::{Format, Outcome};
use crate::kernels::{Arch, Facts, KernelImage, Kernels, KernelsError, Listed, Spec};

/// `bpf-vm kernels`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the kernels that can be had, newest last; those that are kept already are marked
    List(List),
    /// Fetch kernels, the newest of each series, and keep them
    Fetch(Common),
    /// Say where a kernel lies and what it offers to programs; it is fetched if it is not kept
    Show(Common),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    common: Common,
    /// Read the archive's lists again first
    #[arg(long)]
    update: bool,
    /// Every listed kernel, not only the newest of each series
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Which: 6.12, 6.12.38, 5.10..7.3, newest, host, or a path to a vmlinuz, vmlinux or .deb
    #[arg(value_name = "SPEC")]
    specs: Vec<Spec>,
    /// For which machine
    #[arg(long, value_enum, default_value_t = Arch::of_host())]
    arch: Arch,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the subcommand.
pub(super) fn main(args: &Args, out: &mut dyn Write) -> Outcome {
    match &args.command {
        Command::List(args) => list(args, out),
        Command::Fetch(args) => each(args, out, Kernels::fetch, &fetched),
        Command::Show(args) => each(args, out, Kernels::get, &shown),
    }
}

fn kernels(args: &Common) -> Result<Kernels, KernelsError> {
    Ok(Kernels::new(args.arch)?.with_report(Bars::new()))
}

fn list(args: &List, out: &mut dyn Write) -> Outcome {
    let kernels = kernels(&args.common)?;
    let kept: BTreeSet<String> = kernels.kept().into_iter().map(|image| image.release).collect();
    let mut listed = if args.update { kernels.update()? } else { kernels.listed()? };
    let takes =
        |one: &Listed| args.common.specs.is_empty() || args.common.specs.iter().any(|s| s.takes(one.version));
    listed.retain(takes);
    if !args.all {
        let newest = newest_of_series(&listed);
        listed.retain(|one| newest.contains(&one.release) || kept.contains(&one.release));
    }
    for one in &listed {
        let here = kept.contains(&one.release);
        match args.common.format {
            Format::Text => {
                let mark = if here { "kept" } else { "" };
                let line = format!("{:<10} {:<34} {mark}", one.version.to_string(), one.release);
                writeln!(out, "{}", line.trim_end())?;
            }
            Format::Json => {
                let mut value = serde_json::to_value(one)?;
                if let Some(fields) = value.as_object_mut() {
                    fields.insert("kept".to_owned(), here.into());
                }
                writeln!(out, "{value}")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The releases of the newest kernel of each series; the input is sorted.
fn newest_of_series(listed: &[Listed]) -> BTreeSet<String> {
    let last = |pair: &[Listed]| match pair {
        [a, b] if a.version.series() == b.version.series() => None,
        [a, ..] => Some(a.release.clone()),
        [] => None,
    };
    listed.windows(2).filter_map(last).chain(listed.last().map(|one| one.release.clone())).collect()
}

type Print = dyn Fn(&KernelImage, Format, &mut dyn Write) -> Result<(), Box<dyn std::error::Error>>;

/// Does the same for each kernel that is meant; nothing meant is the newest.
fn each(
    args: &Common,
    out: &mut dyn Write,
    get: fn(&Kernels, &Spec) -> Result<Vec<KernelImage>, KernelsError>,
    print: &Print,
) -> Outcome {
    let kernels = kernels(args)?;
    let newest = [Spec::Newest];
    let specs = if args.specs.is_empty() { &newest[..] } else { &args.specs };
    for spec in specs {
        for image in get(&kernels, spec)? {
            print(&image, args.format, out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn fetched(
    image: &KernelImage,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), Box<dyn std::error::Error>> {
    match format {
        Format::Text => writeln!(out, "{} {} {}", image.version, image.release, image.vmlinux.display())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string(image)?)?,
    }
    Ok(())
}

fn shown(image: &KernelImage, format: Format, out: &mut dyn Write) -> Result<(), Box<dyn std::error::Error>> {
    let facts = Facts::of(image)?;
    if format == Format::Json {
        let mut value = serde_json::to_value(image)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("facts".to_owned(), serde_json::to_value(&facts)?);
        }
        writeln!(out, "{value}")?;
        return Ok(());
    }
    let yes = |on: bool| if on { "yes" } else { "no" };
    let lsm = match (facts.bpf_lsm, facts.lsm_by_default) {
        (false, _) => "no".to_owned(),
        (true, Some(true)) => "yes, on by default".to_owned(),
        (true, Some(false)) => {
            format!("yes, with lsm=...,bpf on the command line (default {})", facts.lsm.unwrap_or_default())
        }
        (true, None) => "yes, the default is not known".to_owned(),
    };
    let btf = if facts.btf == 0 { "no".to_owned() } else { format!("{} bytes", facts.btf) };
    let source = if facts.from_config { "its configuration" } else { "function names in its BTF" };
    let boot: Vec<_> = image.modules.iter().filter_map(|p| p.file_stem()?.to_str()).collect();
    let boot = if boot.is_empty() { "built in".to_owned() } else { boot.join(" ") };
    let available: Vec<&str> = image.available.iter().map(|m| m.name.as_str()).collect();
    writeln!(out, "{} {} {}", image.version, image.release, image.arch)?;
    writeln!(out, "  from          {}", image.origin)?;
    writeln!(out, "  boots         {}", image.vmlinux.display())?;
    writeln!(out, "  BTF           {btf}")?;
    writeln!(out, "  kprobes       {}", yes(facts.kprobes))?;
    writeln!(out, "  uprobes       {}", yes(facts.uprobes))?;
    writeln!(out, "  BPF events    {}", yes(facts.bpf_events))?;
    writeln!(out, "  BPF LSM       {lsm}")?;
    writeln!(out, "  known from    {source}")?;
    writeln!(out, "  virtio        {boot}")?;
    writeln!(
        out,
        "  modules       {}",
        if available.is_empty() { "none".to_owned() } else { available.join(" ") }
    )?;
    Ok(())
}
