use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cpio::newc;

use super::Tree;
use super::collect::MAX_SOURCE_BYTES;
use super::output::between;
use crate::vm::protocol::FilePiece;
use crate::vm::roots::Rooted;

fn listing(tree: &Tree) -> Vec<(String, u32, Vec<u8>)> {
    let mut bytes = Vec::new();
    tree.write(&mut bytes).expect("the tree can be written");
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    loop {
        let mut reader = newc::Reader::new(rest).expect("a well-formed entry");
        if reader.entry().is_trailer() {
            return entries;
        }
        let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
        let mut content = Vec::new();
        io::Read::read_to_end(&mut reader, &mut content).expect("its content");
        entries.push((name, mode, content));
        rest = reader.finish().expect("the next entry");
    }
}

#[test]
fn sources_come_without_what_is_built_from_them() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let root = dir.path().canonicalize().expect("its real path");
    for (path, text) in [
        ("Cargo.lock", ""),
        ("member/tests/data.txt", "data"),
        ("target/CACHEDIR.TAG", ""),
        ("target/debug/large", ""),
        (".git/config", ""),
    ] {
        fs::create_dir_all(root.join(path).parent().expect("a folder")).expect("folders");
        fs::write(root.join(path), text).expect("a file");
    }
    let mut tree = Tree::default();
    assert_eq!(tree.add_sources(&root).expect("it can be read"), None);
    let below = |path: &Path| Some(path.strip_prefix(&root).ok()?.to_str()?.to_owned());
    let names: Vec<_> = tree.nodes.keys().filter_map(|path| below(path)).collect();
    assert_eq!(names, ["", "Cargo.lock", "member", "member/tests", "member/tests/data.txt"]);

    fs::File::create(root.join("huge")).and_then(|f| f.set_len(MAX_SOURCE_BYTES + 1)).expect("a file");
    let mut tree = Tree::default();
    let large = tree.add_sources(&root).expect("it can be read").expect("it is too large");
    assert!(large.bytes > MAX_SOURCE_BYTES, "{large:?}");
    assert!(!tree.nodes.contains_key(&root.join("Cargo.lock")));
}

#[test]
fn parents_come_before_their_children() {
    let mut tree = Tree::with_init(b"init");
    tree.add_bytes("/a/b/c", b"text".to_vec(), 0o640);
    let names: Vec<String> = listing(&tree).into_iter().map(|(name, ..)| name).collect();
    for name in &names {
        if let Some((parent, _)) = name.rsplit_once('/') {
            let at = |wanted: &str| names.iter().position(|name| name == wanted);
            assert!(at(parent) < at(name) && at(parent).is_some(), "{parent} before {name}");
        }
    }
    assert!(names.iter().any(|name| name == "init") && names.iter().any(|name| name == "a/b/c"));
}

#[test]
fn host_files_are_seen_through_the_same_links() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let root = dir.path().canonicalize().expect("its real path");
    fs::create_dir_all(root.join("usr/lib")).expect("folders");
    fs::write(root.join("usr/lib/libx.so.1.2"), "elf").expect("a file");
    std::os::unix::fs::symlink("usr/lib", root.join("lib")).expect("a link");
    std::os::unix::fs::symlink("libx.so.1.2", root.join("usr/lib/libx.so.1")).expect("a link");

    let mut tree = Tree::default();
    let files = tree.add_host(&root.join("lib/libx.so.1")).expect("it can be added");
    assert_eq!(files.files, [root.join("usr/lib/libx.so.1.2")]);
    let below = |(name, mode, content): (String, u32, Vec<u8>)| {
        let path = Path::new("/").join(name);
        let name = path.strip_prefix(&root).ok()?.to_str()?.to_owned();
        Some((name, mode & 0o170_000, String::from_utf8(content).ok()?))
    };
    let entries: Vec<_> =
        listing(&tree).into_iter().filter_map(below).filter(|entry| !entry.0.is_empty()).collect();
    assert_eq!(
        entries,
        [
            ("lib".to_owned(), 0o120_000, "usr/lib".to_owned()),
            ("usr".to_owned(), 0o040_000, String::new()),
            ("usr/lib".to_owned(), 0o040_000, String::new()),
            ("usr/lib/libx.so.1".to_owned(), 0o120_000, "libx.so.1.2".to_owned()),
            ("usr/lib/libx.so.1.2".to_owned(), 0o100_000, "elf".to_owned()),
        ]
    );
}

