//! Kernels that are on this machine already: the user's files and the running kernel.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::config::KernelConfig;
use super::error::KernelsError;
use super::image::KernelImage;
use super::parts::Parts;
use super::report::{Event, Report};
use super::store::{FILE_NAME, Source, Store};
use super::unpack;

/// How the origin of a kernel in a file starts.
const FILE: &str = "the file ";
/// Long enough for whoever boots a file that has been written again since.
const STALE: Duration = Duration::from_secs(600);

/// The kernel in a file: vmlinuz, vmlinux, arm64 `Image`, or a package. Its configuration and modules are found where
/// installed kernels have them (`config-V` beside `vmlinuz-V`, `/lib/modules/V`).
pub(super) fn open(path: &Path, store: &Store, report: &dyn Report) -> Result<KernelImage, KernelsError> {
    let path = std::fs::canonicalize(path).map_err(KernelsError::io("open the kernel", path))?;
    let meta = std::fs::metadata(&path).map_err(KernelsError::io("read", &path))?;
    if !meta.is_file() {
        return Err(KernelsError::BadImage { path, what: "it is not a file".to_owned() });
    }
    // A file that is written again has another time or size, and is taken apart again.
    let mut hasher = DefaultHasher::new();
    let changed = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    (&path, meta.len(), changed).hash(&mut hasher);
    let name = format!("{FILE_NAME}{:016x}", hasher.finish());
    if let Ok(Some(image)) = store.load(&name) {
        return Ok(image);
    }
    let lock = store.lock(&name, report)?;
    if let Ok(Some(image)) = store.load(&name) {
        return Ok(image);
    }
    report.event(Event::Unpacking { release: path.display().to_string() });
    let origin = format!("{FILE}{}", path.display());
    let image = take_apart(&path).and_then(|parts| {
        let from = Source { path: &path, origin: &origin, version: None, in_place: Some(&path) };
        store.put(&name, &parts, &from, &lock)
    });
    if image.is_ok() {
        store.prune_files(&name, &origin, STALE);
    }
    report.event(Event::Done);
    image
}

fn take_apart(path: &Path) -> Result<Parts, KernelsError> {
    let mut parts = Parts::default();
    if path.extension().is_some_and(|e| e == "deb") {
        parts.add_deb(path)?;
        return Ok(parts);
    }
    let image = std::fs::read(path).map_err(KernelsError::io("read", path))?;
    let release = release_of_path(path).unwrap_or_default();
    if !release.is_empty() {
        let folder = Path::new("/lib/modules").join(&release);
        parts.add_installed(&release, &folder);
        let beside = path.with_file_name(format!("config-{release}"));
        for file in [beside, folder.join("config")] {
            if let Ok(text) = std::fs::read_to_string(file) {
                parts.config = KernelConfig::parse(&text);
                break;
            }
        }
    }
    parts.vmlinuz = Some((release, image));
    Ok(parts)
}

/// V of `vmlinuz-V`, and of `/lib/modules/V/vmlinuz`.
fn release_of_path(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let named = ["vmlinuz-", "vmlinux-"].iter().find_map(|p| file.strip_prefix(p));
    let release = named.or_else(|| {
        let folder = path.parent()?;
        (folder.parent()?.file_name()? == "modules").then(|| folder.file_name()?.to_str())?
    })?;
    release.starts_with(|c: char| c.is_ascii_digit()).then(|| release.to_owned())
}

/// The running kernel's image, from where distributions install it.
pub(super) fn host(store: &Store, report: &dyn Report) -> Result<KernelImage, KernelsError> {
    let osrelease = Path::new("/proc/sys/kernel/osrelease");
    let release = std::fs::read_to_string(osrelease).map_err(KernelsError::io("read", osrelease))?;
    let mut image = host_from(Path::new("/"), release.trim(), store, report)?;
    if image.config.is_empty() {
        // CONFIG_IKCONFIG_PROC.
        if let Ok(text) = std::fs::read("/proc/config.gz").and_then(|packed| unpack::all(&packed)) {
            image.config = KernelConfig::parse(&String::from_utf8_lossy(&text));
        }
    }
    Ok(image)
}

