//! Which maps may be handed to which helpers, and what they give (`check_map_func_compatibility`,
//! `may_update_sockmap`, `record_func_map` in `kernel/bpf/verifier.c`).

use bpf_vm_shim::object::{AttachType, MapType, ProgType};

use super::call::map_of;
use super::state::{Ptr, Ref, Reg, SockKind, State, Step, Target, refuse};
use super::walk::Walk;
use super::why::Why;

/// `bpf_map_lookup_elem`, `bpf_map_update_elem`, `bpf_map_delete_elem`.
const LOOKUP: u32 = 1;
const UPDATE: u32 = 2;
const DELETE: u32 = 3;
/// `bpf_sk_storage_get`, `bpf_inode_storage_get`, `bpf_task_storage_get`, `bpf_cgrp_storage_get`.
const STORAGE: &[u32] = &[107, 145, 156, 210];

impl Walk<'_> {
    /// Refuses maps that a helper does not take.
    pub(super) fn map_fits(&self, id: u32, args: &[Reg; 11]) -> Step<()> {
        let Some(map) = map_of(&args[1]).and_then(|m| self.kernel.maps.get(m)) else { return Ok(()) };
        let storage = matches!(
            map.def.map_type,
            MapType::SkStorage | MapType::InodeStorage | MapType::TaskStorage | MapType::CgrpStorage
        );
        if storage && matches!(id, LOOKUP | UPDATE | DELETE) {
            let m = format!("cannot pass map_type {} into func #{id}", map.def.map_type.name());
            return refuse(Why::HelperArgument, m);
        }
        let sockets = matches!(map.def.map_type, MapType::Sockmap | MapType::Sockhash);
        if sockets && matches!(id, UPDATE | DELETE) && !self.updates_sockmap(id) {
            return refuse(Why::NotAllowed, "cannot update sockmap in this context".to_owned());
        }
        if STORAGE.contains(&id)
            && let Reg::Scalar(s, _) = args[3]
            && s.known() != Some(0)
        {
            return refuse(Why::HelperArgument, "R3 type=scalar expected=fp".to_owned());
        }
        Ok(())
    }

    /// Storage of a task or the like: a value of the map, or null.
    pub(super) fn storage(&mut self, id: u32, args: &[Reg; 11]) -> Option<Reg> {
        let map = STORAGE.contains(&id).then(|| map_of(&args[1])).flatten()?;
        Some(Reg::Ptr(Ptr { or_null: true, id: self.new_id(), ..Ptr::to(Target::MapValue(map)) }))
    }

    /// What is looked up in a map of sockets has to be released; an inner map is a map.
    pub(super) fn looked_up(&mut self, state: &mut State, map_type: MapType) -> Reg {
        let id = self.new_id();
        let ptr = |target| Ptr { or_null: true, id, ..Ptr::to(target) };
        match map_type {
            MapType::Sockmap | MapType::Sockhash => {
                state.refs.push(Ref { id, insn: state.pc });
                Reg::Ptr(Ptr { reference: id, ..ptr(Target::Sock(SockKind::Full)) })
            }
            MapType::ArrayOfMaps | MapType::HashOfMaps => Reg::Ptr(ptr(Target::InnerMap)),
            _ => Reg::Unknown,
        }
    }

    fn updates_sockmap(&self, id: u32) -> bool {
        use ProgType as P;
        match self.prog.prog_type {
            P::Tracing => self.prog.attach.attach_type == AttachType::TraceIter,
            P::SockOps => id == DELETE,
            t => matches!(
                t,
                P::SocketFilter
                    | P::SchedCls
                    | P::SchedAct
                    | P::Xdp
                    | P::SkReuseport
                    | P::FlowDissector
                    | P::SkLookup
            ),
        }
    }
}
