//! The kernel's enumerations that an object file speaks of: program, attach and map types.
//!
//! Numbers are those of `include/uapi/linux/bpf.h`; names are libbpf's (`libbpf_bpf_prog_type_str` and its
//! siblings), which are what bpftool prints.

/// Declares an enumeration with its kernel numbers and libbpf names, open to values it does not know.
macro_rules! kernel_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $num:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`, number ", stringify!($num), ".")] $(#[$vmeta])* $variant,)*
            /// A number that this library does not know.
            Unknown(u32),
        }

        impl $name {
            /// Every known value, in the kernel's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value with the kernel's number; `Unknown` if there is none.
            #[must_use]
            pub const fn from_number(number: u32) -> Self {
                match number {
                    $($num => Self::$variant,)*
                    other => Self::Unknown(other),
                }
            }

            /// The kernel's number.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $num,)*
                    Self::Unknown(n) => n,
                }
            }

            /// The name that libbpf and bpftool use; `unknown` if there is none.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(_) => "unknown",
                }
            }

            /// The value with the name that libbpf and bpftool use.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.name() == name)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    Self::Unknown(n) => write!(f, "unknown({n})"),
                    known => f.pad(known.name()),
                }
            }
        }
    };
}

kernel_enum! {
    /// A program type (`enum bpf_prog_type`).
    #[derive(Default)]
    ProgType {
        #[default]
        Unspec = 0, "unspec";
        SocketFilter = 1, "socket_filter";
        Kprobe = 2, "kprobe";
        SchedCls = 3, "sched_cls";
        SchedAct = 4, "sched_act";
        Tracepoint = 5, "tracepoint";
        Xdp = 6, "xdp";
        PerfEvent = 7, "perf_event";
        CgroupSkb = 8, "cgroup_skb";
        CgroupSock = 9, "cgroup_sock";
        LwtIn = 10, "lwt_in";
        LwtOut = 11, "lwt_out";
        LwtXmit = 12, "lwt_xmit";
        SockOps = 13, "sock_ops";
        SkSkb = 14, "sk_skb";
        CgroupDevice = 15, "cgroup_device";
        SkMsg = 16, "sk_msg";
        RawTracepoint = 17, "raw_tracepoint";
        CgroupSockAddr = 18, "cgroup_sock_addr";
        LwtSeg6local = 19, "lwt_seg6local";
        LircMode2 = 20, "lirc_mode2";
        SkReuseport = 21, "sk_reuseport";
        FlowDissector = 22, "flow_dissector";
        CgroupSysctl = 23, "cgroup_sysctl";
        RawTracepointWritable = 24, "raw_tracepoint_writable";
        CgroupSockopt = 25, "cgroup_sockopt";
        Tracing = 26, "tracing";
        StructOps = 27, "struct_ops";
        Ext = 28, "ext";
        Lsm = 29, "lsm";
        SkLookup = 30, "sk_lookup";
        Syscall = 31, "syscall";
        Netfilter = 32, "netfilter";
    }
}

kernel_enum! {
    /// An expected attach type (`enum bpf_attach_type`).
    ///
    /// Zero doubles as "none": a program type that has no attach types carries it too.
    #[derive(Default)]
    AttachType {
        #[default]
        CgroupInetIngress = 0, "cgroup_inet_ingress";
        CgroupInetEgress = 1, "cgroup_inet_egress";
        CgroupInetSockCreate = 2, "cgroup_inet_sock_create";
        CgroupSockOps = 3, "cgroup_sock_ops";
        SkSkbStreamParser = 4, "sk_skb_stream_parser";
        SkSkbStreamVerdict = 5, "sk_skb_stream_verdict";
        CgroupDevice = 6, "cgroup_device";
        SkMsgVerdict = 7, "sk_msg_verdict";
        CgroupInet4Bind = 8, "cgroup_inet4_bind";
        CgroupInet6Bind = 9, "cgroup_inet6_bind";
        CgroupInet4Connect = 10, "cgroup_inet4_connect";
        CgroupInet6Connect = 11, "cgroup_inet6_connect";
        CgroupInet4PostBind = 12, "cgroup_inet4_post_bind";
        CgroupInet6PostBind = 13, "cgroup_inet6_post_bind";
        CgroupUdp4Sendmsg = 14, "cgroup_udp4_sendmsg";
        CgroupUdp6Sendmsg = 15, "cgroup_udp6_sendmsg";
        LircMode2 = 16, "lirc_mode2";
        FlowDissector = 17, "flow_dissector";
        CgroupSysctl = 18, "cgroup_sysctl";
        CgroupUdp4Recvmsg = 19, "cgroup_udp4_recvmsg";
        CgroupUdp6Recvmsg = 20, "cgroup_udp6_recvmsg";
        CgroupGetsockopt = 21, "cgroup_getsockopt";
        CgroupSetsockopt = 22, "cgroup_setsockopt";
        TraceRawTp = 23, "trace_raw_tp";
        TraceFentry = 24, "trace_fentry";
        TraceFexit = 25, "trace_fexit";
        ModifyReturn = 26, "modify_return";
        LsmMac = 27, "lsm_mac";
        TraceIter = 28, "trace_iter";
        CgroupInet4Getpeername = 29, "cgroup_inet4_getpeername";
        CgroupInet6Getpeername = 30, "cgroup_inet6_getpeername";
        CgroupInet4Getsockname = 31, "cgroup_inet4_getsockname";
        CgroupInet6Getsockname = 32, "cgroup_inet6_getsockname";
        XdpDevmap = 33, "xdp_devmap";
        CgroupInetSockRelease = 34, "cgroup_inet_sock_release";
        XdpCpumap = 35, "xdp_cpumap";
        SkLookup = 36, "sk_lookup";
        Xdp = 37, "xdp";
        SkSkbVerdict = 38, "sk_skb_verdict";
        SkReuseportSelect = 39, "sk_reuseport_select";
        SkReuseportSelectOrMigrate = 40, "sk_reuseport_select_or_migrate";
        PerfEvent = 41, "perf_event";
        TraceKprobeMulti = 42, "trace_kprobe_multi";
        LsmCgroup = 43, "lsm_cgroup";
        StructOps = 44, "struct_ops";
        Netfilter = 45, "netfilter";
        TcxIngress = 46, "tcx_ingress";
        TcxEgress = 47, "tcx_egress";
        TraceUprobeMulti = 48, "trace_uprobe_multi";
        CgroupUnixConnect = 49, "cgroup_unix_connect";
        CgroupUnixSendmsg = 50, "cgroup_unix_sendmsg";
        CgroupUnixRecvmsg = 51, "cgroup_unix_recvmsg";
        CgroupUnixGetpeername = 52, "cgroup_unix_getpeername";
        CgroupUnixGetsockname = 53, "cgroup_unix_getsockname";
        NetkitPrimary = 54, "netkit_primary";
        NetkitPeer = 55, "netkit_peer";
        TraceKprobeSession = 56, "trace_kprobe_session";
        TraceUprobeSession = 57, "trace_uprobe_session";
        TraceFsession = 58, "trace_fsession";
        TraceFentryMulti = 59, "trace_fentry_multi";
        TraceFexitMulti = 60, "trace_fexit_multi";
        TraceFsessionMulti = 61, "trace_fsession_multi";
    }
}

kernel_enum! {
    /// A map type (`enum bpf_map_type`).
    #[derive(Default)]
    MapType {
        #[default]
        Unspec = 0, "unspec";
        Hash = 1, "hash";
        Array = 2, "array";
        ProgArray = 3, "prog_array";
        PerfEventArray = 4, "perf_event_array";
        PercpuHash = 5, "percpu_hash";
        PercpuArray = 6, "percpu_array";
        StackTrace = 7, "stack_trace";
        CgroupArray = 8, "cgroup_array";
        LruHash = 9, "lru_hash";
        LruPercpuHash = 10, "lru_percpu_hash";
        LpmTrie = 11, "lpm_trie";
        ArrayOfMaps = 12, "array_of_maps";
        HashOfMaps = 13, "hash_of_maps";
        Devmap = 14, "devmap";
        Sockmap = 15, "sockmap";
        Cpumap = 16, "cpumap";
        Xskmap = 17, "xskmap";
        Sockhash = 18, "sockhash";
        CgroupStorage = 19, "cgroup_storage";
        ReuseportSockarray = 20, "reuseport_sockarray";
        PercpuCgroupStorage = 21, "percpu_cgroup_storage";
        Queue = 22, "queue";
        Stack = 23, "stack";
        SkStorage = 24, "sk_storage";
        DevmapHash = 25, "devmap_hash";
        StructOps = 26, "struct_ops";
        Ringbuf = 27, "ringbuf";
        InodeStorage = 28, "inode_storage";
        TaskStorage = 29, "task_storage";
        BloomFilter = 30, "bloom_filter";
        UserRingbuf = 31, "user_ringbuf";
        CgrpStorage = 32, "cgrp_storage";
        Arena = 33, "arena";
        InsnArray = 34, "insn_array";
        Rhash = 35, "rhash";
    }
}

impl ProgType {
    /// Whether programs of the type run at probes, whose memory they read by helpers only: what the kernel means by a
    /// tracing program (`is_tracing_prog_type` in `kernel/bpf/verifier.c`). The type `tracing` itself is not one of them:
    /// its pointers are typed.
    ///
    /// ```
    /// use bpf_vm_shim::object::ProgType;
    ///
    /// assert!(ProgType::Kprobe.is_tracing());
    /// assert!(!ProgType::Tracing.is_tracing() && !ProgType::Xdp.is_tracing());
    /// ```
    #[must_use]
    pub const fn is_tracing(self) -> bool {
        matches!(
            self,
            Self::Kprobe
                | Self::Tracepoint
                | Self::PerfEvent
                | Self::RawTracepoint
                | Self::RawTracepointWritable
        )
    }
}

