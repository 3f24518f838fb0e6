//! What a section name says about the programs inside it: one table, as libbpf's `section_defs`.

use super::attach::AttachKind;
use super::kinds::{AttachType, ProgType};

/// How the name of a row is compared with a section name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameRule {
    /// The section name is exactly this.
    Exact,
    /// The section name is exactly this, or this followed by `/` and what to attach to (libbpf: `name+`).
    Plus,
}

/// One row: the program type and the way of attaching that a section name stands for.
#[derive(Clone, Copy, Debug)]
pub struct SectionDef {
    /// The section name, without libbpf's trailing `+`.
    pub name: &'static str,
    /// How the name is compared.
    pub rule: NameRule,
    /// The program type.
    pub prog_type: ProgType,
    /// The expected attach type; the zero value where the program type has none.
    pub attach_type: AttachType,
    /// What the programs of such a section are attached to.
    pub kind: AttachKind,
    /// The program may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
    /// The program is multi-buffer aware (`BPF_F_XDP_HAS_FRAGS`).
    pub frags: bool,
    /// libbpf before 1.0 accepted any section name that starts with this.
    pub sloppy: bool,
}

const NONE: AttachType = AttachType::CgroupInetIngress;

const fn row(
    name: &'static str,
    rule: NameRule,
    prog_type: ProgType,
    attach_type: AttachType,
    kind: AttachKind,
) -> SectionDef {
    SectionDef { name, rule, prog_type, attach_type, kind, sleepable: false, frags: false, sloppy: false }
}

const fn plus(name: &'static str, t: ProgType, a: AttachType, k: AttachKind) -> SectionDef {
    row(name, NameRule::Plus, t, a, k)
}

const fn exact(name: &'static str, t: ProgType, a: AttachType, k: AttachKind) -> SectionDef {
    row(name, NameRule::Exact, t, a, k)
}

/// An exact name which older libbpf took as a mere prefix.
const fn loose(name: &'static str, t: ProgType, a: AttachType, k: AttachKind) -> SectionDef {
    SectionDef { sloppy: true, ..row(name, NameRule::Exact, t, a, k) }
}

const fn sleepable(def: SectionDef) -> SectionDef {
    SectionDef { sleepable: true, ..def }
}

const fn frags(def: SectionDef) -> SectionDef {
    SectionDef { frags: true, ..def }
}

use AttachKind as K;
use AttachType as A;
use ProgType as P;

