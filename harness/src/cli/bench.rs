//! `bpf-harness bench`: how fast the interpreter is here, on small loops.

use std::io::{self, Write};
use std::time::Instant;

use bpf_vm_shim::env::NoEnv;
use bpf_vm_shim::exec::{Code, CodeSpec, Execution, Function, Limits, Outcome};
use bpf_vm_shim::isa::Insn;
use bpf_vm_shim::mem::Memory;
use serde::Serialize;

use super::{Format, Status, json_line};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Loop iterations
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    iterations: u32,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    insns: u64,
    seconds: f64,
    million_insns_per_second: f64,
}

pub(super) fn main(args: &Args, out: &mut dyn Write) -> io::Result<Status> {
    for (name, body) in bodies() {
        let row = measure(name, &body, args.iterations).map_err(io::Error::other)?;
        match args.format {
            Format::Json => json_line(out, &row)?,
            Format::Text => {
                writeln!(out, "{name:<8} {:>8.1} M instructions/s", row.million_insns_per_second)?;
            }
        }
    }
    Ok(Status::Ok)
}

const fn insn(opcode: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { opcode, dst, src, off, imm }
}

/// Loop bodies; r1 counts down and r0 is the result.
fn bodies() -> Vec<(&'static str, Vec<Insn>)> {
    let alu = vec![
        insn(0x07, 0, 0, 0, 3),  // r0 += 3
        insn(0xaf, 0, 1, 0, 0),  // r0 ^= r1
        insn(0x67, 0, 0, 0, 1),  // r0 <<= 1
        insn(0x0f, 0, 1, 0, 0),  // r0 += r1
        insn(0x04, 0, 0, 0, 7),  // w0 += 7
        insn(0x27, 0, 0, 0, 31), // r0 *= 31
    ];
    let stack = vec![
        insn(0x7b, 10, 1, -8, 0),  // *(u64 *)(r10 - 8) = r1
        insn(0x79, 2, 10, -8, 0),  // r2 = *(u64 *)(r10 - 8)
        insn(0x63, 10, 2, -16, 0), // *(u32 *)(r10 - 16) = w2
        insn(0x61, 3, 10, -16, 0), // w3 = *(u32 *)(r10 - 16)
        insn(0x0f, 0, 3, 0, 0),    // r0 += r3
    ];
    vec![("alu", alu), ("stack", stack)]
}

fn measure(name: &'static str, body: &[Insn], iterations: u32) -> Result<Row, String> {
    let mut insns = vec![
        insn(0xb7, 0, 0, 0, 0),                                             // r0 = 0
        insn(0xb7, 1, 0, 0, i32::try_from(iterations).unwrap_or(i32::MAX)), // r1 = iterations
    ];
    insns.extend_from_slice(body);
    insns.push(insn(0x07, 1, 0, 0, -1)); // r1 += -1
    insns.push(insn(0x55, 1, 0, -(body.len() as i16) - 2, 0)); // if r1 != 0 goto the body
    insns.push(insn(0x95, 0, 0, 0, 0)); // exit
    let spec = CodeSpec {
        id: 0,
        name,
        insns: &insns,
        funcs: vec![Function { name: name.into(), insn: 0, global: false }],
        poisoned: std::collections::BTreeMap::new(),
        exception_cb: None,
        lenient: false,
        ..CodeSpec::default()
    };
    let code = std::sync::Arc::new(Code::new(spec).map_err(|e| e.to_string())?);
    let mut mem = Memory::default();
    let stack = Execution::alloc_stack(&mut mem).map_err(|e| e.to_string())?;
    let limits = Limits { insns: u64::MAX, ..Limits::default() };
    let mut execution = Execution::new(code, [0; 5], stack, limits, &mut mem);
    let start = Instant::now();
    let outcome = execution.run(&mut mem, &mut NoEnv);
    let seconds = start.elapsed().as_secs_f64();
    match outcome {
        Outcome::Returned(_) => {}
        other => return Err(format!("{name}: {other:?}")),
    }
    let insns = execution.executed();
    Ok(Row { name, insns, seconds, million_insns_per_second: insns as f64 / seconds / 1e6 })
}
