//! Whether `/dev/kvm` can be used, found out by booting with it.
//!
//! The device can exist and open and still not work: nested or filtered virtualisation aborts QEMU, or lets it spin for
//! ever. So one plain guest is booted under a deadline, and the answer is kept for this QEMU until the host boots again.

use std::env;
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::VmError;
use super::qemu::{Accel, Machine, Qemu};
use super::session;
use crate::kernels::{Arch, Kernels};

/// Chooses by hand: `kvm` or `tcg`.
const VARIABLE: &str = "BPF_VM_ACCEL";
const DEVICE: &str = "/dev/kvm";
/// KVM boots to the agent within a second or two.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long an answer is believed that may be about the kernel rather than about KVM.
const UNSURE_FOR: Duration = Duration::from_secs(3600);

/// What is known of KVM with one QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Works,
    Broken,
    /// Broken, or the kernel is that it was tried with.
    Unsure,
}

impl Answer {
    const WORDS: [(Self, &'static str); 3] =
        [(Self::Works, "kvm"), (Self::Broken, "tcg"), (Self::Unsure, "tcg?")];

    fn accel(self) -> Accel {
        if self == Self::Works { Accel::Kvm } else { Accel::Tcg }
    }
}

/// The acceleration to use for this machine: KVM where it works, emulation otherwise. `say` is told in one line why a
/// device that is there is not used. The answer is kept in the folder `cache`.
pub fn choose(qemu: &Qemu, machine: &Machine, cache: &Path, say: &mut dyn FnMut(&str)) -> Accel {
    // No processor executes another one's instructions.
    if machine.arch != Arch::of_host() {
        return Accel::Tcg;
    }
    match env::var(VARIABLE).as_deref() {
        Ok("kvm") => return Accel::Kvm,
        Ok("tcg") => return Accel::Tcg,
        _ => {}
    }
    if let Err(error) = OpenOptions::new().read(true).write(true).open(DEVICE) {
        if let Some(why) = unusable(&error) {
            say(&why);
        }
        return Accel::Tcg;
    }
    let place = cache_file(qemu, cache);
    if let Some(known) = place.as_deref().and_then(read) {
        return known.accel();
    }
    let (trial, sure) = plain(machine, cache);
    let answer = match session::boots(qemu, &trial, PATIENCE) {
        Ok(_) => Some(Answer::Works),
        Err(error) => {
            let answer = lesson(&error, sure);
            let text = error.to_string();
            let why = text.lines().next().unwrap_or_default();
            let for_how_long = match answer {
                Some(Answer::Broken) => "until this machine boots again",
                Some(_) => "for an hour",
                None => "this time",
            };
            say(&format!("{DEVICE} is there but does not work ({why}): emulating {for_how_long}"));
            answer
        }
    };
    if let (Some(path), Some(answer)) = (place, answer) {
        keep(&path, answer);
    }
    answer.map_or(Accel::Tcg, Answer::accel)
}

/// What there is to say of a device that cannot be opened; one that is not there is no surprise.
fn unusable(error: &io::Error) -> Option<String> {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => return None,
        io::ErrorKind::PermissionDenied => "join the group that it belongs to (usermod -aG kvm USER)",
        // No driver behind it, as in containers.
        _ if matches!(error.raw_os_error(), Some(ENXIO | ENODEV)) => return None,
        _ => "see why",
    };
    Some(format!(
        "emulating, because {DEVICE} cannot be opened ({error}): {remedy}, or set {VARIABLE}=tcg to be told no more"
    ))
}

const ENXIO: i32 = 6;
const ENODEV: i32 = 19;

/// A machine of nothing but a kernel: the newest that came from the archive, which is known to boot, and whether it is one.
fn plain(machine: &Machine, cache: &Path) -> (Machine, bool) {
    let known = Kernels::in_folder(machine.arch, cache).kept().pop();
    let mut plain = match &known {
        Some(image) => Machine::of(image),
        None => {
            let mut plain = Machine::new(&machine.kernel);
            (plain.arch, plain.link) = (machine.arch, machine.link);
            plain
        }
    };
    plain.accel = Accel::Kvm;
    (plain, known.is_some())
}

/// What a failure says about KVM. One that comes and goes says nothing.
fn lesson(error: &VmError, sure: bool) -> Option<Answer> {
    match error {
        VmError::QemuEnded { status, said } => {
            let kvm = said.to_ascii_lowercase().contains("kvm");
            (kvm || status.starts_with("killed by signal 6")).then_some(Answer::Broken)
        }
        VmError::NoBoot { .. } => Some(if sure { Answer::Broken } else { Answer::Unsure }),
        _ => None,
    }
}

fn cache_file(qemu: &Qemu, cache: &Path) -> Option<PathBuf> {
    let mut hasher = DefaultHasher::new();
    qemu.program().hash(&mut hasher);
    fs::metadata(qemu.program()).ok()?.modified().ok()?.hash(&mut hasher);
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.hash(&mut hasher);
    Some(cache.join(format!("kvm-{:016x}", hasher.finish())))
}

fn read(path: &Path) -> Option<Answer> {
    let text = fs::read_to_string(path).ok()?;
    let (answer, _) = Answer::WORDS.into_iter().find(|(_, word)| *word == text.trim())?;
    let age = fs::metadata(path).and_then(|found| found.modified()).ok()?.elapsed().unwrap_or_default();
    (answer != Answer::Unsure || age < UNSURE_FOR).then_some(answer)
}

/// A failure to keep it costs another probe, nothing else.
fn keep(path: &Path, answer: Answer) {
    let text = Answer::WORDS.into_iter().find(|(known, _)| *known == answer).map_or("", |(_, word)| word);
    if let Some(folder) = path.parent() {
        let _ = fs::create_dir_all(folder);
    }
    let _ = fs::write(path, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_abort_and_a_spin_say_that_kvm_is_broken() {
        let ended =
            |status: &str, said: &str| VmError::QemuEnded { status: status.into(), said: said.into() };
        let spin = || VmError::NoBoot { seconds: 8, console: String::new() };
        for (error, sure, answer) in [
            (ended("killed by signal 6", ""), false, Some(Answer::Broken)),
            (ended("exit status 1", "failed to initialize KVM: Device busy"), true, Some(Answer::Broken)),
            (ended("exit status 1", "could not load kernel"), true, None),
            (ended("killed by signal 9", ""), true, None),
            (spin(), true, Some(Answer::Broken)),
            (spin(), false, Some(Answer::Unsure)),
            (VmError::Interrupted { signal: 2 }, true, None),
            (VmError::io("start QEMU")(io::ErrorKind::OutOfMemory.into()), true, None),
        ] {
            assert_eq!(lesson(&error, sure), answer, "{error}");
        }
    }

    #[test]
    fn a_device_that_may_not_be_opened_is_said_with_the_remedy() {
        let said = |code| unusable(&io::Error::from_raw_os_error(code));
        let denied = said(13).expect("a line");
        assert!(denied.contains("usermod -aG kvm") && denied.contains("BPF_VM_ACCEL=tcg"), "{denied}");
        assert!(!denied.contains('\n'));
        assert_eq!((said(2), said(ENXIO)), (None, None));
        assert!(said(16).is_some_and(|busy| busy.contains("emulating")));
    }

    #[test]
    fn an_answer_is_kept_and_an_unsure_one_not_for_long() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("cache/kvm-1");
        assert_eq!(read(&path), None);
        let old = std::time::SystemTime::now() - 2 * UNSURE_FOR;
        for (answer, later) in [
            (Answer::Works, Some(Answer::Works)),
            (Answer::Broken, Some(Answer::Broken)),
            (Answer::Unsure, None),
        ] {
            keep(&path, answer);
            assert_eq!(read(&path), Some(answer));
            let file = OpenOptions::new().write(true).open(&path).expect("it is there");
            file.set_modified(old).expect("another time");
            assert_eq!(read(&path), later);
        }
    }

    #[test]
    fn the_probe_has_nothing_of_the_users_machine_but_its_kernel() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut machine = Machine::new("/k");
        machine.append = vec!["init=/nowhere".into()];
        machine.memory_mib = Some(64);
        machine.modules = vec!["/broken.ko".into()];
        let (plain, sure) = plain(&machine, dir.path());
        assert_eq!((plain.append.len(), plain.memory_mib, plain.modules.len(), sure), (0, None, 0, false));
        assert_eq!((plain.accel, plain.kernel), (Accel::Kvm, machine.kernel));
    }
}