/// The table, in libbpf's order (`tools/lib/bpf/libbpf.c`, `section_defs`).
///
/// As of Linux 7.2; `seccomp` is cilium/ebpf's.
pub const SECTION_DEFS: &[SectionDef] = &[
    loose("socket", P::SocketFilter, NONE, K::Socket),
    exact("sk_reuseport/migrate", P::SkReuseport, A::SkReuseportSelectOrMigrate, K::SkReuseport),
    loose("sk_reuseport", P::SkReuseport, A::SkReuseportSelect, K::SkReuseport),
    plus("kprobe", P::Kprobe, NONE, K::Kprobe),
    plus("uprobe", P::Kprobe, NONE, K::Uprobe),
    sleepable(plus("uprobe.s", P::Kprobe, NONE, K::Uprobe)),
    plus("kretprobe", P::Kprobe, NONE, K::Kretprobe),
    plus("uretprobe", P::Kprobe, NONE, K::Uretprobe),
    sleepable(plus("uretprobe.s", P::Kprobe, NONE, K::Uretprobe)),
    plus("kprobe.multi", P::Kprobe, A::TraceKprobeMulti, K::KprobeMulti),
    plus("kretprobe.multi", P::Kprobe, A::TraceKprobeMulti, K::KretprobeMulti),
    plus("kprobe.session", P::Kprobe, A::TraceKprobeSession, K::KprobeSession),
    plus("uprobe.multi", P::Kprobe, A::TraceUprobeMulti, K::UprobeMulti),
    plus("uretprobe.multi", P::Kprobe, A::TraceUprobeMulti, K::UretprobeMulti),
    plus("uprobe.session", P::Kprobe, A::TraceUprobeSession, K::UprobeSession),
    sleepable(plus("uprobe.multi.s", P::Kprobe, A::TraceUprobeMulti, K::UprobeMulti)),
    sleepable(plus("uretprobe.multi.s", P::Kprobe, A::TraceUprobeMulti, K::UretprobeMulti)),
    sleepable(plus("uprobe.session.s", P::Kprobe, A::TraceUprobeSession, K::UprobeSession)),
    plus("ksyscall", P::Kprobe, NONE, K::Ksyscall),
    plus("kretsyscall", P::Kprobe, NONE, K::Kretsyscall),
    plus("usdt", P::Kprobe, NONE, K::Usdt),
    sleepable(plus("usdt.s", P::Kprobe, NONE, K::Usdt)),
    exact("tc/ingress", P::SchedCls, A::TcxIngress, K::Tc),
    exact("tc/egress", P::SchedCls, A::TcxEgress, K::Tc),
    exact("tcx/ingress", P::SchedCls, A::TcxIngress, K::Tc),
    exact("tcx/egress", P::SchedCls, A::TcxEgress, K::Tc),
    loose("tc", P::SchedCls, NONE, K::Tc),
    loose("classifier", P::SchedCls, NONE, K::Tc),
    loose("action", P::SchedAct, NONE, K::Tc),
    exact("netkit/primary", P::SchedCls, A::NetkitPrimary, K::Netkit),
    exact("netkit/peer", P::SchedCls, A::NetkitPeer, K::Netkit),
    plus("tracepoint", P::Tracepoint, NONE, K::Tracepoint),
    plus("tp", P::Tracepoint, NONE, K::Tracepoint),
    sleepable(plus("tracepoint.s", P::Tracepoint, NONE, K::Tracepoint)),
    sleepable(plus("tp.s", P::Tracepoint, NONE, K::Tracepoint)),
    plus("raw_tracepoint", P::RawTracepoint, NONE, K::RawTracepoint),
    plus("raw_tp", P::RawTracepoint, NONE, K::RawTracepoint),
    sleepable(plus("raw_tracepoint.s", P::RawTracepoint, NONE, K::RawTracepoint)),
    sleepable(plus("raw_tp.s", P::RawTracepoint, NONE, K::RawTracepoint)),
    plus("raw_tracepoint.w", P::RawTracepointWritable, NONE, K::RawTracepoint),
    plus("raw_tp.w", P::RawTracepointWritable, NONE, K::RawTracepoint),
    plus("tp_btf", P::Tracing, A::TraceRawTp, K::TpBtf),
    sleepable(plus("tp_btf.s", P::Tracing, A::TraceRawTp, K::TpBtf)),
    plus("fentry", P::Tracing, A::TraceFentry, K::Fentry),
    plus("fmod_ret", P::Tracing, A::ModifyReturn, K::FmodRet),
    plus("fexit", P::Tracing, A::TraceFexit, K::Fexit),
    sleepable(plus("fentry.s", P::Tracing, A::TraceFentry, K::Fentry)),
    sleepable(plus("fmod_ret.s", P::Tracing, A::ModifyReturn, K::FmodRet)),
    sleepable(plus("fexit.s", P::Tracing, A::TraceFexit, K::Fexit)),
    plus("fsession", P::Tracing, A::TraceFsession, K::Fsession),
    sleepable(plus("fsession.s", P::Tracing, A::TraceFsession, K::Fsession)),
    plus("fentry.multi", P::Tracing, A::TraceFentryMulti, K::FentryMulti),
    plus("fexit.multi", P::Tracing, A::TraceFexitMulti, K::FexitMulti),
    plus("fsession.multi", P::Tracing, A::TraceFsessionMulti, K::FsessionMulti),
    sleepable(plus("fentry.multi.s", P::Tracing, A::TraceFentryMulti, K::FentryMulti)),
    sleepable(plus("fexit.multi.s", P::Tracing, A::TraceFexitMulti, K::FexitMulti)),
    sleepable(plus("fsession.multi.s", P::Tracing, A::TraceFsessionMulti, K::FsessionMulti)),
    plus("freplace", P::Ext, NONE, K::Freplace),
    plus("lsm", P::Lsm, A::LsmMac, K::Lsm),
    sleepable(plus("lsm.s", P::Lsm, A::LsmMac, K::Lsm)),
    plus("lsm_cgroup", P::Lsm, A::LsmCgroup, K::Lsm),
    plus("iter", P::Tracing, A::TraceIter, K::Iter),
    sleepable(plus("iter.s", P::Tracing, A::TraceIter, K::Iter)),
    sleepable(exact("syscall", P::Syscall, NONE, K::Syscall)),
    frags(exact("xdp.frags/devmap", P::Xdp, A::XdpDevmap, K::Xdp)),
    loose("xdp/devmap", P::Xdp, A::XdpDevmap, K::Xdp),
    frags(exact("xdp.frags/cpumap", P::Xdp, A::XdpCpumap, K::Xdp)),
    loose("xdp/cpumap", P::Xdp, A::XdpCpumap, K::Xdp),
    frags(loose("xdp.frags", P::Xdp, A::Xdp, K::Xdp)),
    loose("xdp", P::Xdp, A::Xdp, K::Xdp),
    loose("perf_event", P::PerfEvent, NONE, K::PerfEvent),
    loose("lwt_in", P::LwtIn, NONE, K::Lwt),
    loose("lwt_out", P::LwtOut, NONE, K::Lwt),
    loose("lwt_xmit", P::LwtXmit, NONE, K::Lwt),
    loose("lwt_seg6local", P::LwtSeg6local, NONE, K::Lwt),
    loose("sockops", P::SockOps, A::CgroupSockOps, K::Cgroup),
    loose("sk_skb/stream_parser", P::SkSkb, A::SkSkbStreamParser, K::Sockmap),
    loose("sk_skb/stream_verdict", P::SkSkb, A::SkSkbStreamVerdict, K::Sockmap),
    exact("sk_skb/verdict", P::SkSkb, A::SkSkbVerdict, K::Sockmap),
    loose("sk_skb", P::SkSkb, NONE, K::Sockmap),
    loose("sk_msg", P::SkMsg, A::SkMsgVerdict, K::Sockmap),
    loose("lirc_mode2", P::LircMode2, A::LircMode2, K::LircMode2),
    loose("flow_dissector", P::FlowDissector, A::FlowDissector, K::FlowDissector),
    loose("cgroup_skb/ingress", P::CgroupSkb, A::CgroupInetIngress, K::Cgroup),
    loose("cgroup_skb/egress", P::CgroupSkb, A::CgroupInetEgress, K::Cgroup),
    loose("cgroup/skb", P::CgroupSkb, NONE, K::Cgroup),
    loose("cgroup/sock_create", P::CgroupSock, A::CgroupInetSockCreate, K::Cgroup),
    loose("cgroup/sock_release", P::CgroupSock, A::CgroupInetSockRelease, K::Cgroup),
    loose("cgroup/sock", P::CgroupSock, A::CgroupInetSockCreate, K::Cgroup),
    loose("cgroup/post_bind4", P::CgroupSock, A::CgroupInet4PostBind, K::Cgroup),
    loose("cgroup/post_bind6", P::CgroupSock, A::CgroupInet6PostBind, K::Cgroup),
    loose("cgroup/bind4", P::CgroupSockAddr, A::CgroupInet4Bind, K::Cgroup),
    loose("cgroup/bind6", P::CgroupSockAddr, A::CgroupInet6Bind, K::Cgroup),
    loose("cgroup/connect4", P::CgroupSockAddr, A::CgroupInet4Connect, K::Cgroup),
    loose("cgroup/connect6", P::CgroupSockAddr, A::CgroupInet6Connect, K::Cgroup),
    loose("cgroup/connect_unix", P::CgroupSockAddr, A::CgroupUnixConnect, K::Cgroup),
    loose("cgroup/sendmsg4", P::CgroupSockAddr, A::CgroupUdp4Sendmsg, K::Cgroup),
    loose("cgroup/sendmsg6", P::CgroupSockAddr, A::CgroupUdp6Sendmsg, K::Cgroup),
    loose("cgroup/sendmsg_unix", P::CgroupSockAddr, A::CgroupUnixSendmsg, K::Cgroup),
    loose("cgroup/recvmsg4", P::CgroupSockAddr, A::CgroupUdp4Recvmsg, K::Cgroup),
    loose("cgroup/recvmsg6", P::CgroupSockAddr, A::CgroupUdp6Recvmsg, K::Cgroup),
    loose("cgroup/recvmsg_unix", P::CgroupSockAddr, A::CgroupUnixRecvmsg, K::Cgroup),
    loose("cgroup/getpeername4", P::CgroupSockAddr, A::CgroupInet4Getpeername, K::Cgroup),
    loose("cgroup/getpeername6", P::CgroupSockAddr, A::CgroupInet6Getpeername, K::Cgroup),
    loose("cgroup/getpeername_unix", P::CgroupSockAddr, A::CgroupUnixGetpeername, K::Cgroup),
    loose("cgroup/getsockname4", P::CgroupSockAddr, A::CgroupInet4Getsockname, K::Cgroup),
    loose("cgroup/getsockname6", P::CgroupSockAddr, A::CgroupInet6Getsockname, K::Cgroup),
    loose("cgroup/getsockname_unix", P::CgroupSockAddr, A::CgroupUnixGetsockname, K::Cgroup),
    loose("cgroup/sysctl", P::CgroupSysctl, A::CgroupSysctl, K::Cgroup),
    loose("cgroup/getsockopt", P::CgroupSockopt, A::CgroupGetsockopt, K::Cgroup),
    loose("cgroup/setsockopt", P::CgroupSockopt, A::CgroupSetsockopt, K::Cgroup),
    loose("cgroup/dev", P::CgroupDevice, A::CgroupDevice, K::Cgroup),
    plus("struct_ops", P::StructOps, NONE, K::StructOps),
    sleepable(plus("struct_ops.s", P::StructOps, NONE, K::StructOps)),
    loose("sk_lookup", P::SkLookup, A::SkLookup, K::SkLookup),
    exact("netfilter", P::Netfilter, A::Netfilter, K::Netfilter),
    loose("seccomp", P::SocketFilter, NONE, K::Socket),
];

