//! Printing: the trace, strings and sequence files.

use bpf_vm_shim::env::{CallResult, Cx, Flow};
use bpf_vm_shim::fault::Trap;
use bpf_vm_shim::mem::Perm;

use super::desc::{Arg, Call, HelperDesc};
use crate::errno::Errno;
use crate::format::{self, MAX_BUF, MAX_VARARGS, Source};
use crate::kernel::Kernel;
use crate::state::TraceLine;

pub(super) static TABLE: &[HelperDesc] = &[
    HelperDesc {
        id: 6,
        name: "bpf_trace_printk",
        args: &[Arg::Mem, Arg::Size],
        since: (4, 1),
        gpl_only: true,
        func: trace_printk,
        resume: None,
    },
    HelperDesc {
        id: 126,
        name: "bpf_seq_printf",
        args: &[Arg::KernelPtr, Arg::Mem, Arg::Size, Arg::MemOrNull, Arg::SizeOrZero],
        since: (5, 7),
        gpl_only: true,
        func: seq_printf,
        resume: None,
    },
    HelperDesc {
        id: 127,
        name: "bpf_seq_write",
        args: &[Arg::KernelPtr, Arg::Mem, Arg::SizeOrZero],
        since: (5, 7),
        gpl_only: true,
        func: seq_write,
        resume: None,
    },
    HelperDesc {
        id: 165,
        name: "bpf_snprintf",
        args: &[Arg::MemOutOrNull, Arg::SizeOrZero, Arg::Str, Arg::MemOrNull, Arg::SizeOrZero],
        since: (5, 13),
        gpl_only: true,
        func: snprintf,
        resume: None,
    },
    HelperDesc {
        id: 177,
        name: "bpf_trace_vprintk",
        args: &[Arg::Mem, Arg::Size, Arg::MemOrNull, Arg::SizeOrZero],
        since: (5, 16),
        gpl_only: true,
        func: trace_vprintk,
        resume: None,
    },
];

/// The machine, as formatting sees it.
struct Machine<'a, 'b> {
    kernel: &'a mut Kernel,
    cx: &'a mut Cx<'b>,
}

impl Source for Machine<'_, '_> {
    fn kernel(&mut self, addr: u64, out: &mut [u8]) -> bool {
        self.cx.mem.probe_read(addr, out).is_ok()
    }

    fn user(&mut self, addr: u64, out: &mut [u8]) -> bool {
        self.kernel.state.current_user().is_some_and(|user| user.read(addr, out).is_ok())
    }

    fn symbol(&mut self, addr: u64) -> Option<(String, u64, Option<String>)> {
        let (symbol, offset) = self.kernel.state.symbols.lookup(addr)?;
        Some((symbol.name.clone(), offset, symbol.module.clone()))
    }
}

/// Formats for a helper; the inner result is the kernel's.
pub(crate) fn formatted(
    kernel: &mut Kernel,
    cx: &mut Cx<'_>,
    fmt: &[u8],
    args: &[u64],
) -> Result<Vec<u8>, Errno> {
    format::format(fmt, args, &mut Machine { kernel, cx })
}

/// The format of a helper that gets its size; it must have an end within it (`strnchr`).
fn sized_format(call: &mut Call<'_, '_>, addr: u64, size: u64) -> Result<Option<Vec<u8>>, Trap> {
    let mut fmt = call.bytes(addr, size)?;
    Ok(fmt.iter().position(|c| *c == 0).map(|end| {
        fmt.truncate(end);
        fmt
    }))
}

/// The arguments of a `v` form: `None` if the kernel refuses their size.
pub(crate) fn varargs(call: &mut Call<'_, '_>, addr: u64, len: u64) -> Result<Option<Vec<u64>>, Trap> {
    let len = len as u32;
    if !len.is_multiple_of(8) || len > MAX_VARARGS * 8 || (len > 0 && addr == 0) {
        return Ok(None);
    }
    let bytes = call.bytes(addr, len.into())?;
    let words = bytes.as_chunks::<8>().0;
    Ok(Some(words.iter().map(|w| u64::from_le_bytes(*w)).collect()))
}

