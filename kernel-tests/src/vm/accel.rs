//! Whether `/dev/kvm` can be used, found out by booting with it.
//!
//! The device can exist and open and still not work: nested or filtered virtualisation aborts QEMU, or lets it spin for
//! ever. So one guest is booted under a deadline, and the answer is kept for this QEMU until the host boots again.

use std::env;
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::qemu::{Accel, Machine, Qemu};
use super::session;
use crate::kernels::Arch;

/// Chooses by hand: `kvm` or `tcg`.
const VARIABLE: &str = "BPF_VM_ACCEL";
/// KVM boots to the agent within a second or two.
const PATIENCE: Duration = Duration::from_secs(8);

/// The acceleration to use for this machine: KVM where it works, emulation otherwise. `say` is told in one line when a
/// probe finds it broken. The answer is kept in the folder `cache`.
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
    if OpenOptions::new().read(true).write(true).open("/dev/kvm").is_err() {
        return Accel::Tcg;
    }
    let answer = cache_file(qemu, cache);
    if let Some(known) = answer.as_deref().and_then(read) {
        return known;
    }
    let mut trial = machine.clone();
    trial.accel = Accel::Kvm;
    let accel = match session::boots(qemu, &trial, PATIENCE) {
        Ok(_) => Accel::Kvm,
        Err(error) => {
            let text = error.to_string();
            let why = text.lines().next().unwrap_or_default();
            say(&format!("/dev/kvm is there but does not work ({why}): emulating from now on"));
            Accel::Tcg
        }
    };
    if let Some(path) = answer {
        keep(&path, accel);
    }
    accel
}

fn cache_file(qemu: &Qemu, cache: &Path) -> Option<PathBuf> {
    let mut hasher = DefaultHasher::new();
    qemu.program().hash(&mut hasher);
    fs::metadata(qemu.program()).ok()?.modified().ok()?.hash(&mut hasher);
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.hash(&mut hasher);
    Some(cache.join(format!("kvm-{:016x}", hasher.finish())))
}

fn read(path: &Path) -> Option<Accel> {
    match fs::read_to_string(path).ok()?.trim() {
        "kvm" => Some(Accel::Kvm),
        "tcg" => Some(Accel::Tcg),
        _ => None,
    }
}

/// A failure to keep it costs another probe, nothing else.
fn keep(path: &Path, accel: Accel) {
    let text = if accel == Accel::Kvm { "kvm" } else { "tcg" };
    if let Some(folder) = path.parent() {
        let _ = fs::create_dir_all(folder);
    }
    let _ = fs::write(path, text);
}