#[test]
fn files_of_a_root_are_at_their_paths_below_it_whatever_links_another_root_has() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for (root, folder) in [(&a, "usr/lib"), (&a, "opt"), (&b, "lib"), (&b, "real")] {
        fs::create_dir_all(root.join(folder)).expect("folders");
    }
    for (target, link) in [
        ("usr/lib", a.join("lib")),
        ("/usr/lib/liba.so.1", a.join("usr/lib/liba.so")),
        ("real", b.join("opt")),
    ] {
        std::os::unix::fs::symlink(target, link).expect("a link");
    }
    for path in ["a/usr/lib/liba.so.1", "a/opt/x", "b/lib/libb.so", "b/real/y"] {
        fs::write(dir.path().join(path), path).expect("a file");
    }
    let mut tree = Tree::default();
    for (root, path) in [(&a, "/lib/liba.so"), (&a, "/opt/x"), (&b, "/lib/libb.so"), (&b, "/opt/y")] {
        tree.add_rooted(&Rooted::new(root, path)).expect("it can be added");
    }
    let entries: Vec<_> = listing(&tree)
        .into_iter()
        .filter(|(_, mode, _)| mode & 0o170_000 != 0o040_000)
        .map(|(name, _, content)| format!("{name}: {}", String::from_utf8_lossy(&content)))
        .collect();
    assert_eq!(
        entries,
        [
            "lib: usr/lib",
            "opt/x: a/opt/x",
            "opt/y: b/real/y",
            "usr/lib/liba.so: /usr/lib/liba.so.1",
            "usr/lib/liba.so.1: a/usr/lib/liba.so.1",
            "usr/lib/libb.so: b/lib/libb.so",
        ]
    );
}

#[test]
fn in_a_folder_links_stay_links_and_what_cannot_be_brought_is_left_out() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path().canonicalize().expect("its real path");
    let root = dir.join("root");
    for folder in ["root/sub", "elsewhere/deep"] {
        fs::create_dir_all(dir.join(folder)).expect("folders");
    }
    for file in ["root/sub/file", "elsewhere/deep/file", "elsewhere/single"] {
        fs::write(dir.join(file), file).expect("a file");
    }
    for (target, link) in [
        ("sub", "folder"),
        ("sub/file", "inner"),
        ("nowhere", "dangling"),
        ("loop", "loop"),
        ("../elsewhere", "outer"),
        ("../elsewhere/single", "single"),
        ("/proc/self", "process"),
        ("/proc/version", "version"),
        ("/dev/null", "device"),
    ] {
        std::os::unix::fs::symlink(target, root.join(link)).expect("a link");
    }
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).expect("a socket");
    let mode = |path: &str, mode| {
        fs::set_permissions(dir.join(path), fs::Permissions::from_mode(mode)).expect("other permissions");
    };
    mode("root/sub", 0o2750);
    mode("root/sub/file", 0o666);
    let mut tree = Tree::default();
    let brought = tree.add_host(&root).expect("it is harmless");
    assert_eq!(brought.files, [dir.join("elsewhere/single"), root.join("sub/file")]);
    let notes = brought.notes(&root);
    assert!(matches!(notes.as_slice(), [one] if one.ends_with("root/outer")), "{notes:?}");
    let below = |path: &str| Some(Path::new("/").join(path).strip_prefix(&dir).ok()?.to_str()?.to_owned());
    let entries: Vec<_> = listing(&tree)
        .into_iter()
        .filter_map(|(name, mode, content)| {
            Some(format!("{} {mode:o} {}", below(&name)?, String::from_utf8_lossy(&content)))
        })
        .filter(|line| line.starts_with("root/") || line.starts_with("elsewhere/"))
        .collect();
    assert_eq!(
        entries,
        [
            "elsewhere/single 100644 elsewhere/single",
            "root/dangling 120777 nowhere",
            "root/device 120777 /dev/null",
            "root/folder 120777 sub",
            "root/inner 120777 sub/file",
            "root/loop 120777 loop",
            "root/outer 120777 ../elsewhere",
            "root/process 120777 /proc/self",
            "root/single 120777 ../elsewhere/single",
            "root/sub 42750 ",
            "root/sub/file 100666 root/sub/file",
            "root/version 120777 /proc/version",
        ]
    );
    let error = tree.add_host(Path::new("/proc/version")).expect_err("it is the kernel's");
    assert!(error.to_string().contains("the guest has it of its kernel"), "{error}");
}