impl SectionDef {
    fn matches(&self, section: &str) -> bool {
        match section.strip_prefix(self.name) {
            None => false,
            Some("") => true,
            Some(rest) => self.rule == NameRule::Plus && rest.starts_with('/'),
        }
    }

    /// Older libbpf compared only the prefix (`SEC_SLOPPY_PFX`): `xdp_drop`, `classifier/in`, `socket1`.
    /// A letter right behind the prefix is taken for another word (`tcp` is not `tc`).
    fn matches_loosely(&self, section: &str) -> bool {
        self.sloppy
            && section
                .strip_prefix(self.name)
                .is_some_and(|rest| rest.starts_with(|c: char| !c.is_ascii_alphabetic()))
    }
}

/// The row for a section name (without the `?` that turns automatic loading off).
///
/// First as libbpf 1.x reads names; then as older libbpf, aya and cilium/ebpf wrote them, where the longest
/// matching row wins. The flag says whether the second reading was needed.
#[must_use]
pub fn find_section_def(section: &str) -> Option<(&'static SectionDef, bool)> {
    if let Some(def) = SECTION_DEFS.iter().find(|d| d.matches(section)) {
        return Some((def, false));
    }
    SECTION_DEFS.iter().filter(|d| d.matches_loosely(section)).max_by_key(|d| d.name.len()).map(|d| (d, true))
}

