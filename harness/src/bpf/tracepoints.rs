//! Tracepoints by name: row 32 of the reference guide.

use bpf_vm_shim::btf::Kind;
use bpf_vm_shim::object::AttachKind;

use super::links::Link;
use super::{Bpf, Point};
use crate::error::Error;

impl Bpf {
    /// Lets a program run whenever a tracepoint fires, given as `category:event`.
    ///
    /// # Errors
    /// If it is written in another way, the kernel has no such tracepoint (unless nothing is known of its types), there
    /// is no such program, or it is of another type.
    pub fn attach_tracepoint(&mut self, tp: &str, fn_name: &str) -> Result<(), Error> {
        let point = tracepoint(tp)?;
        if let Point::Tracepoint(category, event) = &point {
            self.check_tracepoint(category, event)?;
        }
        self.link(fn_name, &point, Link::default())
    }

    /// Takes all programs away from a tracepoint.
    ///
    /// # Errors
    /// If there are none.
    pub fn detach_tracepoint(&mut self, tp: &str) -> Result<(), Error> {
        let point = tracepoint(tp)?;
        self.unlink(&point.to_string(), None, |a| {
            a.target.kind == AttachKind::Tracepoint && point.concerns(&a.target)
        })
    }

    /// Lets a program run whenever a tracepoint fires, with its raw arguments.
    ///
    /// # Errors
    /// As [`Bpf::attach_tracepoint`].
    pub fn attach_raw_tracepoint(&mut self, tp: &str, fn_name: &str) -> Result<(), Error> {
        self.check_raw(tp, tp)?;
        self.link(fn_name, &Point::RawTp(tp.to_owned()), Link::default())
    }

    /// Takes all programs away that have a tracepoint's raw arguments.
    ///
    /// # Errors
    /// If there are none.
    pub fn detach_raw_tracepoint(&mut self, tp: &str) -> Result<(), Error> {
        let point = Point::RawTp(tp.to_owned());
        self.unlink(&point.to_string(), None, |a| {
            a.target.kind == AttachKind::RawTracepoint && point.concerns(&a.target)
        })
    }

    /// Whether the kernel has a tracepoint. System calls have theirs without types of their own.
    fn check_tracepoint(&self, category: &str, event: &str) -> Result<(), Error> {
        let syscall = ["sys_enter_", "sys_exit_"].iter().any(|p| event.starts_with(p));
        let listed = self.tracepoints.find(category, event).is_some();
        if listed || category == "syscalls" && syscall {
            return Ok(());
        }
        self.check_raw(event, &format!("{category}:{event}"))
    }

    fn check_raw(&self, event: &str, written: &str) -> Result<(), Error> {
        let Some(btf) = &self.machine.kernel.profile.btf else { return Ok(()) };
        let of = |event: &str| btf.find(Kind::Typedef, &format!("btf_trace_{event}")).is_some();
        // A module's types are not among these, and types that an object brings along have no tracepoints at all.
        if of(event) || !of("sched_switch") {
            return Ok(());
        }
        Err(Error::not_found("tracepoint", written, []))
    }
}

fn tracepoint(tp: &str) -> Result<Point, Error> {
    match tp.split_once(':') {
        Some((category, event)) if !category.is_empty() && !event.is_empty() && !event.contains(':') => {
            Ok(Point::Tracepoint(category.to_owned(), event.to_owned()))
        }
        _ => Err(Error::Invalid(format!("'{tp}' is no tracepoint: it is written 'category:event'"))),
    }
}
