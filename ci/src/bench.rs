//! `cargo xtask bench`: speeds as ratios within one run, because machines are noisy.

use std::sync::Arc;
use std::time::Instant;

use bpf_vm_shim::env::{CallResult, Cx, Env, Flow, NoEnv, Resume};
use bpf_vm_shim::exec::{Code, CodeSpec, Execution, Limits, Outcome};
use bpf_vm_shim::fault::Trap;
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::mem::{Alloc, Area, Memory, RegionKind};

const ROUNDS: u64 = 1_000_000;
const REPEATS: usize = 15;

fn insn(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { opcode, dst, src, off, imm }
}

/// A loop of `body`, run [`ROUNDS`] times; R9 counts, R6 holds the context.
fn looped(body: &[Insn]) -> Vec<Insn> {
    let mut out = vec![
        insn(0xbf, 6, 1, 0, 0),
        insn(0xb7, 9, 0, 0, ROUNDS as i32),
        insn(0xb7, 0, 0, 0, 1),
        insn(0xb7, 7, 0, 0, 3),
        insn(0xb7, 1, 0, 0, 1),
        insn(0xb7, 2, 0, 0, 2),
        insn(0xb7, 3, 0, 0, 3),
        insn(0xb7, 4, 0, 0, 4),
        insn(0xb7, 5, 0, 0, 5),
        insn(0x7b, 10, 7, -8, 0),
    ];
    out.extend_from_slice(body);
    out.push(insn(0x07, 9, 0, 0, -1));
    out.push(insn(0x55, 9, 0, -(body.len() as i16 + 2), 0));
    out.push(insn(0x95, 0, 0, 0, 0));
    out
}

/// The loops that are compared: name and body.
fn loops() -> Vec<(&'static str, Vec<Insn>)> {
    vec![
        (
            "alu",
            vec![
                insn(0x0f, 0, 7, 0, 0),
                insn(0x27, 0, 0, 0, 31),
                insn(0xaf, 0, 9, 0, 0),
                insn(0x77, 0, 0, 0, 3),
                insn(0x0c, 7, 0, 0, 0),
                insn(0x57, 7, 0, 0, 0xff),
            ],
        ),
        (
            // Every access waits for the one before it: a value goes through memory and back.
            "stack, chained",
            vec![
                insn(0x79, 1, 10, -8, 0),
                insn(0x0f, 0, 1, 0, 0),
                insn(0x7b, 10, 0, -16, 0),
                insn(0x61, 2, 10, -16, 0),
                insn(0x0f, 0, 2, 0, 0),
                insn(0x63, 10, 0, -24, 0),
            ],
        ),
        (
            // An event put together on the stack, and spilled values read back.
            "stack, event",
            vec![
                insn(0x7b, 10, 9, -16, 0),
                insn(0x63, 10, 7, -24, 0),
                insn(0x79, 1, 10, -8, 0),
                insn(0x0f, 0, 1, 0, 0),
                insn(0x7b, 10, 7, -32, 0),
                insn(0x79, 2, 10, -16, 0),
            ],
        ),
        (
            "context, chained",
            vec![
                insn(0x79, 1, 6, 0, 0),
                insn(0x0f, 0, 1, 0, 0),
                insn(0x7b, 6, 0, 8, 0),
                insn(0x61, 2, 6, 8, 0),
                insn(0x0f, 0, 2, 0, 0),
                insn(0x63, 6, 0, 16, 0),
            ],
        ),
        (
            "context, sum",
            vec![
                insn(0x79, 1, 6, 0, 0),
                insn(0x0f, 0, 1, 0, 0),
                insn(0x79, 1, 6, 8, 0),
                insn(0x0f, 0, 1, 0, 0),
                insn(0x79, 1, 6, 16, 0),
                insn(0x0f, 0, 1, 0, 0),
            ],
        ),
        (
            // Fields of the context read and summed, one written.
            "context, fields",
            vec![
                insn(0x61, 1, 6, 0, 0),
                insn(0x61, 2, 6, 4, 0),
                insn(0x0f, 0, 1, 0, 0),
                insn(0x79, 3, 6, 8, 0),
                insn(0xaf, 0, 2, 0, 0),
                insn(0x63, 6, 3, 16, 0),
            ],
        ),
        ("helper, bare", vec![insn(0x85, 0, 0, 0, 5)]),
        ("helper, 1 argument", vec![insn(0xbf, 1, 9, 0, 0), insn(0x85, 0, 0, 0, 5)]),
        (
            // The moves and the addition of a call that takes a pointer to the stack and two values.
            "helper, pointer",
            vec![
                insn(0xbf, 1, 9, 0, 0),
                insn(0x07, 1, 0, 0, -8),
                insn(0xb7, 2, 0, 0, 8),
                insn(0xbf, 3, 7, 0, 0),
                insn(0x85, 0, 0, 0, 5),
                insn(0x0f, 7, 0, 0, 0),
            ],
        ),
        (
            "helper, 5 arguments",
            vec![
                insn(0xbf, 1, 9, 0, 0),
                insn(0xb7, 2, 0, 0, 2),
                insn(0xb7, 3, 0, 0, 3),
                insn(0xb7, 4, 0, 0, 4),
                insn(0xb7, 5, 0, 0, 5),
                insn(0x85, 0, 0, 0, 5),
            ],
        ),
    ]
}

