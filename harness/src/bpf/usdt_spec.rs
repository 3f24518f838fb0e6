//! What libbpf tells programs about USDT arguments: one entry of `__bpf_usdt_specs` for each list of arguments, whose number
//! is the attach cookie (`tools/lib/bpf/usdt.c`, `usdt.bpf.h`). Its layout is the object's own: libbpf 1.7 has made it
//! larger, and objects of both layouts are about.

use std::sync::Arc;

use super::Bpf;
use super::links::Link;
use crate::error::Error;
use crate::symbols::{Binary, Process};
use crate::usdt::{ArgKind, ArgSpec, Location};
use crate::value::Value;

/// The map of specifications that `usdt.bpf.h` defines.
const SPECS: &str = "__bpf_usdt_specs";
/// The map of numbers of specifications by address, for kernels without attach cookies.
const SPEC_IDS: &str = "__bpf_usdt_ip_to_spec_id";

/// `enum __bpf_usdt_arg_type`.
const ARG_CONST: u64 = 0;
const ARG_REG: u64 = 1;
const ARG_REG_DEREF: u64 = 2;
const ARG_SIB: u64 = 3;

impl Bpf {
    /// Writes a place's arguments for programs that read them as libbpf's do, and gives the cookie that leads there. 0 if
    /// the objects have no such map: their programs know their arguments in other ways. `None` if the kernel has no
    /// cookies, and the address leads there.
    pub(super) fn usdt_spec(
        &mut self,
        binary: &Arc<Binary>,
        place: &Location,
        link: &Link,
    ) -> Result<Option<u64>, Error> {
        if self.machine.map_by_name(SPECS).is_none() {
            return Ok(Some(0));
        }
        let id = match self.host.usdt_specs.iter().position(|known| *known == place.args) {
            Some(id) => id,
            None => self.write_spec(&place.args)?,
        };
        let has_cookies = match &self.kernel {
            Some(kernel) => kernel.has_cookies(),
            None => self.machine.kernel.profile.bpf_cookie,
        };
        if has_cookies || self.machine.map_by_name(SPEC_IDS).is_none() {
            return Ok(Some(id as u64));
        }
        let ip = self.usdt_ip(binary, place.addr, link)?;
        self.map(SPEC_IDS)?.update(ip, id as u64)?;
        Ok(None)
    }

    fn write_spec(&mut self, args: &[ArgSpec]) -> Result<usize, Error> {
        let id = self.host.usdt_specs.len();
        let list: Result<Vec<_>, Error> = args.iter().map(arg).collect();
        let members = [
            ("args", Value::List(list?)),
            ("usdt_cookie", Value::Uint(0)),
            ("arg_cnt", Value::Uint(args.len() as u64)),
        ];
        let spec = Value::Struct(members.map(|(name, v)| (name.to_owned(), v)).to_vec());
        let written = self.map(SPECS)?.update(id as u64, spec);
        match (written, args.iter().find(|a| is_indexed(a))) {
            (Ok(()), _) => {}
            (Err(Error::Value { .. }), Some(indexed)) => {
                return Err(Error::Invalid(format!(
                    "USDT argument '{indexed}': the usdt.bpf.h that the object was built with has no index registers (libbpf \
                     1.7 has)"
                )));
            }
            (Err(e), _) => return Err(e),
        }
        self.host.usdt_specs.push(args.to_vec());
        Ok(id)
    }

    /// The address of a place as the program sees it.
    fn usdt_ip(&self, binary: &Arc<Binary>, addr: u64, link: &Link) -> Result<u64, Error> {
        let Some(kernel) = &self.kernel else {
            return Ok(self.user_place(link, link.pid.unwrap_or(0)).map_or(addr, |place| place.addr));
        };
        // At a made-up event it is the test's own, and firing says so.
        if kernel.makes_up_events() || !binary.is_position_independent() {
            return Ok(addr);
        }
        let Some(pid) = link.pid else {
            return Err(Error::Invalid(format!(
                "this kernel has no attach cookies (Linux 5.15), so programs of libbpf's know a probe by its address, and \
                 '{}' has one in each process: attach with `Usdt::from_pid()`",
                binary.path()
            )));
        };
        let mapped = Process::from_pid(pid)?.address(binary.path(), addr);
        mapped.ok_or_else(|| Error::Invalid(format!("process {pid} has not mapped '{}'", binary.path())))
    }
}

fn is_indexed(spec: &ArgSpec) -> bool {
    matches!(spec.kind, ArgKind::Memory { index: Some(_), .. })
}

/// `struct __bpf_usdt_arg_spec` of an argument (`parse_usdt_arg`).
fn arg(spec: &ArgSpec) -> Result<Value, Error> {
    let cannot =
        |why: &str| Err(Error::Invalid(format!("USDT argument '{spec}': libbpf cannot express {why}")));
    let mut indexed = Vec::new();
    let (kind, value, register) = match &spec.kind {
        ArgKind::Const(value) => (ARG_CONST, value.cast_unsigned(), 0),
        ArgKind::Register(r) if r.shift > 0 => return cannot("the second byte of a register"),
        ArgKind::Register(r) => (ARG_REG, 0, r.offset),
        ArgKind::Memory { symbol: Some(_), .. } => return cannot("a symbol"),
        ArgKind::Memory { base: Some(base), index: Some(index), scale, disp, .. } => {
            indexed.push(("idx_reg_off", Value::Uint(index.offset.into())));
            indexed.push(("scale_bitshift", Value::Uint(scale.trailing_zeros().into())));
            (ARG_SIB, disp.cast_unsigned(), base.offset)
        }
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
    let members = members.into_iter().chain(indexed);
    Ok(Value::Struct(members.map(|(name, v)| (name.to_owned(), v)).collect()))
}
