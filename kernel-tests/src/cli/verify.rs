//! `bpf-vm verify`: what the verifiers of several kernels say of objects.

use std::path::PathBuf;

use crate::kernels::Spec;

/// What `bpf-vm verify` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Compiled BPF objects
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// A kernel: a version (6.12), a range (5.10..7.3), `newest`, `host`, or the path of a vmlinux or bzImage
    #[arg(long, value_name = "SPEC", default_value = "newest")]
    pub(super) kernel: Vec<Spec>,
    /// Only the program of this name
    #[arg(long, value_name = "NAME")]
    pub(super) program: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: super::Format,
    /// Show each refusal with its C line, path and registers
    #[arg(long)]
    pub(super) explain: bool,
    /// Show the whole log of each refusal
    #[arg(long)]
    pub(super) log: bool,
}

/// What `bpf-vm verify` starts in the machine.
#[derive(Debug, clap::Args)]
pub(super) struct GuestArgs {
    /// Only the program of this name
    #[arg(long)]
    pub(super) program: Option<String>,
    /// Objects, with numbers
    #[arg(value_name = "INDEX=FILE")]
    pub(super) objects: Vec<String>,
}

#[cfg(feature = "kernel")]
pub(super) use with_libbpf::{guest, main};

#[cfg(not(feature = "kernel"))]
mod without_libbpf {
    use std::io::Write;

    use super::{Args, GuestArgs};
    use crate::cli::Outcome;

    const WHY: &str = "this bpf-vm was built without libbpf, which loads the objects: build it with `--features kernel` \
                       (cargo install bpf-kernel-tests --features kernel); that needs a C compiler, and the headers of \
                       libelf and zlib (Debian: gcc libelf-dev zlib1g-dev, Fedora: gcc elfutils-libelf-devel zlib-devel)";

    pub(in crate::cli) fn main(args: &Args, _: &mut dyn Write) -> Outcome {
        let _ = (&args.files, &args.kernel, &args.program, args.format, args.explain, args.log);
        Err(WHY.into())
    }

    pub(in crate::cli) fn guest(args: &GuestArgs, _: &mut dyn Write) -> Outcome {
        let _ = (&args.program, &args.objects);
        Err(WHY.into())
    }
}
#[cfg(not(feature = "kernel"))]
pub(super) use without_libbpf::{guest, main};

#[cfg(feature = "kernel")]
mod with_libbpf {
    use std::io::Write;
    use std::process::ExitCode;

    use super::{Args, GuestArgs};
    use crate::cli::progress::Bars;
    use crate::cli::{Format, Outcome};
    use crate::kernels::{Arch, KernelImage, Kernels};
    use crate::verify::{self, Explained, Row, Target, Verdict};
    use crate::vm::{self, Machine, Qemu, Signals};

    pub(in crate::cli) fn guest(args: &GuestArgs, out: &mut dyn Write) -> Outcome {
        verify::guest_main(&args.objects, args.program.as_deref(), out)?;
        Ok(ExitCode::SUCCESS)
    }

    pub(in crate::cli) fn main(args: &Args, out: &mut dyn Write) -> Outcome {
        let mut targets = Vec::new();
        for file in &args.files {
            targets.push(Target::read(file).map_err(|e| format!("{}: {e}", file.display()))?);
        }
        let qemu = Qemu::find()?;
        let kernels = Kernels::new(Arch::of_host())?.with_report(Bars::new());
        let images = images(args, &kernels)?;
        let signals = Signals::catch()?;
        let mut say = |text: &str| {
            let _ = writeln!(std::io::stderr(), "bpf-vm: {text}");
        };
        let mut all: Vec<(usize, Explained)> = Vec::new();
        for (order, image) in images.iter().enumerate() {
            let name = name(image, &images);
            let mut machine = Machine::of(image);
            machine.snapshots = Some(kernels.cache().join("snapshots"));
            machine.accel = vm::choose_accel(&qemu, &machine, kernels.cache(), &mut say);
            let found =
                verify::verify(&qemu, &machine, &name, &targets, args.program.as_deref(), Some(&signals))
                    .map_err(|e| format!("kernel {name}: {e}"))?;
            all.extend(found.into_iter().map(|e| (order, e)));
        }
        // Stable: the programs of an object keep their order where names do not decide.
        all.sort_by(|(a, x), (b, y)| {
            (&x.row.object, &x.row.program, *a).cmp(&(&y.row.object, &y.row.program, *b))
        });
        let rows: Vec<&Row> = all.iter().map(|(_, e)| &e.row).collect();
        if let Some(program) = args.program.as_deref().filter(|_| rows.is_empty()) {
            return Err(format!("no object has a program '{program}'").into());
        }
        match args.format {
            Format::Json => verify::json_lines(rows.iter().copied(), out)?,
            Format::Text => {
                out.write_all(verify::table(&rows).as_bytes())?;
                for (_, one) in &all {
                    detail(args, one, out)?;
                }
            }
        }
        let fine = rows.iter().all(|row| row.verdict == Verdict::Accepted);
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn detail(args: &Args, one: &Explained, out: &mut dyn Write) -> std::io::Result<()> {
        let Row { object, program, kernel, verdict, .. } = &one.row;
        if *verdict != Verdict::Refused {
            return Ok(());
        }
        if args.explain {
            writeln!(out, "\n{object} on {kernel}\n{}", one.rendered)?;
        }
        if args.log {
            writeln!(out, "\nlog of '{program}' in {object} on {kernel}:\n{}", one.log.trim_end())?;
        }
        Ok(())
    }

    fn images(args: &Args, kernels: &Kernels) -> Result<Vec<KernelImage>, Box<dyn std::error::Error>> {
        let mut images: Vec<KernelImage> = Vec::new();
        for spec in &args.kernel {
            for image in kernels.get(spec)? {
                if images.iter().all(|known| known.vmlinux != image.vmlinux) {
                    images.push(image);
                }
            }
        }
        images.sort_by_key(|image| image.version);
        Ok(images)
    }

    /// The series, which stays when the archive has a newer patch; the version where one series is there twice.
    fn name(image: &KernelImage, all: &[KernelImage]) -> String {
        let (major, minor) = image.version.series();
        let same = all.iter().filter(|other| other.version.series() == image.version.series()).count();
        if same > 1 { image.version.to_string() } else { format!("{major}.{minor}") }
    }
}
