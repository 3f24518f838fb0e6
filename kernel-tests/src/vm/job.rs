//! What is to be run, and the files that it needs in the guest.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::VmError;
use super::input::{AtStart, Input};
use super::libraries::{CACHE, Search};
use super::protocol;
use super::qemu::{Machine, is_executable};
use super::roots::{self, Rooted, Roots, below};
use super::service::Service;
use super::start::{Start, is_executed};
use super::tree::{TooLarge, Tree};
use crate::kernels::Arch;

/// Variables of the host that a test binary may depend on. Not all of the environment: it may hold secrets and paths of
/// the host that mean nothing in the guest.
const PASSED: &[&str] =
    &["OUT_DIR", "TERM", "LD_LIBRARY_PATH", "CARGO_MANIFEST_DIR", "CARGO_CRATE_NAME", "CI"];
const PASSED_PREFIXES: &[&str] =
    &["CARGO_PKG_", "CARGO_BIN_", "RUST_", "NEXTEST", "BPF_HARNESS_", "INSTA_", "PROPTEST_", "__NEXTEST"];

/// A program to run in a guest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Job {
    /// The host's program: a path, or a name to be found on PATH.
    pub program: PathBuf,
    /// The folder whose `lib` and `usr/lib` have the loader and the libraries of the program, which it finds at those paths
    /// in the guest. `None` is this machine's, and for another architecture also where cross compilers have them.
    pub sysroot: Option<PathBuf>,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment, whole.
    pub env: BTreeMap<OsString, OsString>,
    /// Its working directory, made in the guest when nothing was brought there.
    pub cwd: PathBuf,
    /// Files and folders of the host to be copied into the guest, at the same paths.
    pub bring: Vec<PathBuf>,
    /// The workspace that the program is a test of, brought along as if by `bring`, but without what was built.
    pub workspace: Option<PathBuf>,
    /// Where the guest's results folder (`BPF_VM_RESULTS` names it) goes on the host.
    pub results: Option<PathBuf>,
    /// How long the program may take.
    pub timeout: Duration,
    /// How long the guest may take to answer.
    pub boot_timeout: Duration,
    /// Bytes of output, console and results after which the guest is ended.
    pub output_limit: u64,
    /// What the program reads.
    pub input: Input,
    /// What is done when the program is started.
    pub at_start: Option<AtStart>,
    /// What the host does for the program while it runs.
    pub service: Option<Service>,
}

impl Job {
    /// A job with the environment a test binary needs, in the current directory; under cargo, with the workspace.
    pub fn new(program: impl Into<PathBuf>, args: impl IntoIterator<Item = OsString>) -> Self {
        let workspace = workspace(env::var_os("CARGO_MANIFEST_DIR"));
        let mut env = environment(env::vars_os());
        if let Some(root) = &workspace {
            // insta would ask cargo, which is not there.
            env.entry("INSTA_WORKSPACE_ROOT".into()).or_insert_with(|| root.clone().into());
        }
        Self {
            program: program.into(),
            sysroot: None,
            args: args.into_iter().collect(),
            env,
            workspace,
            cwd: env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            bring: Vec::new(),
            results: None,
            timeout: Duration::from_secs(600),
            boot_timeout: Duration::from_secs(60),
            output_limit: 256 << 20,
            input: Input::Null,
            at_start: None,
            service: None,
        }
    }

    /// The architecture of the kernels that the program can run on, by its ELF file or the one that executes it.
    ///
    /// # Errors
    ///
    /// [`VmError::CannotStart`] and [`VmError::BadFile`] for what cannot be started on any.
    pub fn arch(&self) -> Result<Option<Arch>, VmError> {
        Start::of(&self.program, &self.cwd, &Roots::new(None, self.sysroot.as_deref()))?.arch()
    }

    /// Refuses a program that no kernel of this architecture can start.
    ///
    /// # Errors
    ///
    /// [`VmError::ForeignProgram`], [`VmError::CannotStart`] and [`VmError::BadFile`].
    pub fn check(&self, arch: Arch) -> Result<(), VmError> {
        self.start(arch)?.check(arch)
    }

    fn start(&self, arch: Arch) -> Result<Start, VmError> {
        Start::of(&self.program, &self.cwd, &Roots::new(Some(arch), self.sysroot.as_deref()))
    }

