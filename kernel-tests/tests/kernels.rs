//! `bpf-vm kernels` from end to end, against an apt that is a script of a few lines: no network, no root.

#[path = "../src/kernels/testing.rs"]
#[allow(dead_code, reason = "each test file needs a part of it")]
mod testing;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// apt-get: sources, update, download of what lies in `archive/`.
const APT_GET: &str = r#"#!/bin/sh
case "$*" in
*indextargets*) cat "$FAKE/sources"; exit 0;;
*update*) echo update >> "$FAKE/log"; cat "$FAKE/update" >&2; exit 0;;
esac
echo "dlstatus:1:50.0000:Retrieving"
seen=
for word; do
    if [ -n "$seen" ]; then
        echo "$word" >> "$FAKE/log"
        file="$FAKE/archive/${word%%=*}.deb"
        if [ -e "$file" ]; then cp "$file" .; else cat "$FAKE/missing" >&2; exit 100; fi
    fi
    [ "$word" = download ] && seen=1
done
exit 0
"#;

/// apt-cache: `search` finds all, `show` prints the records.
const APT_CACHE: &str = r#"#!/bin/sh
case "$1" in
search) sed -n 's/^Package: //p' "$FAKE/records";;
show) cat "$FAKE/records";;
esac
"#;

struct Fake {
    dir: tempfile::TempDir,
}

