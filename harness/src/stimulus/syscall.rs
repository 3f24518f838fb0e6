//! System calls, as programs see them come and go.

use bpf_helpers_mock::objects::Value;
use bpf_vm_shim::object::Arch;

use super::simulation::{Occasion, STEP_NS, Simulation};
use crate::bpf::Point;
use crate::error::Error;

/// The numbers of the calls that expansions use: name, x86-64's, arm64's (`include/uapi/asm-generic/unistd.h`).
const NUMBERS: &[(&str, u64, u64)] = &[
    ("read", 0, 63),
    ("write", 1, 64),
    ("close", 3, 57),
    ("mmap", 9, 222),
    ("munmap", 11, 215),
    ("rt_sigaction", 13, 134),
    ("nanosleep", 35, 101),
    ("socket", 41, 198),
    ("connect", 42, 203),
    ("sendto", 44, 206),
    ("recvfrom", 45, 207),
    ("bind", 49, 200),
    ("listen", 50, 201),
    ("getsockname", 51, 204),
    ("clone", 56, 220),
    ("execve", 59, 221),
    ("exit", 60, 93),
    ("wait4", 61, 260),
    ("kill", 62, 129),
    ("fsync", 74, 82),
    ("sync", 162, 81),
    ("futex", 202, 98),
    ("exit_group", 231, 94),
    ("openat", 257, 56),
    ("accept4", 288, 242),
];

impl Simulation<'_> {
    /// A system call: `raw_syscalls:sys_enter` and `syscalls:sys_enter_NAME`, its function, what it does, and the same
    /// on the way out. Gives its result. Programs find its arguments in the record, or in the inner registers of the
    /// function's argument.
    ///
    /// # Errors
    /// As [`Simulation::happen`], and what the inner part gives.
    pub fn syscall(
        &mut self,
        name: &str,
        args: &[u64],
        inner: impl FnOnce(&mut Self) -> Result<i64, Error>,
    ) -> Result<i64, Error> {
        self.enter_syscall(name, args)?;
        let function = self.wrapper(name);
        let ret = self.within(&function, inner)?;
        self.exit_syscall(name, ret)?;
        Ok(ret)
    }

    /// A call that does not return (`exit_group`), or whose return is told apart: its way in.
    ///
    /// # Errors
    /// As [`Simulation::happen`].
    pub fn enter_syscall(&mut self, name: &str, args: &[u64]) -> Result<(), Error> {
        let nr = self.number(name);
        self.advance(STEP_NS)?;
        let regs = self.registers(nr, args, None)?;
        self.raw_tracepoint("sys_enter", &[regs, nr])?;
        let mut words = args.to_vec();
        words.resize(6, 0);
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.record("raw_syscalls", "sys_enter", &[("id", nr.into()), ("args", bytes.into())])?;
        self.call_record("enter", name, nr, args, None)?;
        self.advance(STEP_NS)?;
        let occasion = Occasion { args: args.to_vec(), nr, ..Occasion::default() };
        self.happen(Point::Ksyscall(name.to_owned()), &occasion)?;
        let function = self.wrapper(name);
        let typed = Occasion { args: vec![regs], ..Occasion::default() };
        self.typed(Point::Fentry(function), &typed)
    }

    /// The way out of a system call.
    ///
    /// # Errors
    /// As [`Simulation::happen`].
    pub fn exit_syscall(&mut self, name: &str, ret: i64) -> Result<(), Error> {
        let nr = self.number(name);
        self.advance(STEP_NS)?;
        let regs = self.registers(nr, &[], Some(ret))?;
        let function = self.wrapper(name);
        let typed = Occasion { args: vec![regs], ret: Some(ret), ..Occasion::default() };
        self.typed(Point::Fexit(function), &typed)?;
        let occasion = Occasion { ret: Some(ret), nr, ..Occasion::default() };
        self.happen(Point::Kretsyscall(name.to_owned()), &occasion)?;
        self.leave_kernel(name, ret)
    }

    /// What is left of a call for a task that returns from one that it did not make: a new child's.
    ///
    /// # Errors
    /// As [`Simulation::happen`].
    pub fn leave_kernel(&mut self, name: &str, ret: i64) -> Result<(), Error> {
        let nr = self.number(name);
        self.advance(STEP_NS)?;
        let regs = self.registers(nr, &[], Some(ret))?;
        self.raw_tracepoint("sys_exit", &[regs, ret.cast_unsigned()])?;
        self.record("raw_syscalls", "sys_exit", &[("id", nr.into()), ("ret", ret.into())])?;
        self.call_record("exit", name, nr, &[], Some(ret))
    }

    fn typed(&mut self, point: Point, occasion: &Occasion) -> Result<(), Error> {
        if self.bpf.is_attached_at(&point) {
            self.happen(point, occasion)?;
        }
        Ok(())
    }

    fn call_record(
        &mut self,
        way: &str,
        name: &str,
        nr: u64,
        args: &[u64],
        ret: Option<i64>,
    ) -> Result<(), Error> {
        let event = format!("sys_{way}_{name}");
        let point = Point::Tracepoint("syscalls".to_owned(), event.clone());
        let mut occasion = Occasion { args: args.to_vec(), ret, ..Occasion::default() };
        if self.bpf.is_attached_at(&point) {
            // The event finds the names of the arguments.
            occasion.layout = self.layout("syscalls", &event)?;
            occasion.fields = vec![("__syscall_nr".to_owned(), Value::from(nr))];
        }
        self.happen(point, &occasion)?;
        Ok(())
    }

    /// The number of a system call; 0 for one that no expansion uses.
    fn number(&mut self, name: &str) -> u64 {
        let arm = self.bpf.machine().kernel.profile.arch == Arch::Arm64;
        let found = NUMBERS.iter().find(|(n, ..)| *n == name);
        found.map_or(0, |(_, x86, arm64)| if arm { *arm64 } else { *x86 })
    }

    fn wrapper(&mut self, name: &str) -> String {
        format!("{}sys_{name}", self.bpf.machine().kernel.profile.arch.syscall_prefix())
    }

    /// The registers that user space came with; only for programs that look at them.
    fn registers(&mut self, nr: u64, args: &[u64], ret: Option<i64>) -> Result<u64, Error> {
        let raw = |p: &str| Point::RawTp(p.to_owned());
        let points = [raw("sys_enter"), raw("sys_exit")];
        let wanted = points.iter().any(|p| self.bpf.is_attached_at(p)) || self.bpf.has_typed_programs();
        if !wanted {
            return Ok(0);
        }
        let at = |i: usize| Value::from(args.get(i).copied().unwrap_or(0));
        let arm = self.bpf.machine().kernel.profile.arch == Arch::Arm64;
        if arm {
            let first = ret.map_or_else(|| at(0), Value::from);
            return self
                .object("user_pt_regs", &[("regs[0]", first), ("regs[1]", at(1)), ("regs[2]", at(2))]);
        }
        let result = ret.unwrap_or(-38); // -ENOSYS until there is one
        self.object(
            "pt_regs",
            &[
                ("di", at(0)),
                ("si", at(1)),
                ("dx", at(2)),
                ("r10", at(3)),
                ("r8", at(4)),
                ("r9", at(5)),
                ("ax", result.into()),
                ("orig_ax", nr.into()),
            ],
        )
    }
}