    /// The guest's first files and what is known of the program.
    pub(super) fn pack(&self, machine: &Machine, init: &[u8]) -> Result<Packed, VmError> {
        let start = self.start(machine.arch)?;
        start.check(machine.arch)?;
        let mut tree = Tree::with_init(init);
        tree.add_folder(Path::new(protocol::RESULTS_DIR));
        add_kernels_files(&mut tree, machine)?;
        let mut notes = Vec::new();
        if let Some(root) = &self.workspace
            && let Some(TooLarge { files, bytes }) = tree.add_sources(root)?
        {
            let mut note = format!(
                "the workspace {} is too large to be brought along ({files} files of {} MB and more)",
                root.display(),
                bytes >> 20
            );
            // Its packages may not be.
            if let Some(package) = self.env.get(OsStr::new("CARGO_MANIFEST_DIR")).map(Path::new)
                && package != root
                && tree.add_sources(package)?.is_none()
            {
                note.push_str(&format!(", only {} was", package.display()));
            }
            notes.push(format!("{note}; --ro brings what else is needed"));
        }
        let library_path = self.env.get(OsStr::new("LD_LIBRARY_PATH"));
        let library_path = library_path.map(|path| path.to_string_lossy()).unwrap_or_default();
        let roots = Roots::new(Some(machine.arch), self.sysroot.as_deref());
        let search = Search::new(roots, &library_path, &self.cwd);
        for file in start.files() {
            tree.add_rooted(file)?;
            if is_executed(&file.host(), machine.arch) {
                add_all(&mut tree, &search.closure(file)?)?;
            }
        }
        // One for another machine than the guest's is of no use there.
        for program in self.built_programs().iter().filter(|file| is_executed(file, machine.arch)) {
            let program = Rooted::same(program);
            tree.add_rooted(&program)?;
            add_all(&mut tree, &search.found(&program))?;
        }
        for path in &self.bring {
            let path = self.cwd.join(path);
            let brought = tree.add_host(&path)?;
            notes.extend(brought.notes(&path));
            for file in brought.files.iter().filter(|file| is_executed(file, machine.arch)) {
                let file = Rooted::same(file);
                let libraries = match search.closure(&file) {
                    Ok(libraries) => libraries,
                    // It only begins like a program.
                    Err(VmError::BadFile { .. }) => search.found(&file),
                    // Whether the folder is there for its sake is not known.
                    Err(_) if brought.folder => search.found(&file),
                    Err(error) => return Err(error),
                };
                add_all(&mut tree, &libraries)?;
            }
        }
        // The loader of the guest reads the same cache, or it would not find what the cache led to.
        if let Some(root) = search.roots.iter().find(|root| below(root, Path::new(CACHE)).exists()) {
            tree.add_host_at(&below(root, Path::new(CACHE)), Path::new(CACHE))?;
        }
        Ok(Packed { tree, program: start.program.path, folders: start.folders, notes })
    }

    /// The programs of the package that a test starts: cargo and nextest name them to it, and `target` stays behind.
    fn built_programs(&self) -> Vec<PathBuf> {
        let named = |key: &OsStr| {
            let key = key.as_bytes();
            key.starts_with(b"CARGO_BIN_EXE_") || key.starts_with(b"NEXTEST_BIN_EXE_")
        };
        let mut programs: Vec<PathBuf> = self
            .env
            .iter()
            .filter(|(key, _)| named(key))
            .map(|(_, value)| PathBuf::from(value))
            .filter(|path| path.is_absolute() && is_executable(path))
            .collect();
        programs.sort();
        programs.dedup();
        programs
    }

    /// Whether backtraces with source lines are asked for.
    pub(super) fn wants_debug_info(&self) -> bool {
        ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"]
            .iter()
            .any(|name| self.env.get(OsStr::new(name)).is_some_and(|value| value != "0"))
    }

