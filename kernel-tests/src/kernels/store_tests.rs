use std::path::Path;

use super::{Source, Store};
use crate::kernels::parts::Parts;
use crate::kernels::report::Silent;
use crate::kernels::{KernelImage, KernelsError, testing};

fn put(store: &Store, name: &str, deb: &[u8]) -> Result<KernelImage, KernelsError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), deb).unwrap();
    let mut parts = Parts::default();
    parts.add_deb(file.path())?;
    let from = Source { path: file.path(), origin: "a test", version: None, in_place: None };
    let lock = store.lock(name, &Silent)?;
    store.put(name, &parts, &from, &lock)
}

fn unexpected(error: KernelsError) {
    panic!("{error}");
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn a_kernel_is_the_same_from_packages_of_both_layouts() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().join("k"));
    for (release, merged) in [("6.1.0-37-cloud-amd64", false), ("7.3.4+deb13-cloud-amd64", true)] {
        let image = put(&store, release, &testing::kernel_deb(release, merged)).unwrap();
        assert_eq!((image.release.as_str(), image.version.to_string().as_str()), (release, "6.1.140"));
        let order: Vec<&str> = image.modules.iter().map(|p| file_name(p)).collect();
        // virtio_ring is built in.
        assert_eq!(order, ["virtio.ko", "virtio_pci.ko", "virtio_console.ko"]);
        assert_eq!(image.load_order(&["veth", "ext4"]).unwrap().len(), 1);
        assert_eq!(std::fs::read(image.btf.as_ref().unwrap()).unwrap(), b"\x9f\xebnot really");
        assert_eq!(std::fs::read(&image.vmlinux).unwrap(), testing::vmlinux(b"\x9f\xebnot really"));
        assert!(image.config.is_on("KPROBES") && !image.config.is_on("CONFIG_UPROBES"));
        assert_eq!(image.config.get("LSM"), Some("lockdown,bpf"));
        assert_eq!(store.load(release).unwrap(), Some(image));
    }
    assert_eq!(store.list(&unexpected).len(), 2);
    let left: Vec<String> = std::fs::read_dir(dir.path().join("k"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!left.iter().any(|name| name.starts_with('.')), "nothing is left over: {left:?}");
}

#[test]
fn a_module_that_is_nowhere_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().to_owned());
    let image = put(&store, "x", &testing::kernel_deb("6.1.0-1", false)).unwrap();
    let error = image.load_order(&["veth", "cls-bpf"]).unwrap_err();
    assert!(matches!(&error, KernelsError::NoModule { module, .. } if module == "cls_bpf"), "{error}");
}

#[test]
fn a_kept_kernel_that_is_damaged_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().to_owned());
    let image = put(&store, "x", &testing::kernel_deb("6.1.0-1", false)).unwrap();
    std::fs::write(&image.vmlinux, b"short").unwrap();
    let error = store.load("x").unwrap_err();
    assert!(
        matches!(error, KernelsError::BadCache { .. }) && error.to_string().contains("vmlinux has 5 bytes"),
        "{error}"
    );
    let said = std::cell::RefCell::new(Vec::new());
    assert!(store.list(&|e| said.borrow_mut().push(e.to_string())).is_empty());
    assert_eq!(said.into_inner(), [error.to_string()]);
    // Fetching it again makes it whole.
    put(&store, "x", &testing::kernel_deb("6.1.0-1", false)).unwrap();
    assert_eq!(store.list(&unexpected).len(), 1);
    std::fs::write(dir.path().join("x/image.json"), b"{").unwrap();
    assert!(matches!(store.load("x"), Err(KernelsError::BadCache { .. })));
    std::fs::write(dir.path().join("x/image.json"), br#"{"form":0}"#).unwrap();
    assert!(matches!(store.load("x"), Ok(None)), "an older form is made again");
}

#[test]
fn what_is_no_kernel_package_is_named_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().to_owned());
    let empty = testing::deb(&[("usr/share/doc/x", b"")], ".xz");
    let broken = testing::deb(&[("boot/vmlinuz-6.1.0-1", b"MZ what")], ".gz");
    for (deb, expected) in
        [(empty, "no vmlinuz"), (broken, "neither a bzImage"), (b"x".to_vec(), "no ar archive")]
    {
        let error = put(&store, "x", &deb).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(store.list(&unexpected).is_empty());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the lock is there");
}

#[test]
fn many_at_once_get_one_whole_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().to_owned());
    let deb = testing::kernel_deb("6.1.0-1", false);
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..8).map(|_| scope.spawn(|| put(&store, "x", &deb).map(|i| i.release))).collect();
        for run in runs {
            assert_eq!(run.join().unwrap().unwrap(), "6.1.0-1");
        }
    });
    assert_eq!(store.list(&unexpected).len(), 1);
}
