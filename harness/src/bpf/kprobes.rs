//! Kernel functions by name and pattern: rows 30, 31 of the reference guide.

use std::collections::BTreeSet;

use bpf_vm_shim::btf::Kind;
use bpf_vm_shim::object::{AttachPoint, AttachTarget};
use regex::Regex;

use super::links::Link;
use super::{Bpf, Point};
use crate::error::Error;

impl Bpf {
    /// Lets a program run whenever a kernel function is entered: `vfs_read`, or `vfs_read+0x10` for a place in it.
    ///
    /// A function may have several programs, of which the one that was attached last runs first, and a program several
    /// functions. As in the kernel, a program that is attached to a function twice runs twice.
    ///
    /// ```
    /// use bpf_harness::Bpf;
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// bpf.attach_kprobe("vfs_read", "count")?;
    /// bpf.attach_kprobe("vfs_write", "count")?;
    /// bpf.kprobe("vfs_read").fire()?;
    /// assert_eq!(bpf.num_open_kprobes(), 2);
    /// bpf.detach_kprobe("vfs_read")?;
    /// assert!(bpf.kprobe("vfs_read").fire().is_err());
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the kernel has no such function (unless nothing is known of its functions), there is no such program, or it is
    /// of another type.
    pub fn attach_kprobe(&mut self, event: &str, fn_name: &str) -> Result<(), Error> {
        self.attach_function(event, fn_name, false)
    }

    /// Lets a program run whenever a kernel function returns.
    ///
    /// # Errors
    /// As [`Bpf::attach_kprobe`], and if a place inside the function is named.
    pub fn attach_kretprobe(&mut self, event: &str, fn_name: &str) -> Result<(), Error> {
        self.attach_function(event, fn_name, true)
    }

    /// As [`Bpf::attach_kprobe`], to every function that the whole of a regular expression matches (bcc's `event_re`),
    /// and says how many these are.
    ///
    /// # Errors
    /// As there; if it is no regular expression; if nothing is known of the kernel's functions. No match is no error.
    pub fn attach_kprobe_re(&mut self, event_re: &str, fn_name: &str) -> Result<usize, Error> {
        self.attach_functions(event_re, fn_name, false)
    }

    /// As [`Bpf::attach_kprobe_re`], for returns.
    ///
    /// # Errors
    /// As there.
    pub fn attach_kretprobe_re(&mut self, event_re: &str, fn_name: &str) -> Result<usize, Error> {
        self.attach_functions(event_re, fn_name, true)
    }

    /// Takes all programs away from a kernel function's entry.
    ///
    /// # Errors
    /// If there are none.
    pub fn detach_kprobe(&mut self, event: &str) -> Result<(), Error> {
        self.detach_function(event, None, false)
    }

    /// Takes one program away from a kernel function's entry.
    ///
    /// # Errors
    /// If it is not attached there.
    pub fn detach_kprobe_fn(&mut self, event: &str, fn_name: &str) -> Result<(), Error> {
        self.detach_function(event, Some(fn_name), false)
    }

    /// Takes all programs away from a kernel function's return.
    ///
    /// # Errors
    /// If there are none.
    pub fn detach_kretprobe(&mut self, event: &str) -> Result<(), Error> {
        self.detach_function(event, None, true)
    }

    /// Takes one program away from a kernel function's return.
    ///
    /// # Errors
    /// If it is not attached there.
    pub fn detach_kretprobe_fn(&mut self, event: &str, fn_name: &str) -> Result<(), Error> {
        self.detach_function(event, Some(fn_name), true)
    }

    /// The kernel's functions whose names a regular expression matches as a whole, sorted (bcc's
    /// `get_kprobe_functions`).
    ///
    /// # Errors
    /// If it is no regular expression, or nothing is known of the kernel's functions.
    pub fn get_kprobe_functions(&self, event_re: &str) -> Result<Vec<String>, Error> {
        let re = whole(event_re)?;
        if let Some(kernel) = &self.kernel {
            let all = kernel.kernel_functions()?;
            let mut names: Vec<String> = all.iter().filter(|n| re.is_match(n)).cloned().collect();
            names.sort();
            names.dedup();
            return Ok(names);
        }
        let names = self.kernel_functions();
        if names.is_empty() {
            return Err(Error::Invalid(format!(
                "'{event_re}' cannot be looked up: nothing is known of this kernel's functions; give the builder a \
                 kernel profile with symbols, or name functions one by one"
            )));
        }
        Ok(names.into_iter().filter(|n| re.is_match(n)).map(str::to_owned).collect())
    }

