//! `struct sk_buff` behind a packet's context.

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::fault::Trap;
use bpf_vm_shim::mem::Memory;

use super::builder::{Object, set};
use super::error::ObjectError;
use super::{Known, Thing, alloc, alloc_type, find_type};
use crate::kernel::Kernel;

/// Fields of `struct __sk_buff` (offset) and where `struct sk_buff` has the same value. The network header and what
/// lies behind the packet's end are not there.
const FIELDS: &[(u64, &str)] =
    &[(0, "len"), (4, "pkt_type"), (8, "mark"), (12, "queue_mapping"), (32, "priority"), (36, "skb_iif")];
/// `data` of `struct __sk_buff`.
const DATA: u64 = 76;
/// `protocol` of `struct __sk_buff`, 16 bits in network order.
const PROTOCOL: u64 = 16;

impl Kernel {
    /// A `struct sk_buff` by the kernel's BTF with what the context `struct __sk_buff` at `ctx` says. It is filled
    /// anew each time; there is one per context address.
    pub(crate) fn skb_object(&mut self, mem: &mut Memory, ctx: u64) -> Result<u64, Trap> {
        let types = self.types().cloned();
        Ok(self.skb_object_of(mem, types.as_ref(), ctx)?)
    }

    /// The context that a `struct sk_buff` was made for.
    pub(crate) fn skb_context(&self, object: u64) -> Option<u64> {
        let mut known = self.state.objects.known.iter();
        known.find_map(|((thing, _), k)| match thing {
            Thing::Skb(ctx) if k.addr == object => Some(*ctx),
            _ => None,
        })
    }

    /// As [`Kernel::skb_object`], by other types.
    pub(crate) fn skb_object_of(
        &mut self,
        mem: &mut Memory,
        types: Option<&Btf>,
        ctx: u64,
    ) -> Result<u64, ObjectError> {
        let typed = types.and_then(|btf| Some((btf, find_type(btf, "struct sk_buff")?)));
        let number = typed.map_or(super::UNTYPED, |(btf, _)| self.state.objects.set(btf));
        let key = (Thing::Skb(ctx), number);
        let addr = match (self.state.objects.known.get(&key), typed) {
            (Some(known), _) => known.addr,
            (None, Some((btf, id))) => alloc_type(mem, btf, id)?,
            (None, None) => alloc(mem, super::OPAQUE_SIZE, "struct sk_buff")?,
        };
        self.state.objects.known.insert(key, Known { addr, generation: 0 });
        let Some((btf, type_id)) = typed else { return Ok(addr) };
        let object = Object { addr, type_id };
        let mut word = |offset| {
            let mut bytes = [0; 4];
            mem.peek(ctx.wrapping_add(offset), &mut bytes).map(|()| u32::from_le_bytes(bytes))
        };
        let mut fields: Vec<(&str, u32)> = Vec::new();
        for (offset, name) in FIELDS {
            fields.extend(word(*offset).map(|v| (*name, v)));
        }
        fields.extend(word(PROTOCOL).map(|v| ("protocol", v & 0xffff)));
        fields.extend(word(DATA).map(|v| ("data", v)));
        for (name, value) in fields {
            // Kernels differ, and an object's own types have only what its programs use.
            let _ = set(btf, mem, object, name, &value.into());
        }
        Ok(addr)
    }
}