    /// The message that starts the program.
    pub(super) fn command(&self, packed: &Packed) -> protocol::Command {
        let mut argv = vec![packed.program.as_os_str().as_bytes().to_vec()];
        argv.extend(self.args.iter().map(|arg| arg.as_bytes().to_vec()));
        let mut env = self.env.clone();
        env.entry("BPF_VM_RESULTS".into()).or_insert_with(|| protocol::RESULTS_DIR.into());
        env.entry("BPF_HARNESS_TIER".into()).or_insert_with(|| "kernel".into());
        if let Some(path) = env.get_mut(OsStr::new("PATH")).filter(|path| *path == roots::PATH) {
            // Where `env` finds on the host what a script asks it for.
            for folder in packed.folders.iter().filter(|f| !env::split_paths(roots::PATH).any(|p| p == **f)) {
                path.push(":");
                path.push(folder);
            }
        }
        protocol::Command {
            argv,
            env: env.into_iter().map(|(key, value)| (key.into_vec(), value.into_vec())).collect(),
            cwd: self.cwd.as_os_str().as_bytes().to_vec(),
            lifetime_secs: self.timeout.as_secs().saturating_add(60),
            input: self.input.kind(),
            service: self.service.is_some(),
        }
    }
}

/// What a guest is to start with.
#[derive(Debug)]
pub(super) struct Packed {
    /// Its files.
    pub(super) tree: Tree,
    /// The program's absolute path.
    program: PathBuf,
    /// Where else than usual it finds programs by name.
    folders: Vec<PathBuf>,
    /// What the user should know of it.
    pub(super) notes: Vec<String>,
}

/// The root of the workspace that a package belongs to: where cargo keeps its lock file.
fn workspace(package: Option<OsString>) -> Option<PathBuf> {
    let package = PathBuf::from(package?);
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").exists())?;
    Some(root.to_path_buf())
}

/// Of the host's variables those that are passed on, and the ones a guest's program starts with.
fn environment(host: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<OsString, OsString> {
    let passed = |key: &OsString| {
        let key = key.to_string_lossy();
        PASSED.contains(&&*key) || PASSED_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
    };
    let mut env: BTreeMap<OsString, OsString> = host.filter(|(key, _)| passed(key)).collect();
    for (key, value) in [("PATH", roots::PATH), ("HOME", "/root"), ("USER", "root")] {
        env.insert(key.into(), value.into());
    }
    env
}

/// What belongs to the kernel: its configuration, and its modules, named so that the guest loads them in the given order.
pub(super) fn add_kernels_files(tree: &mut Tree, machine: &Machine) -> Result<(), VmError> {
    if !machine.config.is_empty() {
        tree.add_bytes(protocol::CONFIG, machine.config.clone().into_bytes(), 0o644);
    }
    for (index, module) in machine.modules.iter().enumerate() {
        tree.add_host_at(module, &Path::new(protocol::MODULES_DIR).join(module_name(index, module)))?;
    }
    Ok(())
}

fn module_name(index: usize, module: &Path) -> String {
    format!("{index:03}-{}", module.file_name().unwrap_or_default().to_string_lossy())
}

/// The module that the guest has by this name.
pub(super) fn module_named<'a>(machine: &'a Machine, name: &[u8]) -> Option<&'a PathBuf> {
    let mut modules = machine.modules.iter().enumerate();
    modules.find(|(index, module)| module_name(*index, module).as_bytes() == name).map(|(_, module)| module)
}

