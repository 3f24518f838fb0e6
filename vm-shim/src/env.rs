//! What a running program can call: the seam between the virtual machine and a kernel, simulated or not.

use std::sync::Arc;

use crate::exec::{Code, Execution};
use crate::fault::{FaultKind, Site, Trap, Unsupported, UnsupportedKind};
use crate::mem::{AccessKind, Memory};

/// What the virtual machine gives to whoever answers a call.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The guest's memory.
    pub mem: &'a mut Memory,
    run: &'a Execution,
}

impl<'a> Cx<'a> {
    pub(crate) fn new(mem: &'a mut Memory, run: &'a Execution) -> Self {
        Self { mem, run }
    }

    /// The code that makes the call.
    #[must_use]
    pub fn code(&self) -> &'a Arc<Code> {
        self.run.code()
    }

    /// The calling instruction's slot.
    #[must_use]
    pub fn insn(&self) -> u32 {
        self.run.insn()
    }

    /// The context argument of the running program: R1 at its entry.
    #[must_use]
    pub fn ctx(&self) -> u64 {
        self.run.ctx()
    }

    /// How many frames deep the call is, 0 for the program's main function.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.run.depth()
    }

    /// Registers R0 to R10.
    #[must_use]
    pub fn regs(&self) -> [u64; 11] {
        self.run.regs()
    }
}

/// What a call leads to.
#[derive(Clone, Debug)]
pub enum Flow {
    /// It returns this in R0.
    Return(u64),
    /// A function of the program runs first; its result goes to [`Env::resume`].
    Callback(Box<Callback>),
    /// Another program takes the calling frame's place (`bpf_tail_call`), with the context as R1.
    TailCall(Arc<Code>),
    /// The whole program ends (`bpf_throw`): its exception callback, if any, runs with this cookie as R1 and gives
    /// the result; without one the cookie is the result.
    Throw(u64),
}

/// A function of the program to be run on behalf of a helper.
#[derive(Clone, Debug)]
pub struct Callback {
    /// Its address, as `ld_imm64` with a function reference gave it to the program.
    pub addr: u64,
    /// Its arguments, R1 to R5.
    pub args: [u64; 5],
    /// What to give back to [`Env::resume`] with its result.
    pub resume: Resume,
}

/// A helper in the middle of its work, as plain data, so that a run can be copied anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Resume {
    /// Which helper: a number that the [`Env`] chose.
    pub id: u32,
    /// Its state.
    pub state: [u64; 7],
}

/// Where a few consecutive bytes of an arena are in the guest's memory: they may lie on two pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArenaSpan {
    /// The first byte's address.
    pub addr: u64,
    /// How many bytes follow each other there.
    pub len: u8,
    /// The address of those after them.
    pub rest: u64,
}

/// The result of a call.
pub type CallResult = Result<Flow, Trap>;

/// Answers what programs call. Everything it needs besides memory is its own.
pub trait Env {
    /// A call of helper number `id`.
    ///
    /// # Errors
    /// A fault (wrong arguments) or a gap, named.
    fn helper(&mut self, cx: &mut Cx<'_>, id: u32, args: &[u64; 5]) -> CallResult;

    /// [`Env::helper`] for the interpreter: what simply returns comes back in registers, and what the implementation does
    /// not look at is not even put together.
    #[doc(hidden)]
    fn helper_value(&mut self, mem: &mut Memory, run: &Execution, id: u32) -> Result<u64, Box<CallResult>> {
        let result = self.helper(&mut Cx::new(mem, run), id, run.args());
        if let Ok(Flow::Return(v)) = result {
            // There is nothing in it to drop, which the compiler does not always see.
            std::mem::forget(result);
            return Ok(v);
        }
        Err(Box::new(result))
    }

    /// A call of a kernel function: `index` is its place in the program's table of them.
    ///
    /// # Errors
    /// As for [`Env::helper`].
    fn kfunc(&mut self, cx: &mut Cx<'_>, index: u32, args: &[u64; 5]) -> CallResult;

    /// A call through a register (`callx`) whose value is no function of the program. No kernel accepts one.
    ///
    /// # Errors
    /// A bad call target, unless the implementation knows better.
    fn call_register(&mut self, _: &mut Cx<'_>, value: u64, _: &[u64; 5]) -> CallResult {
        Err(FaultKind::BadCallTarget { addr: value }.into())
    }

    /// A callback that [`Flow::Callback`] asked for has returned `ret`.
    ///
    /// # Errors
    /// As for [`Env::helper`].
    fn resume(&mut self, cx: &mut Cx<'_>, resume: Resume, ret: u64) -> CallResult;

    /// Legacy packet access (`LD_ABS`, `LD_IND`): `size` bytes at `offset` of the packet, in host order. `None` if
    /// they are not there: the program then ends with 0.
    ///
    /// # Errors
    /// As for [`Env::helper`].
    fn packet(&mut self, cx: &mut Cx<'_>, offset: i32, size: u8) -> Result<Option<u64>, Trap>;

    /// A load that memory refused. `Some` is the value: a typed kernel pointer may be read directly, and reads 0
    /// where nothing is mapped. `None` makes it a fault.
    ///
    /// # Errors
    /// What is there, but cannot be read this way, as a gap.
    fn load_typed(&mut self, cx: &mut Cx<'_>, addr: u64, size: u8) -> Result<Option<u64>, Trap>;

    /// Where bytes of the running program's arena are: `size` bytes at `offset` from the start of the kernel's view of
    /// it, which is the lower half of a pointer into it, plus a displacement. `None` if one of them is on no page: the
    /// access then does nothing, and a load gives 0.
    ///
    /// # Errors
    /// As for [`Env::helper`].
    fn arena(
        &mut self,
        _: &mut Cx<'_>,
        _offset: i64,
        _size: u8,
        _kind: AccessKind,
    ) -> Result<Option<ArenaSpan>, Trap> {
        Err(Unsupported::new(UnsupportedKind::Feature, "arena").into())
    }

    /// A run ends because of a gap, at this place.
    fn gave_up(&mut self, _at: Site) {}

    /// The program's main function returns `ret`.
    ///
    /// # Errors
    /// What the program still holds is a fault.
    fn exit(&mut self, cx: &mut Cx<'_>, ret: u64) -> Result<(), Trap>;
}

/// An [`Env`] that has nothing: every call is unsupported.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoEnv;

impl Env for NoEnv {
    fn helper(&mut self, _: &mut Cx<'_>, id: u32, _: &[u64; 5]) -> CallResult {
        Err(crate::fault::Unsupported::new(crate::fault::UnsupportedKind::Helper, format!("#{id}")).into())
    }

    fn kfunc(&mut self, _: &mut Cx<'_>, index: u32, _: &[u64; 5]) -> CallResult {
        Err(crate::fault::Unsupported::new(crate::fault::UnsupportedKind::Kfunc, format!("#{index}")).into())
    }

    fn resume(&mut self, _: &mut Cx<'_>, _: Resume, ret: u64) -> CallResult {
        Ok(Flow::Return(ret))
    }

    fn packet(&mut self, _: &mut Cx<'_>, _: i32, _: u8) -> Result<Option<u64>, Trap> {
        Ok(None)
    }

    fn load_typed(&mut self, _: &mut Cx<'_>, _: u64, _: u8) -> Result<Option<u64>, Trap> {
        Ok(None)
    }

    fn exit(&mut self, _: &mut Cx<'_>, _: u64) -> Result<(), Trap> {
        Ok(())
    }
}
