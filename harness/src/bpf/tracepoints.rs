//! Tracepoints by name: row 32 of the reference guide.

use bpf_vm_shim::btf::{Btf, Kind};
use bpf_vm_shim::object::AttachKind;

use super::kprobes::whole;
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

    /// As [`Bpf::attach_tracepoint`], to every tracepoint whose `category:event` the whole of a regular expression matches
    /// (bcc's `tp_re`), and says how many these are.
    ///
    /// # Errors
    /// As there; if it is no regular expression; if nothing is known of the kernel's tracepoints. No match is no error.
    pub fn attach_tracepoint_re(&mut self, tp_re: &str, fn_name: &str) -> Result<usize, Error> {
        let re = whole(tp_re)?;
        let names = self.tracepoints.names();
        if names.is_empty() {
            return Err(Error::Invalid(format!(
                "'{tp_re}' cannot be looked up: nothing is known of this kernel's tracepoints; give the builder a \
                 profile, or name them one by one"
            )));
        }
        self.loaded_program(fn_name)?;
        let names: Vec<_> =
            names.into_iter().map(|(c, e)| format!("{c}:{e}")).filter(|n| re.is_match(n)).collect();
        for name in &names {
            self.attach_tracepoint(name, fn_name)?;
        }
        Ok(names.len())
    }

    /// Whether the kernel has a tracepoint: its profile lists it, or its types have it and no other category does.
    fn check_tracepoint(&self, category: &str, event: &str) -> Result<(), Error> {
        if self.tracepoints.find(category, event).is_some() {
            return Ok(());
        }
        let written = format!("{category}:{event}");
        let names = self.tracepoints.names();
        if names.is_empty() {
            // System calls have theirs without types of their own.
            let syscall = ["sys_enter_", "sys_exit_"].iter().any(|p| event.starts_with(p));
            return if category == "syscalls" && syscall { Ok(()) } else { self.check_raw(event, &written) };
        }
        let elsewhere: Vec<String> =
            names.iter().filter(|(_, e)| e == event).map(|(c, e)| format!("'{c}:{e}'")).collect();
        if !elsewhere.is_empty() {
            let known = format!("; did you mean {}?", elsewhere.join(", "));
            return Err(Error::NotFound { what: "tracepoint", name: written, known });
        }
        let typed = |btf: &Btf| btf.find(Kind::Typedef, &format!("btf_trace_{event}")).is_some();
        if category != "syscalls" && self.machine.kernel.profile.btf.as_ref().is_some_and(typed) {
            return Ok(());
        }
        let all: Vec<String> = names.iter().map(|(c, e)| format!("{c}:{e}")).collect();
        Err(Error::unknown("tracepoint", &written, all.iter().map(String::as_str)))
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