fn host_from(
    root: &Path,
    release: &str,
    store: &Store,
    report: &dyn Report,
) -> Result<KernelImage, KernelsError> {
    let places = [format!("boot/vmlinuz-{release}"), format!("lib/modules/{release}/vmlinuz")];
    let places: Vec<PathBuf> = places.iter().map(|p| root.join(p)).collect();
    let mut looked = Vec::new();
    for place in &places {
        match std::fs::File::open(place) {
            Ok(_) => return open(place, store, report),
            Err(e) => looked.push(format!("{}: {e}", place.display())),
        }
    }
    Err(KernelsError::NoHostImage { release: release.to_owned(), what: looked.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::report::Silent;
    use crate::kernels::testing::{self, Packing};

    #[test]
    fn a_file_is_taken_apart_once_and_again_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("k"));
        let path = dir.path().join("vmlinuz-6.1.0-x");
        std::fs::write(
            &path,
            testing::bzimage(&testing::vmlinux(b"one"), Packing::Lz4, "6.1.0-x (a) Debian 6.1.9-1"),
        )
        .unwrap();
        std::fs::write(dir.path().join("config-6.1.0-x"), "CONFIG_HZ=250\n").unwrap();
        let image = open(&path, &store, &Silent).unwrap();
        assert_eq!((image.version.to_string(), image.release.as_str()), ("6.1.9".to_owned(), "6.1.0-x"));
        assert_eq!(image.config.get("HZ"), Some("250"));
        assert_eq!(open(&path, &store, &Silent).unwrap(), image);

        std::fs::write(&path, testing::bzimage(&testing::vmlinux(b"longer"), Packing::Lz4, "6.1.0-x"))
            .unwrap();
        let again = open(&path, &store, &Silent).unwrap();
        assert_eq!(std::fs::read(again.btf.unwrap()).unwrap(), b"longer");
        // What it was before is kept for a while, for whoever boots it just now.
        let folders = || {
            let entries = std::fs::read_dir(dir.path().join("k")).unwrap().flatten();
            entries.filter(|entry| entry.path().is_dir()).count()
        };
        assert_eq!(folders(), 2);
        let other = dir.path().join("vmlinuz-6.2.0-y");
        let bytes = testing::bzimage(&testing::vmlinux(b"other"), Packing::Lz4, "6.2.0-y");
        std::fs::write(&other, &bytes).unwrap();
        open(&other, &store, &Silent).unwrap();
        let origin = format!("{FILE}{}", std::fs::canonicalize(&path).unwrap().display());
        let name = |image: &KernelImage| {
            image.vmlinux.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
        };
        store.prune_files(&name(&open(&path, &store, &Silent).unwrap()), &origin, Duration::ZERO);
        assert_eq!(folders(), 2, "one of each file");
        // A file that is gone is not booted any more.
        std::fs::remove_file(&other).unwrap();
        store.prune_files(&name(&open(&path, &store, &Silent).unwrap()), &origin, Duration::ZERO);
        assert_eq!(folders(), 1);
        open(&path, &store, &Silent).unwrap();
    }

    #[test]
    fn a_vmlinux_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(dir.path()).unwrap().join("vmlinux");
        let mut bytes = testing::vmlinux(b"btf");
        bytes.extend(b"\0Linux version 6.12.3 (x)\n");
        std::fs::write(&path, bytes).unwrap();
        let image = open(&path, &Store::new(dir.path().join("k")), &Silent).unwrap();
        assert_eq!((&image.vmlinux, &image.vmlinuz), (&path, &path));
        assert_eq!(image.version.to_string(), "6.12.3");
    }

    #[test]
    fn a_host_without_its_image_is_named_with_the_places() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("k"));
        let error = host_from(dir.path(), "6.1-gone", &store, &Silent).unwrap_err().to_string();
        assert!(
            error.contains("boot/vmlinuz-6.1-gone") && error.contains("lib/modules/6.1-gone/vmlinuz"),
            "{error}"
        );
        let missing = open(&dir.path().join("none"), &store, &Silent).unwrap_err();
        assert!(missing.to_string().starts_with("cannot open the kernel "), "{missing}");
        assert!(matches!(open(dir.path(), &store, &Silent), Err(KernelsError::BadImage { .. })));
    }
}
