//! What the functions of a bcc text are: programs by the prefix of their name, or by the type of their context.

use bpf_vm_shim::btf::{Btf, Kind, Type, TypeId};
use bpf_vm_shim::object::{AttachKind, AttachPoint, AttachTarget, AttachType, MapType, Object, ProgType};

/// The prefixes by which bcc attaches a program without being told (`BPF._trace_autoload`), with what they mean.
const PREFIXES: [(&str, ProgType, AttachKind); 13] = [
    ("kprobe__", ProgType::Kprobe, AttachKind::Kprobe),
    ("kretprobe__", ProgType::Kprobe, AttachKind::Kretprobe),
    // Handlers of system calls; attached by hand, to whatever the architecture calls the function.
    ("syscall__", ProgType::Kprobe, AttachKind::Unknown),
    ("tracepoint__", ProgType::Tracepoint, AttachKind::Tracepoint),
    ("raw_tracepoint__", ProgType::RawTracepoint, AttachKind::RawTracepoint),
    ("raw_tp__", ProgType::RawTracepoint, AttachKind::RawTracepoint),
    ("kfunc__", ProgType::Tracing, AttachKind::Fentry),
    ("fentry__", ProgType::Tracing, AttachKind::Fentry),
    ("kretfunc__", ProgType::Tracing, AttachKind::Fexit),
    ("fexit__", ProgType::Tracing, AttachKind::Fexit),
    ("kmod_ret__", ProgType::Tracing, AttachKind::FmodRet),
    ("lsm__", ProgType::Lsm, AttachKind::Lsm),
    ("bpf_iter__", ProgType::Tracing, AttachKind::Iter),
];

/// The context's structure, where it says the type of the program.
const CONTEXTS: [(&str, ProgType, AttachKind); 14] = [
    ("pt_regs", ProgType::Kprobe, AttachKind::Unknown),
    ("user_pt_regs", ProgType::Kprobe, AttachKind::Unknown),
    ("bpf_perf_event_data", ProgType::PerfEvent, AttachKind::PerfEvent),
    ("bpf_raw_tracepoint_args", ProgType::RawTracepoint, AttachKind::Unknown),
    ("xdp_md", ProgType::Xdp, AttachKind::Xdp),
    ("__sk_buff", ProgType::SocketFilter, AttachKind::Socket),
    ("bpf_sock_ops", ProgType::SockOps, AttachKind::Cgroup),
    ("sk_msg_md", ProgType::SkMsg, AttachKind::Sockmap),
    ("sk_reuseport_md", ProgType::SkReuseport, AttachKind::SkReuseport),
    ("bpf_sk_lookup", ProgType::SkLookup, AttachKind::SkLookup),
    ("bpf_sock_addr", ProgType::CgroupSockAddr, AttachKind::Cgroup),
    ("bpf_sock", ProgType::CgroupSock, AttachKind::Cgroup),
    ("bpf_sysctl", ProgType::CgroupSysctl, AttachKind::Cgroup),
    ("bpf_sockopt", ProgType::CgroupSockopt, AttachKind::Cgroup),
];

/// Type and attach point that a function's name says, if it has one of bcc's prefixes.
#[must_use]
pub fn attach_of_name(name: &str) -> Option<(ProgType, AttachTarget)> {
    let (rest, prog_type, kind) =
        PREFIXES.iter().find_map(|(prefix, ty, kind)| Some((name.strip_prefix(prefix)?, *ty, *kind)))?;
    let mut target = AttachTarget::default();
    target.kind = kind;
    target.attach_type = attach_type(kind);
    rest.clone_into(&mut target.extra);
    target.point = match kind {
        AttachKind::Kprobe | AttachKind::Kretprobe => {
            AttachPoint::Symbol { name: rest.to_owned(), offset: 0 }
        }
        AttachKind::Tracepoint => {
            let (category, event) = rest.split_once("__")?;
            AttachPoint::Tracepoint { category: category.to_owned(), name: event.to_owned() }
        }
        AttachKind::Unknown => AttachPoint::None,
        AttachKind::Fentry | AttachKind::Fexit => {
            // The macros of the guide put the module before the function.
            let function = rest.strip_prefix("vmlinux__").unwrap_or(rest);
            AttachPoint::Name(function.to_owned())
        }
        _ => AttachPoint::Name(rest.to_owned()),
    };
    Some((prog_type, target))
}

