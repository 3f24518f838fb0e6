//! A plugin for conformance test runners of BPF virtual machines.
//!
//! Standard input: the program as hexadecimal bytes. First argument, optional: memory as hexadecimal bytes; R1 is its
//! address and R2 its length, both 0 without it. `--engine interp|rbpf` chooses the engine; `--program HEX` and
//! `--cpu_version vN` are accepted. Prints R0 as hexadecimal and exits 0, or writes the error and exits 1.
#![allow(clippy::disallowed_methods, reason = "a program, unlike the library, reads arguments and files")]

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use bpf_vm_shim::engine;
use bpf_vm_shim::env::{CallResult, Cx, Env, Flow, NoEnv, Resume};
use bpf_vm_shim::exec::{Code, CodeSpec, Execution, Limits, Outcome};
use bpf_vm_shim::fault::Trap;
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::mem::{Alloc, Area, Memory, RegionKind};

/// The helpers that conformance tests know by number.
struct TestEnv {
    base: u64,
    len: u64,
}

impl Env for TestEnv {
    fn helper(&mut self, cx: &mut Cx<'_>, id: u32, a: &[u64; 5]) -> CallResult {
        let byte = |i: usize| a[i] & 0xff;
        match id {
            0 => Ok(Flow::Return(byte(0) << 32 | byte(1) << 24 | byte(2) << 16 | byte(3) << 8 | byte(4))),
            1 => {
                for addr in a[0]..a[0].saturating_add(a[1]) {
                    let Ok(v) = cx.mem.load(addr, 1) else { break };
                    cx.mem.store(addr, 1, v ^ 42).ok();
                }
                Ok(Flow::Return(0))
            }
            2 => Ok(Flow::Return(0)),
            3 => Ok(Flow::Return(a[0].isqrt())),
            4 => Ok(Flow::Return(compare(cx.mem, a[0], a[1]))),
            // The unwind helper: the program ends if it returns 0.
            5 if a[0] == 0 => Ok(Flow::Throw(0)),
            5 => Ok(Flow::Return(a[0])),
            _ => NoEnv.helper(cx, id, a),
        }
    }

    fn kfunc(&mut self, cx: &mut Cx<'_>, index: u32, args: &[u64; 5]) -> CallResult {
        NoEnv.kfunc(cx, index, args)
    }

    /// In conformance tests a register call names a helper.
    fn call_register(&mut self, cx: &mut Cx<'_>, value: u64, args: &[u64; 5]) -> CallResult {
        self.helper(cx, value as u32, args)
    }

    fn resume(&mut self, cx: &mut Cx<'_>, resume: Resume, ret: u64) -> CallResult {
        NoEnv.resume(cx, resume, ret)
    }

    fn packet(&mut self, cx: &mut Cx<'_>, offset: i32, size: u8) -> Result<Option<u64>, Trap> {
        let Ok(offset) = u64::try_from(offset) else { return Ok(None) };
        if offset + u64::from(size) > self.len {
            return Ok(None);
        }
        let bytes = (0..u64::from(size)).map(|i| cx.mem.load(self.base + offset + i, 1).unwrap_or(0));
        Ok(Some(bytes.fold(0, |v, b| v << 8 | b)))
    }

    fn load_typed(&mut self, _: &mut Cx<'_>, _: u64, _: u8) -> Result<Option<u64>, Trap> {
        Ok(None)
    }

    fn exit(&mut self, _: &mut Cx<'_>, _: u64) -> Result<(), Trap> {
        Ok(())
    }
}

/// `strcmp` of two strings in guest memory.
fn compare(mem: &mut Memory, a: u64, b: u64) -> u64 {
    for i in 0..4096 {
        let (x, y) = (mem.load(a + i, 1).unwrap_or(0), mem.load(b + i, 1).unwrap_or(0));
        if x != y || x == 0 {
            return x.wrapping_sub(y);
        }
    }
    0
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("an odd number of hexadecimal digits".to_owned());
    }
    let parse = |p: &[u8; 2]| {
        let text = std::str::from_utf8(p).map_err(|e| e.to_string())?;
        u8::from_str_radix(text, 16).map_err(|e| format!("{text:?}: {e}"))
    };
    pairs.iter().map(parse).collect()
}

fn run() -> Result<u64, String> {
    let mut engine = "interp".to_owned();
    let mut memory = None;
    let mut program = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--engine" => engine = value()?,
            "--program" => program = Some(value()?),
            "--cpu_version" => drop(value()?),
            _ if arg.starts_with("--") => return Err(format!("unknown option {arg}")),
            _ if arg.is_empty() => {}
            _ => memory = Some(unhex(&arg)?),
        }
    }
    let engine = engine::by_name(&engine).ok_or(format!("no engine {engine:?} in this build"))?;
    let text = match program {
        Some(text) => text,
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|e| e.to_string())?;
            text
        }
    };
    let insns = Insn::decode_all(&unhex(&text)?).ok_or("the program is no whole number of instructions")?;
    let spec = CodeSpec { id: 1, name: "program", insns: &insns, lenient: true, ..CodeSpec::default() };
    let code = Arc::new(Code::new(spec).map_err(|e| e.to_string())?);
    let mut mem = Memory::default();
    let (mut base, mut len) = (0, 0);
    if let Some(bytes) = memory.filter(|m| !m.is_empty()) {
        len = bytes.len() as u64;
        let alloc = Alloc::new(Area::Context, RegionKind::Context, bytes.len() as u32, "memory");
        base = mem.alloc(alloc).map_err(|e| e.to_string())?;
        mem.poke(base, &bytes).map_err(|_| "memory does not fit".to_owned())?;
    }
    let stack = Execution::alloc_stack(&mut mem).map_err(|e| e.to_string())?;
    // Conformance programs may read what they have not written.
    let limits = Limits { uninit_stack: true, ..Limits::default() };
    let execution = Execution::new(code, [base, len, 0, 0, 0], stack, limits, &mut mem);
    match engine.run(execution, &mut mem, &mut TestEnv { base, len }).0 {
        Outcome::Returned(value) => Ok(value),
        Outcome::Fault(fault) => Err(fault.to_string()),
        Outcome::Unsupported(gap) => Err(gap.to_string()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(value) => {
            println!("{value:x}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
