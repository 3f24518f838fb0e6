//! From text to object: flags, attempts, cache.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use bpf_vm_shim::object::{Arch, LoadError, Object};

use super::super::cache::Cache;
use super::super::clang::Clang;
use super::super::depfile::{Dependency, included};
use super::super::digest;
use super::super::error::CompileError;
use super::super::output::{rename_in_object, rename_in_text};
use super::super::overlay::{Files, Overlay};
use super::super::remote::{self, Source};
use super::super::usdt;
use super::super::workdir::WorkDir;
use super::fixes::Fixes;
use super::header::Header;
use super::kernel::BccKernel;
use crate::usdt::Usdt;

use super::{params, programs, shims, tracepoints};

/// The flags of every compilation. Function sections make each function a program; the names of their sections say
/// nothing. The last pair makes everything inline that can be: kernels before 5.10 have no calls between functions that
/// tail calls may end, and what a helper function reads of kernel memory is read where its argument is known.
const FLAGS: [&str; 14] = [
    "--target=bpf",
    "-O2",
    "-g",
    // Where the compiler was started is nobody's business, and would shorten the names of files that it shares a
    // folder with.
    "-fdebug-compilation-dir=/bcc-text",
    "-fdebug-prefix-map=/bcc-text=",
    "-nostdinc",
    "-ffunction-sections",
    "-fno-jump-tables",
    "-fno-delete-null-pointer-checks",
    "-D__KERNEL__",
    "-D__BPF_TRACING__",
    "-D__HARNESS_BCC__",
    "-mllvm",
    "-inline-threshold=1000000",
];

/// What bcc's programs are full of and a kernel's build does not mind; newer compilers take some of it for errors.
const WARNINGS: [&str; 12] = [
    "-Wno-unknown-warning-option",
    "-Wno-int-conversion",
    "-Wno-incompatible-pointer-types",
    "-Wno-pointer-sign",
    "-Wno-macro-redefined",
    "-Wno-address-of-packed-member",
    "-Wno-gnu-variable-sized-type-not-at-end",
    "-Wno-unused-value",
    "-Wno-return-type",
    "-Wno-visibility",
    // A misspelt helper would otherwise be a function that nobody has.
    "-Werror=implicit-function-declaration",
    "-Wno-gnu-folding-constant",
];

/// How often a text is compiled again, each time with more out of its way.
const MAX_ATTEMPTS: usize = 12;

/// The name of a text that is no file.
const UNNAMED: &str = "<text>";

/// A program text with what its author gives the compiler.
#[derive(Clone, Debug)]
pub struct Text {
    name: String,
    text: String,
    quote_dir: Option<PathBuf>,
    cflags: Vec<String>,
    usdt: Vec<Usdt>,
    /// The functions that read arguments of probes, where they were made already.
    readers: Option<String>,
    /// Files that go before those of this machine.
    files: Files,
}

/// A compiled text.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Compiled {
    /// The ELF object.
    pub object: Vec<u8>,
    /// It came out of the cache.
    pub cached: bool,
}

impl Compiled {
    /// An object that was compiled before.
    #[must_use]
    pub fn from_object(object: Vec<u8>) -> Self {
        Self { object, cached: true }
    }

    /// The object, its programs with the types and attach points that their names and contexts say.
    ///
    /// # Errors
    /// If the object is not one that can be read.
    pub fn parse(&self) -> Result<Object, LoadError> {
        let mut object = Object::parse(&self.object)?;
        programs::assign_programs(&mut object);
        Ok(object)
    }
}