/// Adds a line to the trace. The text is cut at the kernel's buffer, the returned length is not.
fn trace(kernel: &mut Kernel, text: Vec<u8>) -> Flow {
    let len = text.len() as u64;
    let shown = &text[..text.len().min(MAX_BUF - 1)];
    let task = kernel.state.current();
    let line = TraceLine {
        comm: task.shown_comm().to_owned(),
        pid: task.pid,
        cpu: kernel.state.cpus.current,
        ns: kernel.state.clock.now(),
        text: String::from_utf8_lossy(shown).into_owned(),
    };
    kernel.state.trace_pipe.push(line);
    Flow::Return(len)
}

/// `bpf_trace_printk` (`kernel/trace/bpf_trace.c`): at most three arguments. Before Linux 5.13 the format's last byte
/// had to be its end, and far fewer conversions were allowed.
fn trace_printk(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [addr, size, a, b, c] = call.args;
    let version = ((kernel.profile.version >> 16) as u8, (kernel.profile.version >> 8) as u8);
    let fmt = match sized_format(call, addr, size)? {
        Some(fmt) if version >= (5, 13) => fmt,
        Some(fmt) if fmt.len() as u64 + 1 == size && format::check_legacy(&fmt, version).is_ok() => fmt,
        _ => return Ok(Flow::Return(Errno::EINVAL.ret())),
    };
    match formatted(kernel, call.cx, &fmt, &[a, b, c]) {
        Ok(text) => Ok(trace(kernel, text)),
        Err(e) => Ok(Flow::Return(e.ret())),
    }
}

/// `bpf_trace_vprintk`: as [`trace_printk`] with up to twelve arguments in memory.
fn trace_vprintk(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [addr, size, data, len, _] = call.args;
    let (Some(args), Some(fmt)) = (varargs(call, data, len)?, sized_format(call, addr, size)?) else {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    };
    match formatted(kernel, call.cx, &fmt, &args) {
        Ok(text) => Ok(trace(kernel, text)),
        Err(e) => Ok(Flow::Return(e.ret())),
    }
}

/// `bpf_snprintf` (`kernel/bpf/helpers.c`): returns the length the text would have had, with its NUL.
fn snprintf(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [out, size, fmt, data, len] = call.args;
    let fmt = call.string(fmt)?;
    let Some(args) = varargs(call, data, len)? else { return Ok(Flow::Return(Errno::EINVAL.ret())) };
    let result = formatted(kernel, call.cx, &fmt, &args);
    Ok(Flow::Return(put_bytes(call, out, size, result)?))
}

/// Writes text as `snprintf` does: cut to the buffer, always with a NUL. The rest of the buffer keeps its bytes, but
/// counts as initialised, as the verifier sees it.
pub(crate) fn put_bytes(
    call: &mut Call<'_, '_>,
    out: u64,
    size: u64,
    text: Result<Vec<u8>, Errno>,
) -> Result<u64, Trap> {
    let size = u64::from(size as u32);
    if out != 0 && size > 0 {
        call.cx.mem.protect(out, size, Perm::ReadWrite);
    }
    match text {
        Err(e) => Ok(e.ret()),
        Ok(mut text) => {
            let full = text.len() as u64 + 1;
            if out != 0 && size > 0 {
                text.truncate(size as usize - 1);
                text.push(0);
                call.write(out, &text)?;
            }
            Ok(full)
        }
    }
}

/// `bpf_seq_printf` (`kernel/trace/bpf_trace.c`).
fn seq_printf(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [seq, fmt, size, data, len] = call.args;
    let (Some(args), Some(fmt)) = (varargs(call, data, len)?, sized_format(call, fmt, size)?) else {
        return Ok(Flow::Return(Errno::EINVAL.ret()));
    };
    match formatted(kernel, call.cx, &fmt, &args) {
        Ok(text) => Ok(seq_append(kernel, seq, &text)),
        Err(e) => Ok(Flow::Return(e.ret())),
    }
}

/// `bpf_seq_write`.
fn seq_write(kernel: &mut Kernel, call: &mut Call<'_, '_>) -> CallResult {
    let [seq, data, len, ..] = call.args;
    let data = call.bytes(data, len)?;
    Ok(seq_append(kernel, seq, &data))
}

/// All or nothing: `-EOVERFLOW` if it does not fit.
pub(crate) fn seq_append(kernel: &mut Kernel, seq: u64, data: &[u8]) -> Flow {
    let fits = kernel.state.seq_files.at(seq).write(data);
    Flow::Return(if fits { 0 } else { Errno::EOVERFLOW.ret() })
}