struct OneHelper;

impl Env for OneHelper {
    fn helper(&mut self, _: &mut Cx<'_>, _: u32, args: &[u64; 5]) -> CallResult {
        Ok(Flow::Return(sum(args[0], args[1], args[2], args[3], args[4])))
    }
    fn kfunc(&mut self, cx: &mut Cx<'_>, index: u32, args: &[u64; 5]) -> CallResult {
        NoEnv.kfunc(cx, index, args)
    }
    fn resume(&mut self, cx: &mut Cx<'_>, resume: Resume, ret: u64) -> CallResult {
        NoEnv.resume(cx, resume, ret)
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

fn sum(a: u64, b: u64, c: u64, d: u64, e: u64) -> u64 {
    a.wrapping_add(b) ^ c.wrapping_add(d) ^ e
}

/// The least time of some runs: what noise cannot make shorter.
struct Best {
    least: f64,
    result: u64,
}

impl Default for Best {
    fn default() -> Self {
        Self { least: f64::INFINITY, result: 0 }
    }
}

impl Best {
    fn time(&mut self, f: impl FnOnce() -> u64) {
        let start = Instant::now();
        self.result = f();
        self.least = self.least.min(start.elapsed().as_secs_f64());
    }
}

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    println!("{:<20} {:>12} {:>12} {:>8}", "loop", "interp Mi/s", "rbpf Mi/s", "ratio");
    for (name, body) in loops() {
        let insns = looped(&body);
        let count = 10 + ROUNDS * (body.len() as u64 + 2) + 1;
        let mut mem = Memory::default();
        let stack = Execution::alloc_stack(&mut mem).map_err(|e| e.to_string())?;
        let ctx = mem
            .alloc(Alloc::new(Area::Context, RegionKind::Context, 64, "ctx"))
            .map_err(|e| e.to_string())?;
        let spec = CodeSpec { id: 1, name, insns: &insns, ..CodeSpec::default() };
        let code = Arc::new(Code::new(spec).map_err(|e| e.to_string())?);
        let mut run = || {
            mem.poke(ctx, &[0; 64]).ok();
            let mut run =
                Execution::new(Arc::clone(&code), [ctx, 64, 0, 0, 0], stack, Limits::default(), &mut mem);
            match run.run(&mut mem, &mut OneHelper) {
                Outcome::Returned(v) => v,
                _ => u64::MAX,
            }
        };
        let bytes: Vec<u8> = insns.iter().flat_map(|i| i.to_bytes()).collect();
        let mut vm = rbpf::EbpfVmRaw::new(Some(&bytes)).map_err(|e| e.to_string())?;
        vm.register_helper(5, sum).map_err(|e| e.to_string())?;
        // In turns, so that what else the machine does concerns both.
        let (mut ours, mut theirs) = (Best::default(), Best::default());
        for _ in 0..REPEATS {
            ours.time(&mut run);
            theirs.time(|| vm.execute_program(&mut [0; 64]).unwrap_or(u64::MAX));
        }
        let (a, b) = (ours.result, theirs.result);
        if a != b {
            return Err(format!("{name}: the engines disagree: {a:#x} and {b:#x}"));
        }
        let rate = |t: f64| count as f64 / t / 1e6;
        println!(
            "{name:<20} {:>12.0} {:>12.0} {:>8.2}",
            rate(ours.least),
            rate(theirs.least),
            theirs.least / ours.least
        );
    }
    setup()
}

/// A two-instruction program with its set-up.
fn setup() -> Result<(), String> {
    const RUNS: u32 = 1_000_000;
    let insns = [insn(0xb7, 0, 0, 0, 1), insn(0x95, 0, 0, 0, 0)];
    let mut mem = Memory::default();
    let stack = Execution::alloc_stack(&mut mem).map_err(|e| e.to_string())?;
    let spec = CodeSpec { id: 1, name: "two", insns: &insns, ..CodeSpec::default() };
    let code = Arc::new(Code::new(spec).map_err(|e| e.to_string())?);
    let mut best = Best::default();
    let mut runs = || {
        let mut last = 0;
        for _ in 0..RUNS {
            let mut run = Execution::new(Arc::clone(&code), [0; 5], stack, Limits::default(), &mut mem);
            if let Outcome::Returned(v) = run.run(&mut mem, &mut NoEnv) {
                last = v;
            }
        }
        last
    };
    for _ in 0..REPEATS {
        best.time(&mut runs);
    }
    println!("two instructions with set-up: {:.0} ns", best.least * 1e9 / f64::from(RUNS));
    Ok(())
}
