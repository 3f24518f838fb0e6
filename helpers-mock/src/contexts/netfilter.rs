//! Netfilter programs (`bpf_prog_test_run_nf` in `net/bpf/test_run.c`).

use bpf_vm_shim::btf::{Btf, Kind};
use bpf_vm_shim::mem::Perm;
use bpf_vm_shim::object::ProgType;

use super::error::ContextError;
use super::{net, place};
use crate::machine::Machine;
use crate::objects;
use crate::progs::LoadedProg;
use crate::run::RunInput;

// <linux/netfilter.h>
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const NF_INET_LOCAL_OUT: u8 = 3;
/// An Ethernet header in front of an IPv4 packet; the program sees what follows it.
const ETH_IPV4: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0];
const ETH_P_IPV6: [u8; 2] = [0x86, 0xdd];

/// [`netfilter_input`] of a test run without a packet: zeros behind an Ethernet header.
pub(super) fn netfilter_default(machine: &mut Machine, prog: &LoadedProg) -> Result<RunInput, ContextError> {
    netfilter_input(machine, prog, &[&ETH_IPV4[..], &[0; 64]].concat())
}

/// `struct bpf_nf_ctx` on a frame: pointers to the hook's state and the buffer, which begins behind the Ethernet header. A
/// packet as it leaves this machine: a test run's, unless its caller says otherwise.
pub(super) fn netfilter_input(
    machine: &mut Machine,
    prog: &LoadedProg,
    frame: &[u8],
) -> Result<RunInput, ContextError> {
    let pf = if frame.get(12..14) == Some(&ETH_P_IPV6) { NFPROTO_IPV6 } else { NFPROTO_IPV4 };
    let fields = [("pf", pf), ("hook", NF_INET_LOCAL_OUT)];
    let btf = machine.kernel.profile.btf.clone().or_else(|| prog.object.btf.clone());
    let (mut input, skb) = frame_buffer(machine, btf.as_ref(), frame)?;
    let state = match btf.as_ref().and_then(|btf| Some((btf, btf.find(Kind::Struct, "nf_hook_state")?))) {
        Some((btf, id)) => {
            let state = objects::alloc_type(&mut machine.mem, btf, id)?;
            for (name, value) in fields {
                set(machine, btf, id, state, name, value);
            }
            state
        }
        None => super::place_kernel(machine, &mut input.scratch, &[NF_INET_LOCAL_OUT, pf], "nf_hook_state")?,
    };
    input.scratch.push(state);
    let ctx = place(machine, &[state, skb].map(u64::to_le_bytes).concat(), Perm::ReadOnly)?;
    input.scratch.extend(ctx.scratch);
    input.args = ctx.args;
    Ok(input)
}

/// A `struct sk_buff` with a packet that begins with its network header, and the input that owns it. Programs that get
/// one reach it through its own structure only, so no field is closed to them.
pub(super) fn buffer(
    machine: &mut Machine,
    btf: Option<&Btf>,
    packet: &[u8],
) -> Result<(RunInput, u64), ContextError> {
    frame_buffer(machine, btf, &[&ETH_IPV4, packet].concat())
}

/// As [`buffer`], with the Ethernet header.
fn frame_buffer(
    machine: &mut Machine,
    btf: Option<&Btf>,
    frame: &[u8],
) -> Result<(RunInput, u64), ContextError> {
    let input = net::packet(machine, ProgType::CgroupSkb, frame)?;
    let skb = machine.kernel.skb_object_of(&mut machine.mem, btf, input.args[0])?;
    Ok((input, skb))
}

/// Sets a member of a byte or more. Types of objects have only what their programs use.
fn set(machine: &mut Machine, btf: &Btf, id: bpf_vm_shim::btf::TypeId, at: u64, name: &str, value: u8) {
    let member = btf.resolve(id).ok().and_then(|(_, t)| t.as_composite()?.members().find(|m| m.name == name));
    if let Some(member) = member {
        let _ = machine.mem.poke(at + u64::from(member.bit_offset / 8), &[value]);
    }
}
