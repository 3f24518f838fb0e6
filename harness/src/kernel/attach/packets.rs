//! Where packets come by: the device, the namespace and the sockets of the test's own network, and control groups.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU16, Ordering};

use bpf_vm_shim::object::AttachKind;
use libbpf_rs::{Link, ProgramMut, TC_EGRESS, TC_INGRESS, TcHookBuilder};

use super::super::net::Net;
use super::{Held, Refused};
use crate::bpf::{Attachment, is_egress};
use crate::error::Error;

/// On a device, or the namespace, of the test's own network.
pub(super) fn packets(prog: &ProgramMut<'_>, a: &Attachment, net: &Net) -> Result<Held, Refused> {
    use AttachKind as K;
    let here = |e: Error| Refused::Here(e.to_string());
    Ok(match a.target.kind {
        K::Xdp => net.enter(|| prog.attach_xdp(net.receiver())).map_err(here)??.into(),
        K::FlowDissector | K::SkLookup => prog.attach_netns(net.namespace())?.into(),
        K::Socket => Held { links: Vec::new(), raw: None, other: Some(socket(prog, net)?) },
        _ => {
            let hook = traffic_control(prog, is_egress(&a.target), net)?;
            Held { links: Vec::new(), raw: None, other: Some(hook) }
        }
    })
}

/// A packet socket with the program for its filter (`SO_ATTACH_BPF`).
pub(super) fn socket(prog: &ProgramMut<'_>, net: &Net) -> Result<Box<dyn Other>, Refused> {
    let socket = net.packet_socket().map_err(|e| Refused::Here(e.to_string()))?;
    let fd = prog.as_fd().as_raw_fd();
    // SAFETY: the option's value is one descriptor, as long as it says.
    let ret = unsafe {
        let len = size_of::<i32>() as libc::socklen_t;
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            (&raw const fd).cast(),
            len,
        )
    };
    if ret < 0 {
        return Err(Refused::Libbpf(std::io::Error::last_os_error().into()));
    }
    Ok(Box::new(socket))
}

/// Traffic control by `clsact`, which all kernels know: of what the sender sends, or the receiver receives.
pub(super) fn traffic_control(
    prog: &ProgramMut<'_>,
    egress: bool,
    net: &Net,
) -> Result<Box<dyn Other>, Refused> {
    /// Each has its own priority: one of the same would take the place of the one before.
    static PRIORITY: AtomicU16 = AtomicU16::new(0);
    let priority = u32::from(PRIORITY.fetch_add(1, Ordering::Relaxed) % u16::MAX) + 1;
    let fd = prog.as_fd();
    let attached = net.enter(|| {
        let mut builder = TcHookBuilder::new(fd);
        builder.ifindex(if egress { net.sender() } else { net.receiver() }).handle(1).priority(priority);
        let mut hook = builder.hook(if egress { TC_EGRESS } else { TC_INGRESS });
        hook.create()?;
        hook.attach()
    });
    let needs = "traffic control needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF, or the modules sch_ingress and \
                 cls_bpf (`bpf-vm run` loads them where the kernel's package has them)";
    match attached.map_err(|e| Refused::Here(e.to_string()))? {
        // The namespace takes it away when it ends; so does this before.
        Ok(hook) => Ok(Box::new(Hook { hook, net: net.clone() })),
        Err(e) => Err(Refused::Here(format!("{e:#}; {needs}"))),
    }
}

/// What holds an attachment that is no link.
pub(super) trait Other: Send + Sync {}
impl Other for std::os::fd::OwnedFd {}
impl Other for Hook {}

// SAFETY: the pointer in it is a name for attach points of another kind, and null here.
unsafe impl Send for Hook {}
// SAFETY: as above; it is used only when it is dropped.
unsafe impl Sync for Hook {}

/// A filter of traffic control.
pub(super) struct Hook {
    hook: libbpf_rs::TcHook,
    net: Net,
}

impl Drop for Hook {
    fn drop(&mut self) {
        let mut hook = self.hook;
        // Nobody can be told, and the namespace ends soon.
        let _ = self.net.enter(move || hook.detach());
    }
}

/// The control group that this process is in.
pub(super) fn cgroup(prog: &ProgramMut<'_>) -> Result<Link, Refused> {
    let of_file =
        |e: std::io::Error| Refused::Here(format!("the process's control group cannot be found: {e}"));
    let text = std::fs::read_to_string("/proc/self/cgroup").map_err(of_file)?;
    let path = text.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or("/");
    let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(of_file)?;
    let Some(mount) = unified(&mounts) else {
        return Err(Refused::Here(
            "no unified hierarchy of control groups is mounted here: mount -t cgroup2 none /sys/fs/cgroup"
                .to_owned(),
        ));
    };
    let dir = std::fs::File::open(format!("{mount}{path}")).map_err(of_file)?;
    Ok(prog.attach_cgroup(dir.as_raw_fd())?)
}

/// Where the control groups that programs can be attached to are mounted: beside the old ones it is another place.
fn unified(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (at, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn the_unified_hierarchy_is_found_beside_old_ones() {
        let old = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";
        assert_eq!(unified(old), None);
        let both = format!("{old}cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n");
        assert_eq!(unified(&both), Some("/sys/fs/cgroup/unified"));
    }
}