#[test]
fn a_file_whose_name_is_no_text_is_sent() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::write(&path, "odd length").expect("a file");
    let mut tree = Tree::default();
    tree.add_host(&path).expect("it can be added");
    let mut bytes = Vec::new();
    tree.write(&mut bytes).expect("it can be written");
    assert!(!bytes.windows(3).any(|window| window == b"caf"), "the archive has text only");
    let mut sent = Vec::new();
    let hidden = tree.hidden();
    let take = |piece: FilePiece| {
        sent.push((piece.path, piece.data));
        Ok(())
    };
    hidden.send(true, take).expect("it can be read");
    assert_eq!(sent.len(), 2, "the file is made, then filled");
    assert_eq!(sent.last(), Some(&(path.as_os_str().as_bytes().to_vec(), b"odd length".to_vec())));
}

#[test]
fn a_file_that_was_asked_for_is_sent_whole_and_a_program_without_its_debug_information() {
    let program = std::env::current_exe().expect("the test's path");
    let size = fs::metadata(&program).expect("it is there").len();
    let sent = |tree: &Tree| {
        let mut sent = 0;
        let count = |piece: FilePiece| {
            sent += piece.data.len() as u64;
            Ok(())
        };
        tree.send(false, count).expect("it can be read");
        sent
    };
    let mut tree = Tree::default();
    tree.add_rooted(&Rooted::same(&program)).expect("it can be added");
    let (slim, before) = (sent(&tree), tree.identity(false));
    assert!(slim < size, "{slim} of {size}");
    tree.add_host(&program).expect("it can be added");
    assert!(sent(&tree) >= size);
    assert_ne!(tree.identity(false), before);
    // The order does not matter.
    tree.add_rooted(&Rooted::same(&program)).expect("it can be added");
    assert!(sent(&tree) >= size);
}

#[test]
fn what_a_booted_guest_hides_is_known() {
    let mut tree = Tree::with_init(b"init");
    tree.add_bytes("/dev/shm/program", b"x".to_vec(), 0o755);
    tree.add_bytes("/device", b"x".to_vec(), 0o755);
    let hidden = tree.hidden();
    let paths: Vec<_> = hidden.nodes.keys().filter_map(|path| path.to_str()).collect();
    assert_eq!(paths, ["/dev/console", "/dev/shm", "/dev/shm/program"]);
}

#[test]
fn what_lies_between_holes_is_kept() {
    assert_eq!(between(&[6..8, 2..4, 8..9], 10), [0..2, 4..6, 9..10]);
    assert_eq!(between(&[], 3), vec![0..3; 1]);
    assert!(between(&[], 0).is_empty());
}

#[test]
fn a_loop_of_links_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::os::unix::fs::symlink("b", dir.path().join("a")).expect("a link");
    std::os::unix::fs::symlink("a", dir.path().join("b")).expect("a link");
    let error = Tree::default().add_host(&dir.path().join("a")).expect_err("it has no end");
    assert!(error.to_string().contains("too many symbolic links"), "{error}");
}

#[test]
fn equal_trees_give_equal_bytes() {
    let write = || {
        let mut bytes = Vec::new();
        Tree::with_init(b"init").write(&mut bytes).expect("the tree can be written");
        bytes
    };
    assert_eq!(write(), write());
}
