//! Made-up events: what the kernel can let happen as described, and what only a real action makes happen.

use std::os::fd::AsFd;

use bpf_helpers_mock::ProgId;
use bpf_helpers_mock::state::Tasks;

use super::actors::{Firing, Registers, Role, SP, STACK_TOP, TestRun};
use super::{Kernel, errors};
use crate::bpf::{Attachment, KernelRun, MadeUp, Point};
use crate::error::Error;
use crate::usdt::Placement;

/// How far from the stack pointer something belongs to the stack: memory of other registers is much farther away.
const STACK: u64 = 1 << 16;
/// Bytes of the registers in `struct pt_regs` of any architecture.
const PT_REGS: usize = 64 * 8;

/// Lets an event happen to one program.
pub(super) fn fire(kernel: &mut Kernel, event: &MadeUp<'_>) -> Result<KernelRun, Error> {
    if !kernel.made_up {
        return Err(Error::Invalid(format!(
            "{}: attached programs see what the machine does, so events are not made up: perform a stimulus \
             (`Bpf::stimulate`), or build with `made_up_events()`",
            event.point
        )));
    }
    let role = Role::of(event.tasks, event.pid, event.cpu).map_err(errors::actor)?;
    let firing = match event.point {
        Point::Kprobe(_) | Point::Uprobe(_) => Firing::entry(event.args).map_err(errors::actor)?,
        Point::Kretprobe(_) | Point::Uretprobe(_) => {
            // What a probe finds in the argument registers at a return is left over; tests that give arguments want them.
            let registers = Registers::call(event.args).map_err(errors::actor)?;
            let registers = registers.returning(event.ret.unwrap_or(0));
            Firing { registers, ..Firing::exit(0) }
        }
        Point::Usdt(..) => usdt(kernel, event)?,
        Point::RawTp(_) => {
            let ctx: Vec<u8> = event.args.iter().flat_map(|a| a.to_ne_bytes()).collect();
            return test_run(kernel, event.prog, TestRun { ctx, ..TestRun::default() }, &role);
        }
        Point::Xdp | Point::Tc | Point::Socket | Point::CgroupSkb => {
            let data = event.packet.to_vec();
            return test_run(kernel, event.prog, TestRun { data, ..TestRun::default() }, &role);
        }
        Point::Syscall => {
            let ctx = event.packet.to_vec();
            return test_run(kernel, event.prog, TestRun { ctx, ..TestRun::default() }, &role);
        }
        other => {
            return Err(Error::Invalid(format!(
                "{other}: a kernel cannot be made to believe that it happens: perform a stimulus (`Bpf::stimulate`) \
                 without `made_up_events()`, or test it on the simulator"
            )));
        }
    };
    let firing = Firing { cookie: event.attachment.cookie, ..firing };
    let prog = kernel.prog(event.prog)?.clone();
    let actors = kernel.actors()?;
    let ran = prog.with(|p| actors.fire(&p, &firing, &role))?.map_err(errors::actor)?;
    Ok(KernelRun { ret: ran.retval.map(u64::from), packet: None })
}

/// The registers, and memory, that hold the arguments of a statically defined probe.
fn usdt(kernel: &mut Kernel, event: &MadeUp<'_>) -> Result<Firing, Error> {
    let Attachment { link, .. } = event.attachment;
    let Some(site) = link.usdt.as_deref() else {
        if event.args.is_empty() {
            return Firing::entry(&[]).map_err(errors::actor);
        }
        return Err(Error::Invalid(format!(
            "{}: the places of its arguments are not known; attach with `attach_usdt()`",
            event.point
        )));
    };
    let symbol = |s: &str| site.binary.address(s);
    let placed = Placement::new(&site.place.args, event.args, site.place.addr, symbol)
        .map_err(|e| Error::Invalid(format!("{}: {e}", event.point)))?;
    if site.told_by_ip {
        return Err(Error::Invalid(format!(
            "{}: its program tells the probe's places apart by the instruction pointer, which is the test's own at a made-up \
             event: pass the probe for real, without `made_up_events()`",
            event.point
        )));
    }
    let mut regs = vec![0; PT_REGS];
    let sp = placed.registers.get(&SP).copied();
    let mut stack = Vec::new();
    for (offset, value) in placed.registers {
        let at = usize::from(offset);
        if let Some(word) = regs.get_mut(at..at + 8) {
            word.copy_from_slice(&value.to_ne_bytes());
        }
    }
    for (addr, bytes) in placed.memory {
        if let Some(above) = sp.map(|sp| addr.wrapping_sub(sp)).filter(|d| d.wrapping_add(STACK) < 2 * STACK)
        {
            // At the top may be the address that the event's task returns to.
            let Some(at) = above.checked_sub(STACK_TOP).and_then(|d| usize::try_from(d).ok()) else {
                return Err(Error::Invalid(format!(
                    "{}: an argument {above} bytes above the stack pointer cannot be made up: the stack's top is not the test's to choose",
                    event.point
                )));
            };
            stack.resize(stack.len().max(at + bytes.len()), 0);
            if let Some(room) = stack.get_mut(at..at + bytes.len()) {
                room.copy_from_slice(&bytes);
            }
            continue;
        }
        kernel.actors()?.place_at(addr, &bytes).map_err(errors::actor)?;
    }
    let firing = Firing::entry(&[]).map_err(errors::actor)?;
    stack.resize(stack.len().next_multiple_of(8), 0);
    let words: Vec<u64> = stack.chunks_exact(8).map(|w| w.try_into().map_or(0, u64::from_ne_bytes)).collect();
    let registers = Registers::from_pt_regs(&regs).with_stack(&words);
    Ok(Firing { registers, ..firing })
}

/// Runs a program by itself.
pub(super) fn run(
    kernel: &mut Kernel,
    prog: ProgId,
    ctx: Option<&[u8]>,
    packet: Option<&[u8]>,
    tasks: &Tasks,
) -> Result<KernelRun, Error> {
    let role = Role::of(tasks, bpf_helpers_mock::state::DEFAULT_PID, 0).map_err(errors::actor)?;
    let input = TestRun {
        ctx: ctx.unwrap_or_default().to_vec(),
        data: packet.unwrap_or_default().to_vec(),
        ..TestRun::default()
    };
    test_run(kernel, prog, input, &role)
}

fn test_run(kernel: &mut Kernel, prog: ProgId, input: TestRun, role: &Role) -> Result<KernelRun, Error> {
    let prog = kernel.prog(prog)?.clone();
    let has_packet = !input.data.is_empty();
    let actors = kernel.actors()?;
    let out = prog.with(|p| actors.test_run(p.as_fd(), &input, role))?.map_err(errors::actor)?;
    Ok(KernelRun { ret: out.retval.map(u64::from), packet: has_packet.then_some(out.data) })
}
