//! What libbpf tells programs about USDT arguments: one entry of `__bpf_usdt_specs` for each place of a probe, whose number
//! is the attach cookie (`tools/lib/bpf/usdt.c`, `usdt.bpf.h`).

use super::Bpf;
use crate::error::Error;
use crate::usdt::{ArgKind, ArgSpec, Location};
use crate::value::Value;

/// The map of specifications that `usdt.bpf.h` defines.
const SPECS: &str = "__bpf_usdt_specs";

/// `enum __bpf_usdt_arg_type`.
const ARG_CONST: u64 = 0;
const ARG_REG: u64 = 1;
const ARG_REG_DEREF: u64 = 2;

impl Bpf {
    /// Writes a place's arguments for programs that read them as libbpf's do, and gives the cookie that leads there. 0 if
    /// the objects have no such map: their programs know their arguments in other ways.
    pub(super) fn usdt_spec(&mut self, place: &Location) -> Result<u64, Error> {
        if self.machine.map_by_name(SPECS).is_none() {
            return Ok(0);
        }
        let id = self.host.usdt_specs;
        let args: Result<Vec<_>, Error> = place.args.iter().map(arg).collect();
        let members = [
            ("args", Value::List(args?)),
            ("usdt_cookie", Value::Uint(0)),
            ("arg_cnt", Value::Uint(place.args.len() as u64)),
        ];
        let spec = Value::Struct(members.map(|(name, v)| (name.to_owned(), v)).to_vec());
        self.map(SPECS)?.update(id, spec)?;
        self.host.usdt_specs += 1;
        Ok(id.into())
    }
}

/// `struct __bpf_usdt_arg_spec` of an argument (`parse_usdt_arg`).
fn arg(spec: &ArgSpec) -> Result<Value, Error> {
    let cannot =
        |why: &str| Err(Error::Invalid(format!("USDT argument '{spec}': libbpf cannot express {why}")));
    let (kind, value, register) = match &spec.kind {
        ArgKind::Const(value) => (ARG_CONST, value.cast_unsigned(), 0),
        ArgKind::Register(r) if r.shift > 0 => return cannot("the second byte of a register"),
        ArgKind::Register(r) => (ARG_REG, 0, r.offset),
        ArgKind::Memory { symbol: Some(_), .. } => return cannot("a symbol"),
        ArgKind::Memory { index: Some(_), .. } => return cannot("an index register"),
        ArgKind::Memory { base: Some(base), disp, .. } => (ARG_REG_DEREF, disp.cast_unsigned(), base.offset),
        ArgKind::Memory { base: None, .. } => return cannot("an address without a register"),
    };
    let members = [
        ("val_off", Value::Uint(value)),
        ("arg_type", Value::Uint(kind)),
        ("reg_off", Value::Uint(register.into())),
        ("arg_signed", Value::Bool(spec.signed)),
        ("arg_bitshift", Value::Uint(64 - 8 * u64::from(spec.size))),
    ];
    Ok(Value::Struct(members.map(|(name, v)| (name.to_owned(), v)).to_vec()))
}
