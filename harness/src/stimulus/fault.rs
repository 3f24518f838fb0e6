//! A page fault (`mm/memory.c`).

use bpf_helpers_mock::objects::Value;

use super::simulation::Simulation;
use super::{Action, Real, Stimulated, real};
use crate::error::Error;

/// A page of user memory that nothing else uses, where the kernel would map new memory.
const ADDR: u64 = 0x7f7f_0000_0000;
/// A write by user space to a page that is not there (`X86_PF_WRITE | X86_PF_USER`).
const ERROR_CODE: u64 = 6;
/// `FAULT_FLAG_WRITE | ALLOW_RETRY | KILLABLE | USER | INTERRUPTIBLE`
const FLAGS: u64 = 0x255;
const FAULT_FLAG_VMA_LOCK: u64 = 0x1000;
/// `VM_READ | WRITE | MAYREAD | MAYWRITE | MAYEXEC | ACCOUNT | SOFTDIRTY`
const VM_FLAGS: u64 = 0x0810_0073;
const PAGE: u64 = 4096;
/// Where code of user space is, for the record.
const CODE: u64 = 0x5555_5555_5000;
/// `PROT_READ | PROT_WRITE` and `MAP_PRIVATE | MAP_ANONYMOUS`
const MAP: [u64; 2] = [3, 0x22];

/// New memory is touched; see [`Stimulus::page_fault`](super::Stimulus::page_fault).
#[derive(Clone, Default, Debug)]
pub struct PageFault {}

impl Action for PageFault {
    /// The value `addr` is the page's address.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let args = [0, PAGE, MAP[0], MAP[1], u64::MAX, 0];
        sim.syscall("mmap", &args, |_| Ok(ADDR.cast_signed()))?;
        let regs = sim.object("pt_regs", &[("ip", CODE.into())])?;
        let fields: &[(&str, Value)] =
            &[("address", ADDR.into()), ("ip", CODE.into()), ("error_code", ERROR_CODE.into())];
        if sim.has_tracepoint("exceptions", "page_fault_user") {
            sim.tracepoint("exceptions", "page_fault_user", fields, &[ADDR, regs, ERROR_CODE])?;
        }
        let vma = sim.object(
            "vm_area_struct",
            &[("vm_start", ADDR.into()), ("vm_end", (ADDR + PAGE).into()), ("vm_flags", VM_FLAGS.into())],
        )?;
        // The area is locked by itself, not with all of the process's memory.
        let flags = if sim.since(6, 4) { FLAGS | FAULT_FLAG_VMA_LOCK } else { FLAGS };
        sim.leaf("handle_mm_fault", &[vma, ADDR, flags, regs], 0)?;
        sim.syscall("munmap", &[ADDR, PAGE], |_| Ok(0))?;
        Ok(Stimulated::default().with("addr", ADDR))
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        real::page_fault()
    }
}