fn add_all(tree: &mut Tree, libraries: &[Rooted]) -> Result<(), VmError> {
    libraries.iter().try_for_each(|library| tree.add_rooted(library))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn secrets_of_the_host_stay_there_and_what_tests_read_goes_along() {
        let host = [
            ("CARGO_REGISTRY_TOKEN", "secret"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("SSH_AUTH_SOCK", "/tmp/x"),
            ("PATH", "/home/me/bin"),
            ("RUST_BACKTRACE", "1"),
            ("CARGO_MANIFEST_DIR", "/src"),
            ("NEXTEST_RUN_ID", "7"),
        ];
        let env = environment(host.into_iter().map(|(key, value)| (key.into(), value.into())));
        let keys: Vec<_> = env.keys().filter_map(|key| key.to_str()).collect();
        assert_eq!(keys, ["CARGO_MANIFEST_DIR", "HOME", "NEXTEST_RUN_ID", "PATH", "RUST_BACKTRACE", "USER"]);
        assert!(!env.values().any(|value| value == "secret" || value == "/home/me/bin"));
    }

    #[test]
    fn a_script_brings_its_interpreter() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("job");
        fs::write(&path, "#!/bin/sh -e\ntrue\n").expect("a script");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let Packed { tree, program, .. } =
            Job::new(&path, []).pack(&Machine::new("/k"), b"init").expect("it can be packed");
        assert_eq!(program, path);
        assert!(tree.contains(&path.canonicalize().expect("its real path")));
        assert!(tree.contains(&Path::new("/bin/sh").canonicalize().expect("a shell")));
    }

    #[test]
    fn a_program_that_is_not_there_and_one_that_cannot_be_executed_differ() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("text");
        fs::write(&path, "hello").expect("a file");
        for (program, code) in [(dir.path().join("missing"), 127), (path, 126)] {
            let error =
                Job::new(&program, []).pack(&Machine::new("/k"), b"").expect_err("it cannot be started");
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn a_name_is_found_on_the_path_and_its_libraries_come_along() {
        let Packed { tree, program, .. } =
            Job::new("true", []).pack(&Machine::new("/k"), b"init").expect("it can be packed");
        assert!(program.is_absolute());
        assert!(tree.size() > 100_000, "{}", tree.size());
    }

    #[test]
    fn a_folder_may_hold_anything_and_a_program_needs_its_libraries() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut lost = fs::read(env::current_exe().expect("the test's path")).expect("its bytes");
        let at = lost.windows(10).position(|window| window == b"libc.so.6\0").expect("its C library");
        lost.get_mut(at..at + 4).expect("its name").copy_from_slice(b"lost");
        for (name, content) in [("lost", lost.as_slice()), ("noise", b"\x7fELF\x02\x01\x01noise")] {
            fs::write(dir.path().join(name), content).expect("a file");
        }
        let pack = |bring: &Path| {
            let mut job = Job::new("true", []);
            job.workspace = None;
            job.bring = vec![bring.to_path_buf()];
            job.pack(&Machine::new("/k"), b"init")
        };
        let packed = pack(dir.path()).expect("a folder is data");
        assert!(packed.tree.contains(&dir.path().canonicalize().expect("its real path").join("lost")));
        pack(&dir.path().join("noise")).expect("it is data");
        let error = pack(&dir.path().join("lost")).expect_err("it is a program, and asked for");
        assert!(matches!(error, VmError::LibraryMissing { .. }), "{error}");
    }

    #[test]
    fn programs_that_tests_are_told_of_come_along_and_a_large_workspace_is_said_to_stay() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = dir.path().canonicalize().expect("its real path");
        let built = dir.join("target/tool");
        for folder in ["target", "package"] {
            fs::create_dir(dir.join(folder)).expect("a folder");
        }
        fs::copy("/bin/true", &built).expect("a program");
        fs::write(dir.join("target/CACHEDIR.TAG"), "").expect("a mark");
        fs::write(dir.join("package/data"), "").expect("a file");
        let mut job = Job::new("true", []);
        job.workspace = Some(dir.clone());
        job.env.insert("CARGO_MANIFEST_DIR".into(), dir.join("package").into());
        job.env.insert("NEXTEST_BIN_EXE_tool".into(), built.clone().into());
        let packed = job.pack(&Machine::new("/k"), b"init").expect("it can be packed");
        assert!(packed.tree.contains(&built) && packed.notes.is_empty(), "{:?}", packed.notes);
        fs::File::create(dir.join("huge")).and_then(|file| file.set_len(1 << 30)).expect("a large file");
        let packed = job.pack(&Machine::new("/k"), b"init").expect("it can be packed");
        assert!(packed.tree.contains(&dir.join("package/data")) && !packed.tree.contains(&dir.join("huge")));
        let [note] = packed.notes.as_slice() else { panic!("{:?}", packed.notes) };
        assert!(note.contains("1024 MB") && note.contains("package") && note.contains("--ro"), "{note}");
    }

    #[test]
    fn the_guest_finds_what_env_found() {
        let job = Job::new("true", []);
        let mut packed = job.pack(&Machine::new("/k"), b"init").expect("it can be packed");
        let path = |packed: &Packed| {
            let env = job.command(packed).env.into_iter().collect::<BTreeMap<_, _>>();
            String::from_utf8(env.get(&b"PATH"[..]).expect("a path").clone()).expect("text")
        };
        packed.folders = vec!["/usr/bin".into(), "/opt/tool/bin".into()];
        assert_eq!(path(&packed), format!("{}:/opt/tool/bin", roots::PATH));
    }
}
