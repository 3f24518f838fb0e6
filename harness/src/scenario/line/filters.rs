//! What expressions can do with numbers of the kernel's: `{key.ip|ksym}`, `{saddr|ipv4}`, `{stack('traces', id)|ksym}`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, MutexGuard, PoisonError};

use bpf_helpers_mock::Errno;
use minijinja::value::{Kwargs, Value as Any, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::{Shared, any};
use crate::bpf::Bpf;

pub(super) fn add(env: &mut Environment<'static>, bpf: &Shared) {
    env.add_filter("ipv4", ipv4);
    env.add_filter("ipv6", ipv6);
    env.add_filter("ntohs", |v: u64| (v as u16).swap_bytes());
    env.add_filter("ntohl", |v: u64| (v as u32).swap_bytes());
    env.add_filter("hex", |v: i128| if v < 0 { format!("-{:#x}", -v) } else { format!("{v:#x}") });
    env.add_filter("errno", errno);
    let shared = Arc::clone(bpf);
    env.add_filter("ksym", move |v: Any, options: Kwargs| -> Result<Any, Error> {
        let (module, offset) = flags(&options)?;
        each(&v, &|addr| Any::from(lock(&shared).ksym_with(addr, module, offset)))
    });
    let shared = Arc::clone(bpf);
    env.add_filter("sym", move |v: Any, pid: i64, options: Kwargs| -> Result<Any, Error> {
        let (module, offset) = flags(&options)?;
        // Only the lower half is a process: bcc's programs often keep the whole of `bpf_get_current_pid_tgid()`.
        let pid = i32::try_from(pid).unwrap_or((pid >> 32) as i32);
        each(&v, &|addr| Any::from(lock(&shared).sym(addr, pid, module, offset)))
    });
    let shared = Arc::clone(bpf);
    env.add_function("table", move |map: &str| table(&mut lock(&shared), map));
    let shared = Arc::clone(bpf);
    env.add_function("stack", move |map: &str, id: i64| stack(&mut lock(&shared), map, id));
}

fn lock(bpf: &Shared) -> MutexGuard<'_, Bpf> {
    bpf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The elements of a map, each with `key` and `value`.
fn table(bpf: &mut Bpf, map: &str) -> Result<Any, Error> {
    let table = bpf.table(map).map_err(|e| invalid(e.to_string()))?;
    let row = |e: &crate::table::Entry| Any::from_pairs([("key", any(&e.key)), ("value", any(&e.value))]);
    Ok((&table).into_iter().map(row).collect())
}

/// The addresses of a stack, the innermost first; none for the error that says that there is no such stack.
fn stack(bpf: &mut Bpf, map: &str, id: i64) -> Result<Any, Error> {
    // As programs keep it: 32 bits, with or without a sign.
    let id = i64::from(id as i32);
    if id < 0 {
        let missed = format!("[Missed stack: {}]", errno(id));
        let none = id == Errno::EFAULT.ret().cast_signed();
        return Ok(if none { Any::from(Vec::<Any>::new()) } else { Any::from(vec![Any::from(missed)]) });
    }
    let table = bpf.get_table(map).map_err(|e| invalid(e.to_string()))?.walk(id);
    Ok(table.map_err(|e| invalid(e.to_string()))?.into_iter().map(Any::from).collect())
}

/// An address, or each one of a list. Text is what somebody has made of an address already.
fn each(value: &Any, f: &dyn Fn(u64) -> Any) -> Result<Any, Error> {
    match value.kind() {
        ValueKind::String => Ok(value.clone()),
        ValueKind::Seq | ValueKind::Iterable => value.try_iter()?.map(|v| each(&v, f)).collect(),
        _ => {
            let addr = i128::try_from(value.clone()).map_err(|_| invalid("this is no address".to_owned()))?;
            Ok(f(addr as u64))
        }
    }
}

fn flags(options: &Kwargs) -> Result<(bool, bool), Error> {
    let flag = |name: &str| Ok::<_, Error>(options.get::<Option<bool>>(name)?.unwrap_or(false));
    let found = (flag("module")?, flag("offset")?);
    options.assert_all_used()?;
    Ok(found)
}

/// An address as it is in memory, in network byte order.
fn ipv4(addr: &Any) -> Result<String, Error> {
    if let Some(bytes) = addr.as_bytes().and_then(|b| b.first_chunk::<4>()) {
        return Ok(Ipv4Addr::from(*bytes).to_string());
    }
    let addr = u64::try_from(addr.clone())?;
    Ok(Ipv4Addr::from((addr as u32).to_le_bytes()).to_string())
}

/// An address of 16 bytes, as bytes or as a number that was read from them.
fn ipv6(addr: &Any) -> Result<String, Error> {
    if let Some(bytes) = addr.as_bytes() {
        let bytes = bytes.first_chunk::<16>().ok_or_else(|| invalid("this is not 16 bytes".to_owned()))?;
        return Ok(Ipv6Addr::from(*bytes).to_string());
    }
    let addr = if addr.kind() == ValueKind::Seq {
        // Two halves of 64 bits, or four words of 32.
        let parts: Vec<u64> = addr.try_iter()?.map(u64::try_from).collect::<Result<_, _>>()?;
        match parts.as_slice() {
            [lo, hi] => u128::from(*lo) | u128::from(*hi) << 64,
            [a, b, c, d] => [d, c, b, a].iter().fold(0, |n, w| n << 32 | u128::from(**w as u32)),
            _ => return Err(invalid("this is no IPv6 address".to_owned())),
        }
    } else {
        u128::try_from(addr.clone())?
    };
    Ok(Ipv6Addr::from(addr.to_le_bytes()).to_string())
}

/// The name of an error number of either sign; the number itself if it has none.
fn errno(v: i64) -> String {
    i32::try_from(v.unsigned_abs())
        .ok()
        .and_then(|n| Errno::new(n).name())
        .map_or_else(|| v.to_string(), str::to_owned)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