impl Text {
    /// A text that is no file; diagnostics call it `<text>`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            name: UNNAMED.to_owned(),
            text: text.into(),
            quote_dir: None,
            cflags: Vec::new(),
            usdt: Vec::new(),
            readers: None,
            files: Files::default(),
        }
    }

    /// The text of a file; `#include "..."` finds what lies beside it.
    ///
    /// # Errors
    /// If the file cannot be read or is no UTF-8.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, CompileError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|e| CompileError::io(path, &e))?;
        let quote_dir = path.parent().map(Path::to_path_buf);
        Ok(Self { name: path.to_string_lossy().into_owned(), quote_dir, ..Self::new(text) })
    }

    /// The name under which diagnostics and source lines appear.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// More flags for clang: `-DNAME=1`, `-I include`, ...
    #[must_use]
    pub fn cflags(mut self, flags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.cflags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// Probes that functions of the text are enabled for: their arguments are what `bpf_usdt_readarg` reads.
    #[must_use]
    pub fn usdt_contexts(mut self, contexts: impl IntoIterator<Item = Usdt>) -> Self {
        self.usdt.extend(contexts);
        self
    }

    /// Compiles the text with the clang that is found, unless the result is known already. In a guest of `bpf-vm` the
    /// host compiles it.
    ///
    /// # Errors
    /// If there is no clang, or it does not like the text.
    pub fn compile(&self, kernel: &BccKernel) -> Result<Compiled, CompileError> {
        match remote::socket() {
            Some(socket) => remote::compile(&socket, self, kernel),
            None => self.compile_here(kernel),
        }
    }

    /// Compiles the text with the clang of this machine.
    pub(in crate::compile) fn compile_here(&self, kernel: &BccKernel) -> Result<Compiled, CompileError> {
        self.compile_with(&Clang::find()?, kernel)
    }

    /// What a host needs to compile this text for a guest.
    pub(in crate::compile) fn to_source(&self, arch: Arch) -> Result<Source, CompileError> {
        let Self { name, text, quote_dir, cflags, .. } = self.clone();
        let files = Files::of(&text, quote_dir.as_deref(), &cflags);
        Ok(Source { name, text, quote_dir, cflags, readers: self.readers(arch)?, files })
    }

    /// The text of a guest.
    pub(in crate::compile) fn of_source(source: Source) -> Self {
        let Source { name, text, quote_dir, cflags, readers, files } = source;
        Self { name, text, quote_dir, cflags, usdt: Vec::new(), readers: Some(readers), files }
    }

    /// The tracepoints that the text names.
    pub(in crate::compile) fn tracepoints(&self) -> BTreeSet<(String, String)> {
        tracepoints::mentioned(&self.text)
    }

    fn readers(&self, arch: Arch) -> Result<String, CompileError> {
        self.readers.clone().map_or_else(|| usdt::readers(&self.usdt, arch), Ok)
    }

    /// Compiles the text with this clang.
    ///
    /// # Errors
    /// If it does not like the text.
    pub fn compile_with(&self, clang: &Clang, kernel: &BccKernel) -> Result<Compiled, CompileError> {
        let cache = Cache::open();
        let mut fixes = Fixes::default();
        let records = tracepoints::structures(kernel, &self.text, fixes.tracepoints())?;
        let header = Header::new(&cache, kernel, &[])?;
        let readers = self.readers(kernel.arch)?;
        let overlay = self.files.clone().lay(&cache)?;
        let files = overlay.as_ref().map(Overlay::key);
        let made: Vec<&str> = [&records, &readers].into_iter().chain(&files).map(String::as_str).collect();
        let key = self.key(clang, kernel, &header, &made);
        if let Some(object) = cache.object(&key) {
            return Ok(Compiled { object, cached: true });
        }
        for _ in 0..MAX_ATTEMPTS {
            let run = Run {
                text: self,
                readers: &readers,
                overlay: overlay.as_ref(),
                clang,
                kernel,
                cache: &cache,
                fixes: &fixes,
            };
            let diagnostics = match run.run()? {
                Ok((object, deps)) => {
                    cache.keep_object(&key, &deps, &object);
                    return Ok(Compiled { object, cached: false });
                }
                Err(diagnostics) => diagnostics,
            };
            let fewer = run.with_fewer_parameters(&diagnostics)?;
            if !fixes.rewrite(fewer) && !fixes.learn(&diagnostics, self, kernel) {
                let diagnostics = fixes.diagnostics(diagnostics);
                return Err(CompileError::Diagnostics {
                    name: self.name.clone(),
                    notes: fixes.notes(&diagnostics, &self.text, kernel),
                    diagnostics,
                });
            }
        }
        Err(CompileError::Diagnostics {
            name: self.name.clone(),
            diagnostics: String::new(),
            notes: vec![format!(
                "it did not compile in {MAX_ATTEMPTS} attempts, each with more out of its way"
            )],
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What everything that decides about the object hashes to.
    fn key(&self, clang: &Clang, kernel: &BccKernel, header: &Header, made: &[&str]) -> String {
        let flags =
            self.flags(kernel).into_iter().chain(self.cflags.iter().cloned()).collect::<Vec<_>>().join("\0");
        let dir = self.quote_dir.as_ref().map(|d| d.to_string_lossy().into_owned()).unwrap_or_default();
        let parts =
            [env!("CARGO_PKG_VERSION"), clang.version(), &header.hash, &flags, &dir, &self.name, &self.text];
        digest(parts.iter().chain(made).map(|part| part.as_bytes()))
    }

    /// The flags that the forced header is compiled with as well.
    fn flags(&self, kernel: &BccKernel) -> Vec<String> {
        let own = FLAGS
            .iter()
            .chain(&WARNINGS)
            .chain(&kernel.arch_flags())
            .map(|f| (*f).to_owned())
            .collect::<Vec<_>>();
        let code =
            self.cflags.iter().filter(|f| f.starts_with("-m") || f.starts_with("-O") || f.starts_with("-f"));
        own.into_iter().chain(code.cloned()).collect()
    }
}

/// One attempt.
struct Run<'a> {
    text: &'a Text,
    readers: &'a str,
    overlay: Option<&'a Overlay>,
    clang: &'a Clang,
    kernel: &'a BccKernel,
    cache: &'a Cache,
    fixes: &'a Fixes,
}

/// The object and the files that it was made of, or clang's diagnostics.
type Outcome = Result<(Vec<u8>, Vec<Dependency>), String>;

impl Run<'_> {
    fn run(&self) -> Result<Outcome, CompileError> {
        let renamed = self.fixes.renamed();
        let header = Header::new(self.cache, self.kernel, renamed)?;
        let flags = self.text.flags(self.kernel);
        // A header that was changed for one text is not worth being compiled in advance.
        let precompiled =
            if renamed.is_empty() { header.precompiled(self.cache, self.clang, &flags) } else { None };
        let outcome = self.run_with(&header, &flags, precompiled.as_deref())?;
        match (&outcome, precompiled) {
            // The text's own flags do not go with the precompiled header, or somebody is cleaning the cache.
            (Err(why), Some(_)) if why.contains("precompiled") || why.contains("PCH file") => {
                self.run_with(&header, &flags, None)
            }
            _ => Ok(outcome),
        }
    }

    fn run_with(
        &self,
        header: &Header,
        flags: &[String],
        precompiled: Option<&Path>,
    ) -> Result<Outcome, CompileError> {
        let work = WorkDir::new(self.cache)?;
        let Prepared { mut command, names } = self.prepare(&work, header, flags, precompiled)?;
        let (object, deps) = (work.path().join("out.o"), work.path().join("out.d"));
        command.args(["-MD", "-MF"]).arg(&deps).arg("-c").arg("-o").arg(&object);
        let output = command.output().map_err(|e| CompileError::io(self.clang.path(), &e))?;
        if !output.status.success() {
            return Ok(Err(rename_in_text(&String::from_utf8_lossy(&output.stderr), &names)));
        }
        let mut bytes = std::fs::read(&object).map_err(|e| CompileError::io(&object, &e))?;
        rename_in_object(&mut bytes, &names);
        let deps = std::fs::read_to_string(&deps).unwrap_or_default();
        let own = [header.dir.as_path(), work.path(), self.cache.dir()];
        let deps = included(&deps, &own).iter().filter_map(|d| Dependency::of(d)).collect();
        Ok(Ok((bytes, deps)))
    }

    /// The text without the parameters that clang says are too many, where it says so.
    fn with_fewer_parameters(&self, diagnostics: &str) -> Result<Option<String>, CompileError> {
        let text = self.source();
        let functions = params::functions(diagnostics, text);
        if functions.is_empty() {
            return Ok(None);
        }
        let header = Header::new(self.cache, self.kernel, self.fixes.renamed())?;
        let flags = self.text.flags(self.kernel);
        let mut trees = String::new();
        for function in functions {
            let work = WorkDir::new(self.cache)?;
            let mut command = self.prepare(&work, &header, &flags, None)?.command;
            command.args(["-fsyntax-only", "-Xclang", "-ast-dump=json", "-Xclang"]);
            command.arg(format!("-ast-dump-filter={function}"));
            let output = command.output().map_err(|e| CompileError::io(self.clang.path(), &e))?;
            trees += &String::from_utf8_lossy(&output.stdout);
        }
        Ok(params::rewrite(text, &trees))
    }

    /// The text of this attempt.
    fn source(&self) -> &str {
        self.fixes.rewritten().unwrap_or(&self.text.text)
    }

    /// The command but for what it is to do, with its files in the working directory.
    fn prepare(
        &self,
        work: &WorkDir,
        header: &Header,
        flags: &[String],
        precompiled: Option<&Path>,
    ) -> Result<Prepared, CompileError> {
        let Text { name, quote_dir, cflags, .. } = self.text;
        let readers = self.readers;
        let text = self.source();
        let records = tracepoints::structures(self.kernel, text, self.fixes.tracepoints())?;
        let undefined = self.fixes.undefined();
        let events = work.write("made", "events.h", format!("{records}{readers}{undefined}").as_bytes())?;
        let source = work.write("text", &file_name(work.path(), name), text.as_bytes())?;
        let includes = shims::includes(text).chain(self.fixes.shims());
        let shims = shims::directory(self.cache, includes)?;

        let mut command = Command::new(self.clang.path());
        command.args(flags);
        match precompiled {
            Some(pch) => command.arg("-include-pch").arg(pch),
            None => command.arg("-include").arg(header.path()),
        };
        command.arg("-include").arg(&events);
        command.args(["-fno-color-diagnostics", "-ferror-limit=0", "-Xclang", "-fno-pch-timestamp"]);
        if let (Some(overlay), Some(dir)) = (self.overlay, quote_dir) {
            command.arg("-iquote").arg(overlay.dir(dir));
        }
        if let Some(dir) = quote_dir {
            command.arg("-iquote").arg(if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
        }
        match self.overlay {
            Some(overlay) => command.args(overlay.flags(cflags)),
            None => command.args(cflags),
        };
        command.arg("-idirafter").arg(&shims).args(["-x", "c"]).arg(&source);

        let path = |p: &Path| p.to_string_lossy().into_owned();
        let dir = |p: &Path| format!("{}/", p.to_string_lossy());
        let mut names = vec![
            (path(&source), name.clone()),
            (dir(&header.dir), "bcc/".to_owned()),
            (dir(&work.path().join("made")), "bcc/".to_owned()),
            (dir(&shims), String::new()),
        ];
        names
            .extend(self.overlay.into_iter().flat_map(|overlay| overlay.names(quote_dir.as_deref(), cflags)));
        Ok(Prepared { command, names })
    }
}

/// A command, and the names of its files as its user knows them.
struct Prepared {
    command: Command,
    names: Vec<(String, String)>,
}

/// A file name for the text. The path of the file must not be shorter than the text's name, which takes its place in
/// the object.
fn file_name(dir: &Path, name: &str) -> String {
    const MAX: usize = 200;
    let have = dir.as_os_str().len() + 1;
    let base = if name == UNNAMED { UNNAMED.to_owned() } else { "text.c".to_owned() };
    let missing = name.len().saturating_sub(have + base.len()).min(MAX);
    format!("{}{base}", "_".repeat(missing))
}