impl Fake {
    /// An archive that lists these kernels (release, Debian version, whether it can be had).
    fn new(kernels: &[(&str, &str, bool)]) -> Self {
        let fake = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(fake.at("bin")).unwrap();
        fs::create_dir_all(fake.at("archive")).unwrap();
        for (name, script) in [("apt-get", APT_GET), ("apt-cache", APT_CACHE), ("apt-config", "#!/bin/sh\n")]
        {
            let file = fake.at("bin").join(name);
            fs::write(&file, script).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut records = String::new();
        for (release, version, there) in kernels {
            records += &format!("Package: linux-image-{release}\nVersion: {version}\nSize: 20000000\n\n");
            if *there {
                let deb = testing::kernel_deb(release, release.starts_with('7'));
                fs::write(fake.at("archive").join(format!("linux-image-{release}.deb")), deb).unwrap();
            }
        }
        for (file, text) in [
            ("records", records.as_str()),
            ("sources", "http://m.invalid/debian/ bookworm main Debian\n"),
            ("update", ""),
            ("missing", "E: Failed to fetch http://m.invalid/x.deb  404  Not Found\n"),
        ] {
            fs::write(fake.at(file), text).unwrap();
        }
        fake
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// The cache folder with the words of the command line; gives status, standard output, standard error, with the
    /// test's folder written as `DIR`.
    fn run_with_path(&self, path: &str, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_bpf-vm"))
            .arg("kernels")
            .args(args)
            .env_clear()
            .env("PATH", path)
            .env("FAKE", self.dir.path())
            .env("BPF_VM_CACHE", self.at("cache"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(&self.dir.path().display().to_string(), "DIR")
        };
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        self.run_with_path(&format!("{}:/usr/bin:/bin", self.at("bin").display()), args)
    }

    /// The words that reached apt-get.
    fn log(&self) -> Vec<String> {
        fs::read_to_string(self.at("log")).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

const OLD: (&str, &str, bool) = ("6.1.0-37-cloud-amd64", "6.1.140-1", true);
const MIDDLE: (&str, &str, bool) = ("6.12.38+deb13-cloud-amd64", "6.12.38-1", true);
const NEW: (&str, &str, bool) = ("7.3.4+deb13-cloud-amd64", "7.3.4-1~bpo13+1", true);

#[test]
fn the_list_marks_what_is_kept_and_shows_the_newest_of_each_series() {
    let fake = Fake::new(&[NEW, ("6.1.0-36-cloud-amd64", "6.1.139-1", true), OLD, MIDDLE]);
    let list = |args: &[&str]| fake.run(&[&["list", "--arch", "amd64"], args].concat()).1;
    assert_eq!(
        list(&[]),
        "6.1.140    6.1.0-37-cloud-amd64\n6.12.38    6.12.38+deb13-cloud-amd64\n7.3.4      7.3.4+deb13-cloud-amd64\n"
    );
    assert_eq!(list(&["--all", "6.1"]).lines().count(), 2);
    assert_eq!(list(&["6.2..7.3"]).lines().count(), 2);
    assert_eq!(fake.run(&["fetch", "6.12", "--arch", "amd64"]).0, 0);
    let json = list(&["--format", "json", "6.12"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value["kept"], &value["version"]), (&true.into(), &"6.12.38".into()));
    assert_eq!(
        fake.log(),
        ["update", "linux-image-6.12.38+deb13-cloud-amd64=6.12.38-1"],
        "lists are read once"
    );
}

#[test]
fn a_kernel_is_fetched_once_and_then_needs_no_apt() {
    let fake = Fake::new(&[OLD, MIDDLE]);
    let (code, out, err) = fake.run(&["fetch", "6.1", "--arch", "amd64"]);
    let expected = "6.1.140 6.1.0-37-cloud-amd64 DIR/cache/kernels/amd64/6.1.0-37-cloud-amd64/vmlinux\n";
    assert_eq!((code, out.as_str(), err.as_str()), (0, expected, ""));
    let (code, out, err) = fake.run_with_path("/nonexistent", &["show", "6.1", "--arch", "amd64"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "6.1.140 6.1.0-37-cloud-amd64 amd64
  from          package linux-image-6.1.0-37-cloud-amd64 6.1.140-1
  boots         DIR/cache/kernels/amd64/6.1.0-37-cloud-amd64/vmlinux
  BTF           12 bytes
  kprobes       yes
  uprobes       no
  BPF events    no
  BPF LSM       yes, on by default
  known from    its configuration
  virtio        virtio virtio_pci virtio_console
  modules       veth virtio virtio_console virtio_pci
"
    );
    let (_, json, _) =
        fake.run_with_path("/nonexistent", &["show", "6.1", "--arch", "amd64", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["facts"]["lsm"], "lockdown,bpf");
    assert_eq!(value["release"], "6.1.0-37-cloud-amd64");
}

#[test]
fn a_newer_kernel_of_a_series_changes_nothing_until_it_is_fetched() {
    let fake = Fake::new(&[OLD]);
    assert_eq!(fake.run(&["fetch", "6.1", "--arch", "amd64"]).0, 0);
    let records = fs::read_to_string(fake.at("records")).unwrap();
    let newer = "Package: linux-image-6.1.0-38-cloud-amd64\nVersion: 6.1.147-1\nSize: 20000000\n\n";
    fs::write(fake.at("records"), records + newer).unwrap();
    let deb = testing::kernel_deb("6.1.0-38-cloud-amd64", false);
    fs::write(fake.at("archive/linux-image-6.1.0-38-cloud-amd64.deb"), deb).unwrap();
    assert_eq!(fake.run(&["list", "--update", "--arch", "amd64"]).1.lines().count(), 2);
    for spec in ["6.1", "newest", "5.10..7.3"] {
        let (_, out, _) = fake.run(&["show", spec, "--arch", "amd64"]);
        assert!(out.starts_with("6.1.140 6.1.0-37"), "{spec}: {out}");
    }
    let (_, out, _) = fake.run(&["fetch", "6.1", "--arch", "amd64"]);
    assert!(out.starts_with("6.1.147 6.1.0-38"), "{out}");
    assert!(fake.run(&["show", "6.1", "--arch", "amd64"]).1.starts_with("6.1.147 6.1.0-38"));
    assert!(fake.run(&["show", "6.1.140", "--arch", "amd64"]).1.starts_with("6.1.140 6.1.0-37"));
}

#[test]
fn what_left_the_archive_is_replaced_by_an_older_one_and_said() {
    let gone = ("6.12.99+deb13-cloud-amd64", "6.12.99-1", false);
    let fake = Fake::new(&[OLD, MIDDLE, gone, ("7.0.1+deb13-cloud-amd64", "7.0.1-1", false)]);
    let (code, out, err) = fake.run(&["fetch", "5.10..7.3", "--arch", "amd64"]);
    assert_eq!(code, 0, "{err}");
    let versions: Vec<&str> = out.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(versions, ["6.1.140", "6.12.38"]);
    assert!(
        err.contains("warning: linux-image-6.12.99+deb13-cloud-amd64 6.12.99-1 has left the archive"),
        "{err}"
    );
    // Alone it is an error.
    let (code, _, err) = fake.run(&["fetch", "7.0", "--arch", "amd64"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("error: linux-image-7.0.1+deb13-cloud-amd64 7.0.1-1 is listed and yet not to be had"),
        "{err}"
    );
}

/// One row: what is broken, the words, the status, and what must be said.
#[test]
fn every_failure_has_a_name() {
    type Break = fn(&Fake);
    let rows: [(Break, &[&str], i32, &str); 8] = [
        (|_| {}, &["fetch", "6.x"], 2, "`6.x` does not say which kernel"),
        (|_| {}, &["fetch", "7.0..6.1"], 2, "the range is empty"),
        (|_| {}, &["fetch", "5.15"], 1, "there is no kernel 5.15 for amd64; there are: 6.1"),
        (|f| fs::write(f.at("cache"), "").unwrap(), &["list"], 1, "error: cannot create DIR/cache/apt: "),
        (|_| {}, &["fetch", "/nonexistent/bzImage"], 1, "cannot open the kernel /nonexistent/bzImage"),
        (
            |f| {
                fs::write(
                    f.at("update"),
                    "W: Failed to fetch a\nW: Failed to fetch a\nW: Failed to fetch b\n",
                )
                .unwrap();
                fs::write(f.at("records"), "").unwrap();
            },
            &["list"],
            1,
            "the archive cannot be read (no network?), and no list of kernels was kept: Failed to fetch a (and 1 more like this)",
        ),
        (
            |f| {
                fs::remove_file(f.at("archive/linux-image-6.1.0-37-cloud-amd64.deb")).unwrap();
                fs::write(f.at("missing"), "E: Failed to fetch http://m.invalid/x.deb  Could not resolve\n")
                    .unwrap();
            },
            &["fetch", "6.1"],
            1,
            "fetching linux-image-6.1.0-37-cloud-amd64 failed: Failed to fetch",
        ),
        (
            |f| fs::write(f.at("archive/linux-image-6.1.0-37-cloud-amd64.deb"), "!<arch>\n").unwrap(),
            &["fetch", "6.1"],
            1,
            "is not a kernel package: it has no member data.tar",
        ),
    ];
    for (break_it, args, code, expected) in rows {
        let fake = Fake::new(&[OLD]);
        break_it(&fake);
        let (status, out, err) = fake.run(&[args, &["--arch", "amd64"]].concat());
        assert_eq!((status, out.as_str()), (code, ""), "{args:?}: {err}");
        assert!(err.contains(expected), "{args:?}: {err}");
    }
    let fake = Fake::new(&[OLD]);
    let (code, _, err) = fake.run_with_path("/nonexistent", &["list"]);
    assert_eq!(code, 1);
    assert!(err.contains("kernels are found with apt, and `apt-get` did not start"), "{err}");
}

#[test]
fn a_machine_of_another_distribution_asks_debian_itself_where_it_has_the_keys() {
    let fake = Fake::new(&[OLD]);
    fs::write(fake.at("sources"), "http://u.invalid/u/ noble main Ubuntu\n").unwrap();
    let (code, out, err) = fake.run(&["list", "--arch", "amd64"]);
    if code == 0 {
        assert!(out.starts_with("6.1.140"), "{out}");
        let list = fs::read_to_string(fake.at("cache/apt/amd64/etc/sources.list")).unwrap();
        assert!(list.contains("/debian bookworm main") && list.contains("signed-by="), "{list}");
    } else {
        assert!(err.contains("name no Debian archive") && err.contains("debian-archive-keyring"), "{err}");
    }
}

#[test]
fn a_broken_image_is_named_by_its_path() {
    let fake = Fake::new(&[]);
    let whole = testing::bzimage(&testing::vmlinux(b"x"), testing::Packing::Zstd, "6.1.0 (x)");
    let write = |bytes: &[u8]| {
        let path = fake.at("vmlinuz-6.1.0");
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let path = write(&whole);
    let (code, out, err) = fake.run(&["fetch", &path]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("6.1.0 6.1.0 DIR/cache/kernels/"), "{out}");
    let path = write(&whole[..whole.len() - 3]);
    let (code, _, err) = fake.run(&["fetch", &path]);
    assert_eq!(code, 1);
    assert!(
        err.contains("DIR/vmlinuz-6.1.0 is not a kernel image that can be booted: it is cut short"),
        "{err}"
    );
}

#[test]
fn a_damaged_kernel_is_said_and_fetched_again() {
    let fake = Fake::new(&[OLD]);
    assert_eq!(fake.run(&["fetch", "6.1", "--arch", "amd64"]).0, 0);
    let vmlinux = fake.at("cache/kernels/amd64/6.1.0-37-cloud-amd64/vmlinux");
    let whole = fs::read(&vmlinux).unwrap();
    fs::write(&vmlinux, &whole[..100]).unwrap();
    let (code, _, err) = fake.run(&["show", "6.1", "--arch", "amd64"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("6.1.0-37-cloud-amd64 is damaged: vmlinux has 100 bytes"), "{err}");
    assert_eq!(fs::read(&vmlinux).unwrap(), whole);
}

#[test]
fn processes_that_ask_at_once_fetch_it_once() {
    let fake = Fake::new(&[OLD]);
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|_| scope.spawn(|| fake.run(&["show", "6.1", "--arch", "amd64"]))).collect();
        for run in runs {
            let (code, out, err) = run.join().unwrap();
            assert!(code == 0 && out.starts_with("6.1.140 "), "{out}{err}");
        }
    });
    assert_eq!(fake.log(), ["update", "linux-image-6.1.0-37-cloud-amd64=6.1.140-1"]);
}

/// The real archive; only where it is asked for, since it needs the network and minutes.
#[test]
fn real_kernels_are_fetched_and_have_what_is_needed() {
    let Some(cache) = std::env::var_os("BPF_VM_TEST_ARCHIVE") else {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"skipped: set BPF_VM_TEST_ARCHIVE to a cache folder to fetch real kernels\n",
        );
        return;
    };
    for spec in ["5.10", "6.1", "6.12", "newest"] {
        let output = Command::new(env!("CARGO_BIN_EXE_bpf-vm"))
            .args(["kernels", "show", "--format", "json", "--arch", "amd64", spec])
            .env("BPF_VM_CACHE", &cache)
            .output()
            .unwrap();
        assert!(output.status.success(), "{spec}: {}", String::from_utf8_lossy(&output.stderr));
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let facts = &value["facts"];
        assert!(facts["btf"].as_u64().unwrap() > 3_000_000, "{spec}: {facts}");
        for fact in ["kprobes", "uprobes", "bpf_events", "bpf_lsm"] {
            assert_eq!(facts[fact], true, "{spec}: {fact}");
        }
        assert!(Path::new(value["vmlinux"].as_str().unwrap()).is_file());
        // Six modules on 5.10 and 6.1 (four before the PCI part was split), none since 6.12.
        let boot = value["modules"].as_array().unwrap().len();
        assert_eq!(boot > 0, matches!(spec, "5.10" | "6.1"), "{spec}: {boot}");
    }
}