#[cfg(test)]
mod tests {
    use bpf_vm_shim::mem::Perm;
    use bpf_vm_shim::object::KernelProfile;

    use crate::errno::Errno;
    use crate::machine::Machine;
    use crate::testing::{buffer, machine, put, ret};

    const TRACE_PRINTK: u32 = 6;
    const SEQ_PRINTF: u32 = 126;
    const SEQ_WRITE: u32 = 127;
    const SNPRINTF: u32 = 165;
    const TRACE_VPRINTK: u32 = 177;

    fn text(machine: &mut Machine, text: &str) -> (u64, u64) {
        let bytes = [text.as_bytes(), &[0]].concat();
        (put(machine, &bytes, Perm::ReadOnly), bytes.len() as u64)
    }

    fn words(machine: &mut Machine, words: &[u64]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        put(machine, &bytes, Perm::ReadOnly)
    }

    #[test]
    fn lines_of_the_trace_say_who_printed_them() {
        let mut m = machine();
        let (fmt, len) = text(&mut m, "pid %d, %x");
        assert_eq!(ret(&mut m, TRACE_PRINTK, &[fmt, len, 7, 255, 0]), 9);
        let line = &m.kernel.state.trace_pipe.lines()[0];
        let task = m.kernel.state.current();
        assert_eq!((line.text.as_str(), line.pid, &line.comm), ("pid 7, ff", task.pid, &task.comm));
        let args = words(&mut m, &[1, 2, 3, 4]);
        let (fmt, len) = text(&mut m, "%d%d%d%d");
        assert_eq!(ret(&mut m, TRACE_VPRINTK, &[fmt, len, args, 32]), 4);
        assert_eq!(ret(&mut m, TRACE_VPRINTK, &[fmt, len, args, 31]), i64::from(-Errno::EINVAL.number()));
        assert_eq!(m.kernel.state.trace_pipe.take().len(), 2);
        assert!(m.kernel.state.trace_pipe.lines().is_empty());
    }

    #[test]
    fn old_kernels_print_less() {
        let mut m = machine();
        m.kernel.profile.version = KernelProfile::kernel_version(5, 4, 0);
        let (fmt, len) = text(&mut m, "%5d");
        assert_eq!(ret(&mut m, TRACE_PRINTK, &[fmt, len, 7, 0, 0]), -22);
        let (fmt, len) = text(&mut m, "%d");
        assert_eq!(ret(&mut m, TRACE_PRINTK, &[fmt, len, 7, 0, 0]), 1);
        assert_eq!(ret(&mut m, TRACE_PRINTK, &[fmt, len - 1, 7, 0, 0]), -22, "the end must be counted");
    }

    #[test]
    fn snprintf_cuts_and_says_how_long_it_would_have_been() {
        let mut m = machine();
        let (fmt, _) = text(&mut m, "n=%d");
        let args = words(&mut m, &[123_456]);
        let out = buffer(&mut m, 8);
        assert_eq!(ret(&mut m, SNPRINTF, &[out, 4, fmt, args, 8]), 9);
        let mut got = [0; 8];
        m.mem.peek(out, &mut got).unwrap();
        assert_eq!(&got, b"n=1\0\xee\xee\xee\xee");
        assert_eq!(ret(&mut m, SNPRINTF, &[0, 0, fmt, args, 8]), 9);
        assert_eq!(ret(&mut m, SNPRINTF, &[out, 4, fmt, args, 7]), -22);
        assert_eq!(ret(&mut m, SNPRINTF, &[out, 4, fmt, 0, 0]), -22);
    }

    #[test]
    fn sequence_files_take_all_or_nothing() {
        let mut m = machine();
        let seq = buffer(&mut m, 8);
        let (fmt, len) = text(&mut m, "%d ");
        let args = words(&mut m, &[5]);
        assert_eq!(ret(&mut m, SEQ_PRINTF, &[seq, fmt, len, args, 8]), 0);
        assert_eq!(ret(&mut m, SEQ_WRITE, &[seq, fmt, 2]), 0);
        assert_eq!(m.kernel.state.seq_files.at(seq).bytes(), b"5 %d");
        let big = buffer(&mut m, 40_000);
        assert_eq!(ret(&mut m, SEQ_WRITE, &[seq, big, 40_000]), i64::from(-Errno::EOVERFLOW.number()));
        assert_eq!(m.kernel.state.seq_files.at(seq).take(), b"5 %d");
    }
}