    /// What the names of functions that implement system calls begin with: `__x64_sys_` (bcc's `get_syscall_prefix`).
    #[must_use]
    pub fn get_syscall_prefix(&self) -> String {
        let profile = &self.machine.kernel.profile;
        let prefix = if profile.syscall_wrapper { profile.arch.syscall_prefix() } else { "" };
        format!("{prefix}sys_")
    }

    /// The function that implements a system call (bcc's `get_syscall_fnname`).
    #[must_use]
    pub fn get_syscall_fnname(&self, name: &str) -> String {
        format!("{}{name}", self.get_syscall_prefix())
    }

    fn attach_function(&mut self, event: &str, fn_name: &str, ret: bool) -> Result<(), Error> {
        let (target, name) = target(event, ret);
        let inside = matches!(target.point, AttachPoint::Symbol { offset: 1.., .. });
        if ret && inside {
            return Err(Error::Invalid(format!("kretprobe/{event}: only a function as a whole returns")));
        }
        self.check_function(name)?;
        let place = format!("{}/{event}", if ret { "kretprobe" } else { "kprobe" });
        self.link_target(fn_name, target, &place, Link::default(), 0)
    }

    fn attach_functions(&mut self, event_re: &str, fn_name: &str, ret: bool) -> Result<usize, Error> {
        let names = self.get_kprobe_functions(event_re)?;
        for name in &names {
            self.attach_function(name, fn_name, ret)?;
        }
        // A program that is not there is an error even if there is no function.
        self.loaded_program(fn_name)?;
        Ok(names.len())
    }

    fn detach_function(&mut self, event: &str, fn_name: Option<&str>, ret: bool) -> Result<(), Error> {
        let (target, _) = target(event, ret);
        let place = format!("{}/{event}", if ret { "kretprobe" } else { "kprobe" });
        self.unlink(&place, fn_name, |a| a.target.kind == target.kind && a.target.point == target.point)
    }

    /// Names of the kernel's functions, as far as they are known.
    fn kernel_functions(&self) -> BTreeSet<&str> {
        let kernel = &self.machine.kernel;
        let listed = kernel.profile.symbols.iter();
        listed.chain(kernel.state.symbols.iter().map(|s| s.name.as_str())).collect()
    }

    /// Whether the kernel has a function; where nothing is known of its functions, it has all.
    fn check_function(&self, name: &str) -> Result<(), Error> {
        if self.kernel.is_some() {
            // It says so itself, and has more names than anybody wants to read.
            return Ok(());
        }
        let kernel = &self.machine.kernel;
        let listed = &kernel.profile.symbols;
        let known = listed.is_empty()
            || listed.contains(name)
            || kernel.state.symbols.addr(name).is_some()
            || kernel.profile.btf.as_ref().is_some_and(|b| b.find(Kind::Func, name).is_some());
        if known {
            return Ok(());
        }
        Err(Error::unknown("kernel function", name, listed.iter()))
    }
}

/// What `name` or `name+0x10` means, and the name.
fn target(event: &str, ret: bool) -> (AttachTarget, &str) {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let split = event.rsplit_once('+').and_then(|(name, offset)| Some((name, number(offset)?)));
    let (name, offset) = split.unwrap_or((event, 0));
    let point = if ret { Point::Kretprobe(name.to_owned()) } else { Point::Kprobe(name.to_owned()) };
    let mut target = point.target();
    target.point = AttachPoint::Symbol { name: name.to_owned(), offset };
    (target, name)
}

/// A regular expression that has to match all of a name.
pub(super) fn whole(re: &str) -> Result<Regex, Error> {
    Regex::new(&format!("^(?:{re})$"))
        .map_err(|e| Error::Invalid(format!("'{re}' is no regular expression: {e}")))
}