impl MapType {
    /// Whether the values of such a map are maps.
    #[must_use]
    pub const fn is_map_in_map(self) -> bool {
        matches!(self, Self::ArrayOfMaps | Self::HashOfMaps)
    }

    /// Whether such a map is a ring buffer, whose `max_entries` is a size in bytes.
    #[must_use]
    pub const fn is_ringbuf(self) -> bool {
        matches!(self, Self::Ringbuf | Self::UserRingbuf)
    }
}

#[cfg(test)]
mod tests {
    use super::{AttachType, MapType, ProgType};

    #[test]
    fn numbers_and_names_round_trip() {
        for (i, t) in ProgType::ALL.iter().enumerate() {
            assert_eq!(t.number() as usize, i);
            assert_eq!(ProgType::from_number(t.number()), *t);
            assert_eq!(ProgType::from_name(t.name()), Some(*t));
        }
        for (i, t) in AttachType::ALL.iter().enumerate() {
            assert_eq!(t.number() as usize, i);
            assert_eq!(AttachType::from_name(t.name()), Some(*t));
        }
        for (i, t) in MapType::ALL.iter().enumerate() {
            assert_eq!(t.number() as usize, i);
            assert_eq!(MapType::from_name(t.name()), Some(*t));
        }
    }

    #[test]
    fn numbers_of_later_kernels_are_kept() {
        assert_eq!(MapType::from_number(999), MapType::Unknown(999));
        assert_eq!(MapType::Unknown(999).number(), 999);
        assert_eq!(MapType::Unknown(999).to_string(), "unknown(999)");
    }
}
