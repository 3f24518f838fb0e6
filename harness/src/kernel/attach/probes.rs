//! Probes of the kernel and of binaries, and perf events.

use std::os::fd::AsRawFd;

use bpf_vm_shim::object::AttachPoint;
use libbpf_rs::{
    KprobeMultiOpts, KprobeOpts, Link, PerfEventOpts, ProgramAttachType, ProgramMut, RawTracepointOpts,
    TracepointOpts, UprobeMultiOpts, UprobeOpts,
};

use super::super::counters::{Event, online_cpus};
use super::super::indirect;
use super::{Held, Refused};
use crate::bpf::Attachment;
use crate::symbols::Binary;

pub(super) fn kprobe(
    prog: &ProgramMut<'_>,
    name: &str,
    ret: bool,
    cookie: u64,
) -> Result<Link, libbpf_rs::Error> {
    match cookie {
        0 => prog.attach_kprobe(ret, name),
        cookie => prog.attach_kprobe_with_opts(ret, name, KprobeOpts { cookie, ..KprobeOpts::default() }),
    }
}

/// A program for many functions at once, at one of them.
pub(super) fn kprobe_multi(
    prog: &ProgramMut<'_>,
    name: &str,
    retprobe: bool,
    cookie: u64,
) -> Result<Link, libbpf_rs::Error> {
    let cookies = if cookie == 0 { Vec::new() } else { vec![cookie] };
    let symbols = vec![name.to_owned()];
    prog.attach_kprobe_multi_with_opts(KprobeMultiOpts { symbols, cookies, retprobe, ..Default::default() })
}

pub(super) fn tracepoint(
    prog: &ProgramMut<'_>,
    category: &str,
    name: &str,
    cookie: u64,
) -> Result<Link, libbpf_rs::Error> {
    let category = libbpf_rs::TracepointCategory::Custom(category.to_owned());
    match cookie {
        0 => prog.attach_tracepoint(category, name),
        cookie => {
            let opts = TracepointOpts { cookie, ..TracepointOpts::default() };
            prog.attach_tracepoint_with_opts(category, name, opts)
        }
    }
}

pub(super) fn raw_tracepoint(
    prog: &ProgramMut<'_>,
    name: &str,
    cookie: u64,
) -> Result<Link, libbpf_rs::Error> {
    match cookie {
        0 => prog.attach_raw_tracepoint(name),
        cookie => {
            let opts = RawTracepointOpts { cookie, ..RawTracepointOpts::default() };
            prog.attach_raw_tracepoint_with_opts(name, opts)
        }
    }
}

/// A uprobe at an address of a file, with the counter of a USDT probe's users if it has one.
pub(super) fn at_address(prog: &ProgramMut<'_>, a: &Attachment, ret: bool) -> Result<Link, Refused> {
    let Some(site) = &a.link.user else { return Err(Refused::Here("no place is known".to_owned())) };
    let binary = Binary::from_path(&site.path).map_err(|e| {
        Refused::Here(format!("{e}; a binary that only the test has declared has no instructions to probe"))
    })?;
    let semaphore = a.link.usdt.as_ref().and_then(|s| s.place.semaphore);
    let counter = semaphore.map(|addr| binary.file_offset(addr) as usize);
    let opts = UprobeOpts {
        ref_ctr_offset: counter.unwrap_or(0),
        cookie: a.cookie,
        retprobe: ret,
        ..UprobeOpts::default()
    };
    let pid = a.link.pid.map_or(-1, |p| p as i32);
    let offset = match &a.target.point {
        AttachPoint::Binary { function: Some(function), offset: 0, .. } => {
            indirect::offset_of(&site.path, function).map_err(Refused::Here)?
        }
        _ => None,
    };
    let offset = offset.unwrap_or_else(|| binary.file_offset(site.addr));
    // libbpf loads programs of sections `usdt` for many places at once, where the kernel can: a place is then one of many.
    if matches!(prog.attach_type(), ProgramAttachType::TraceUprobeMulti) {
        let opts = UprobeMultiOpts {
            offsets: vec![offset as usize],
            ref_ctr_offsets: counter.into_iter().collect(),
            cookies: vec![a.cookie],
            retprobe: ret,
            ..UprobeMultiOpts::default()
        };
        return Ok(prog.attach_uprobe_multi_with_opts(pid, &site.path, "", opts)?);
    }
    Ok(prog.attach_uprobe_with_opts(pid, &site.path, offset as usize, opts)?)
}

/// A perf event on every CPU that is asked for.
pub(super) fn perf_event(prog: &ProgramMut<'_>, a: &Attachment) -> Result<Held, Refused> {
    let Some(spec) = &a.link.perf else {
        return Err(Refused::Here("which event is not said: use `attach_perf_event()`".to_owned()));
    };
    let (ev_type, ev_config, sample, is_frequency) = spec.parts();
    let event = Event { ev_type, ev_config, sample, is_frequency };
    let cpus: Vec<u32> = match a.link.cpu {
        Some(cpu) => vec![cpu],
        None => online_cpus(),
    };
    let mut held = Held { links: Vec::new(), raw: None, other: None };
    for cpu in cpus {
        let fd = event
            .open(a.link.pid, Some(cpu))
            .map_err(|e| Refused::Here(format!("the event cannot be opened on CPU {cpu}: {e}")))?;
        let opts = PerfEventOpts { cookie: a.cookie, ..PerfEventOpts::default() };
        let raw = fd.as_raw_fd();
        let link = if a.cookie == 0 {
            prog.attach_perf_event(raw)
        } else {
            prog.attach_perf_event_with_opts(raw, opts)
        };
        held.links.push(link?);
        // The link closes the descriptor that it was given.
        std::mem::forget(fd);
    }
    Ok(held)
}
