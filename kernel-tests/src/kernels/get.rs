//! From what is asked for to what is on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::BaseStrategy;

use super::apt::Apt;
use super::error::KernelsError;
use super::image::KernelImage;
use super::index::{Listed, Package};
use super::local;
use super::parts::Parts;
use super::report::{Event, Report, Silent};
use super::spec::Spec;
use super::store::{self, Source, Store};
use super::version::{Arch, Version};

/// The environment variable that says where kernels are kept.
const CACHE: &str = "BPF_VM_CACHE";

/// How many kernels of a series are tried before it is given up: packages leave the archive.
const TRIES: usize = 12;

/// The kernels that this machine has and can get.
#[derive(Clone)]
pub struct Kernels {
    arch: Arch,
    cache: PathBuf,
    store: Store,
    report: Arc<dyn Report>,
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernels")
            .field("arch", &self.arch)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl Kernels {
    /// The kernels for a machine, kept in the folder that `BPF_VM_CACHE` names, otherwise in `bpf-vm` in the user's
    /// cache folder.
    ///
    /// # Errors
    ///
    /// [`KernelsError::NoCacheDir`].
    pub fn new(arch: Arch) -> Result<Self, KernelsError> {
        let named = std::env::var_os(CACHE).filter(|v| !v.is_empty()).map(PathBuf::from);
        let users = || etcetera::choose_base_strategy().ok().map(|s| s.cache_dir().join("bpf-vm"));
        let cache = named.or_else(users).ok_or(KernelsError::NoCacheDir { variable: CACHE })?;
        Ok(Self::in_folder(arch, &cache))
    }

    /// The kernels for a machine, kept in this folder.
    #[must_use]
    pub fn in_folder(arch: Arch, cache: &Path) -> Self {
        let cache = std::path::absolute(cache).unwrap_or_else(|_| cache.to_owned());
        let store = Store::new(store::folder(&cache, arch));
        Self { arch, cache, store, report: Arc::new(Silent) }
    }

    /// Tells this one what happens.
    #[must_use]
    pub fn with_report(self, report: impl Report + 'static) -> Self {
        Self { report: Arc::new(report), ..self }
    }

    /// The folder where everything is kept; others may keep more in it.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    /// The kernels that are kept, oldest first.
    #[must_use]
    pub fn kept(&self) -> Vec<KernelImage> {
        let mut images = self.store.list(&|e| self.report.event(Event::Warning(e.to_string())));
        images.retain(|image| image.arch == self.arch && image.origin.starts_with(PACKAGE));
        images
    }

    /// The kernels that the archive lists, oldest first; its lists are read if that was never done.
    ///
    /// # Errors
    ///
    /// [`KernelsError::NoApt`], [`KernelsError::NoMirror`], [`KernelsError::Offline`].
    pub fn listed(&self) -> Result<Vec<Listed>, KernelsError> {
        if let Some(listed) = self.kept_list() {
            return Ok(listed);
        }
        self.read_lists(true)
    }

    /// Reads the archive's lists again; what they list now.
    ///
    /// # Errors
    ///
    /// As [`Kernels::listed`].
    pub fn update(&self) -> Result<Vec<Listed>, KernelsError> {
        self.read_lists(false)
    }

    /// The list that was kept, if one was.
    fn kept_list(&self) -> Option<Vec<Listed>> {
        fs::read(self.list_file()).ok().and_then(|text| serde_json::from_slice(&text).ok())
    }

    /// Reads the archive's lists, unless another process has kept one in the meantime and that is enough.
    fn read_lists(&self, any: bool) -> Result<Vec<Listed>, KernelsError> {
        let lock = Store::new(self.cache.join("apt")).lock(self.arch.name(), &*self.report)?;
        if let Some(listed) = self.kept_list().filter(|_| any) {
            return Ok(listed);
        }
        self.report.event(Event::Updating);
        let apt = self.apt();
        let result = apt.update().and_then(|complaints| Ok((complaints, apt.listed()?)));
        self.report.event(Event::Done);
        let (complaints, listed) = result?;
        if listed.is_empty() {
            let message = brief(&complaints).unwrap_or_else(|| "it lists no kernel".to_owned());
            return Err(KernelsError::Offline { message });
        }
        if let Some(text) = brief(&complaints) {
            self.report.event(Event::Warning(text));
        }
        self.keep_list(&listed)?;
        drop(lock);
        Ok(listed)
    }

    /// Where the list of kernels is kept: asking apt takes longer than restoring a virtual machine.
    fn list_file(&self) -> PathBuf {
        self.cache.join("apt").join(format!("{}.json", self.arch))
    }

    /// Writes the list whole or not at all.
    fn keep_list(&self, listed: &[Listed]) -> Result<(), KernelsError> {
        let file = self.list_file();
        let write = || {
            let mut new = tempfile::NamedTempFile::new_in(self.cache.join("apt"))?;
            serde_json::to_writer(&mut new, listed)?;
            new.persist(&file).map_err(|e| e.error)
        };
        write().map(drop).map_err(KernelsError::io("write", &file))
    }

    /// The kernels that are meant, oldest first, fetched where they are not kept yet. A kept kernel of a series is
    /// preferred to a newer one that is not, so that results change only when asked for (see [`Kernels::fetch`]). Of a
    /// range, a series that is listed and not to be had is passed over with a warning.
    ///
    /// # Errors
    ///
    /// Those of [`KernelsError`].
    pub fn get(&self, spec: &Spec) -> Result<Vec<KernelImage>, KernelsError> {
        self.resolve(spec, &self.kept())
    }

    /// Like [`Kernels::get`], but the newest that is listed of each series, whatever is kept.
    ///
    /// # Errors
    ///
    /// Those of [`KernelsError`].
    pub fn fetch(&self, spec: &Spec) -> Result<Vec<KernelImage>, KernelsError> {
        self.resolve(spec, &[])
    }

    fn resolve(&self, spec: &Spec, kept: &[KernelImage]) -> Result<Vec<KernelImage>, KernelsError> {
        match spec {
            Spec::Path(path) => return Ok(vec![local::open(path, &self.store, &*self.report)?]),
            Spec::Host => return Ok(vec![local::host(&self.store, &*self.report)?]),
            Spec::Series(..) | Spec::Exact(_) => {
                if let Some(image) = kept.iter().rfind(|image| spec.takes(image.version)) {
                    return Ok(vec![image.clone()]);
                }
            }
            Spec::Range { .. } | Spec::Newest => {}
        }
        let mut listed = match self.listed() {
            Ok(listed) => listed,
            // A range and "newest" mean what is known here then.
            Err(e) if kept.iter().any(|image| spec.takes(image.version)) => {
                self.report.event(Event::Warning(e.to_string()));
                Vec::new()
            }
            Err(e) => return Err(e),
        };
        if choices(spec, &listed, kept).is_empty() {
            // It may be newer than the lists.
            listed = self.update()?;
        }
        let mut choices = choices(spec, &listed, kept);
        if *spec == Spec::Newest {
            choices = choices.pop_last().into_iter().collect();
        }
        let single = choices.len() == 1;
        let mut images = Vec::new();
        for choice in choices.into_values() {
            match self.have(choice) {
                Ok(image) => images.push(image),
                Err(e @ KernelsError::Gone { .. }) if !single => {
                    self.report.event(Event::Warning(e.to_string()))
                }
                Err(e) => return Err(e),
            }
        }
        if images.is_empty() { Err(self.unknown(spec, &listed)) } else { Ok(images) }
    }

    /// The image of a choice: kept, or the newest that is to be had.
    fn have(&self, choice: Choice<'_>) -> Result<KernelImage, KernelsError> {
        if let Some(kept) = choice.kept {
            return Ok(kept.clone());
        }
        let mut gone = None;
        for listed in choice.listed.iter().rev().take(TRIES) {
            match self.download(listed) {
                Err(e @ KernelsError::Gone { .. }) => {
                    let image = &listed.image;
                    let text = format!("{} {} has left the archive", image.name, image.version);
                    self.report.event(Event::Warning(text));
                    gone = gone.or(Some(e));
                }
                result => return result,
            }
        }
        Err(gone.unwrap_or_else(|| KernelsError::Offline { message: "nothing is listed".to_owned() }))
    }

    /// Fetches a kernel's packages and takes them apart, unless that has been done meanwhile.
    fn download(&self, listed: &Listed) -> Result<KernelImage, KernelsError> {
        let name = &listed.release;
        if let Ok(Some(image)) = self.store.load(name) {
            return Ok(image);
        }
        let lock = self.store.lock(name, &*self.report)?;
        if let Ok(Some(image)) = self.store.load(name) {
            return Ok(image);
        }
        let scratch = self.store.scratch()?;
        let size = listed.image.size + listed.companions.iter().map(|p| p.size).sum::<u64>();
        let progress = |percent| self.report.event(Event::Fetching { release: name.clone(), size, percent });
        progress(0.0);
        let packages: Vec<&Package> = [&listed.image].into_iter().chain(&listed.companions).collect();
        let fetched = self.apt().download(&packages, scratch.path(), &progress);
        self.report.event(Event::Done);
        let fetched = match fetched {
            // The image may be there without the rest, which is done without.
            Err(KernelsError::Gone { message, .. }) if packages.len() > 1 => {
                let without = format!("{name} comes without modules and configuration: {message}");
                let image = self.apt().download(&[&listed.image], scratch.path(), &progress)?;
                self.report.event(Event::Warning(without));
                image
            }
            fetched => fetched?,
        };
        self.report.event(Event::Unpacking { release: name.clone() });
        let image = self.build(listed, &fetched, &lock);
        self.report.event(Event::Done);
        image
    }

    fn build(
        &self,
        listed: &Listed,
        files: &[PathBuf],
        lock: &store::Lock,
    ) -> Result<KernelImage, KernelsError> {
        let mut parts = Parts::default();
        for file in files {
            parts.add_deb(file)?;
        }
        let origin = format!("{PACKAGE}{} {}", listed.image.name, listed.image.version);
        let path = Path::new(&listed.image.name);
        let from = Source { path, origin: &origin, version: Some(listed.version), in_place: None };
        self.store.put(&listed.release, &parts, &from, lock)
    }

    fn apt(&self) -> Apt {
        Apt::new(self.cache.join("apt").join(self.arch.name()), self.arch)
    }

    fn unknown(&self, spec: &Spec, listed: &[Listed]) -> KernelsError {
        let mut series: Vec<(u16, u16)> = listed.iter().map(|l| l.version.series()).collect();
        series.dedup();
        let known: Vec<String> = series.iter().map(|(major, minor)| format!("{major}.{minor}")).collect();
        KernelsError::NoSuchKernel { spec: spec.to_string(), arch: self.arch.name(), known: known.join(", ") }
    }
}

/// The first complaint, and how many there are: without a network every suite has one.
fn brief(complaints: &[String]) -> Option<String> {
    match complaints {
        [] => None,
        [one] => Some(one.clone()),
        [first, rest @ ..] => Some(format!("{first} (and {} more like this)", rest.len())),
    }
}

/// How the origin of a kernel from the archive starts.
const PACKAGE: &str = "package ";

/// What there is of one series.
#[derive(Default, Debug)]
struct Choice<'a> {
    kept: Option<&'a KernelImage>,
    listed: Vec<&'a Listed>,
}

/// What a spec means, series by series; both inputs are sorted, oldest first.
fn choices<'a>(
    spec: &Spec,
    listed: &'a [Listed],
    kept: &'a [KernelImage],
) -> BTreeMap<(u16, u16), Choice<'a>> {
    let mut choices: BTreeMap<_, Choice<'a>> = BTreeMap::new();
    let mut of = |version: Version, add: &dyn Fn(&mut Choice<'a>)| {
        if spec.takes(version) {
            add(choices.entry(version.series()).or_default());
        }
    };
    for one in listed {
        of(one.version, &|choice| choice.listed.push(one));
    }
    for one in kept {
        of(one.version, &|choice| choice.kept = Some(one));
    }
    choices
}