#[cfg(test)]
mod tests {
    use super::{SECTION_DEFS, find_section_def};
    use crate::object::kinds::{AttachType, ProgType};

    #[test]
    fn every_row_finds_itself() {
        for def in SECTION_DEFS {
            let (found, legacy) = find_section_def(def.name).expect("a row matches its own name");
            assert_eq!(found.name, def.name);
            assert!(!legacy);
        }
    }

    #[test]
    fn names_of_all_loaders() {
        let table: &[(&str, Option<(ProgType, AttachType)>)] = &[
            ("kprobe", Some((ProgType::Kprobe, AttachType::CgroupInetIngress))),
            ("kprobe/do_sys_open", Some((ProgType::Kprobe, AttachType::CgroupInetIngress))),
            ("kprobe.multi/vfs_*", Some((ProgType::Kprobe, AttachType::TraceKprobeMulti))),
            ("kprobes", None),
            ("tp/sched/sched_switch", Some((ProgType::Tracepoint, AttachType::CgroupInetIngress))),
            ("tp_btf/sched_switch", Some((ProgType::Tracing, AttachType::TraceRawTp))),
            ("raw_tp.w/x", Some((ProgType::RawTracepointWritable, AttachType::CgroupInetIngress))),
            ("xdp", Some((ProgType::Xdp, AttachType::Xdp))),
            ("xdp_drop", Some((ProgType::Xdp, AttachType::Xdp))),
            ("xdp/mine", Some((ProgType::Xdp, AttachType::Xdp))),
            ("xdp/devmap", Some((ProgType::Xdp, AttachType::XdpDevmap))),
            ("xdp.frags/devmap", Some((ProgType::Xdp, AttachType::XdpDevmap))),
            ("classifier/in", Some((ProgType::SchedCls, AttachType::CgroupInetIngress))),
            ("tc/egress", Some((ProgType::SchedCls, AttachType::TcxEgress))),
            ("tcp", None),
            ("socket1", Some((ProgType::SocketFilter, AttachType::CgroupInetIngress))),
            ("cgroup/connect4", Some((ProgType::CgroupSockAddr, AttachType::CgroupInet4Connect))),
            ("cgroup_skb/egress", Some((ProgType::CgroupSkb, AttachType::CgroupInetEgress))),
            ("struct_ops/init", Some((ProgType::StructOps, AttachType::CgroupInetIngress))),
            ("struct_ops.s", Some((ProgType::StructOps, AttachType::CgroupInetIngress))),
            (".text", None),
            ("custom", None),
            ("", None),
        ];
        for (section, expected) in table {
            let found = find_section_def(section).map(|(d, _)| (d.prog_type, d.attach_type));
            assert_eq!(found, *expected, "{section}");
        }
    }
}