const fn attach_type(kind: AttachKind) -> AttachType {
    match kind {
        AttachKind::Fentry => AttachType::TraceFentry,
        AttachKind::Fexit => AttachType::TraceFexit,
        AttachKind::FmodRet => AttachType::ModifyReturn,
        AttachKind::Lsm => AttachType::LsmMac,
        AttachKind::Iter => AttachType::TraceIter,
        _ => AttachType::from_number(0),
    }
}

/// Gives the programs of a compiled bcc text their types and attach points, and its maps of maps their inner maps.
///
/// Functions that are neither named nor typed as programs stay without a type: somebody may attach them later.
pub fn assign_programs(object: &mut Object) {
    for program in &mut object.programs {
        let by_name = attach_of_name(&program.name);
        let by_context = || object.btf.as_ref().and_then(|btf| by_context(btf, &program.name));
        if let Some((prog_type, target)) = by_name.or_else(by_context) {
            program.prog_type = prog_type;
            program.attach = target;
        }
    }
    inner_maps(object);
}

fn by_context(btf: &Btf, function: &str) -> Option<(ProgType, AttachTarget)> {
    let Type::Func { proto, .. } = btf.get(btf.find(Kind::Func, function)?).ok()? else { return None };
    let Type::FuncProto(proto) = btf.get(proto).ok()? else { return None };
    let name = pointee(btf, proto.params().next()?.type_id)?;
    let mut target = AttachTarget::default();
    if name.starts_with("tracepoint__") || name.starts_with("trace_event_raw_") {
        return Some((ProgType::Tracepoint, target));
    }
    let (_, prog_type, kind) = CONTEXTS.iter().find(|(context, ..)| *context == name)?;
    target.kind = *kind;
    Some((*prog_type, target))
}

/// The name of the structure that a type points to.
fn pointee(btf: &Btf, id: TypeId) -> Option<&str> {
    let Type::Ptr(target) = btf.resolve(id).ok()?.1 else { return None };
    match btf.resolve(target).ok()?.1 {
        Type::Struct(s) => Some(s.name),
        Type::Fwd { name, .. } => Some(name),
        _ => None,
    }
}

/// The tag with which the header says which map is the model of a map's inner maps.
const INNER: &str = "bcc:inner:";

fn inner_maps(object: &mut Object) {
    let Some(btf) = object.btf.as_ref() else { return };
    let inner_of = |map: &str| {
        let var = btf.find(Kind::Var, map)?;
        btf.decl_tags(var).find_map(|t| t.tag.strip_prefix(INNER)).map(str::to_owned)
    };
    let is_outer = |t: MapType| t.is_map_in_map();
    let wanted: Vec<(usize, String)> = object
        .maps
        .iter()
        .enumerate()
        .filter(|(_, map)| is_outer(map.map_type))
        .filter_map(|(index, map)| Some((index, inner_of(&map.name)?)))
        .collect();
    for (index, name) in wanted {
        let inner = object.maps.iter().find(|m| m.name == name).cloned();
        match (inner, object.maps.get_mut(index)) {
            (Some(inner), Some(outer)) => outer.inner = Some(Box::new(inner)),
            (None, Some(outer)) => {
                let note = format!(
                    "map '{}': there is no map '{name}' to be the model of its inner maps",
                    outer.name
                );
                object.notes.push(note);
            }
            (_, None) => {}
        }
    }
}
