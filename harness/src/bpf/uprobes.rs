//! User-space functions by name, pattern and address: rows 33, 34 of the reference guide.

use std::sync::Arc;

use bpf_vm_shim::object::{AttachPoint, AttachTarget};

use super::kprobes::whole;
use super::links::{Link, UserSite};
use super::{Bpf, Point};
use crate::error::Error;
use crate::symbols::{Binary, find_binary};

/// Where in which binary a program is to be attached, for what a name and a symbol do not say.
///
/// ```
/// use bpf_harness::symbols::Binary;
/// use bpf_harness::{Bpf, UprobeTarget};
/// # let object = bpf_fixtures::object("hostapi").unwrap();
/// let mut bpf = Bpf::load(object)?;
/// bpf.add_binary(Binary::declared("/usr/lib/libc.so.6").symbol("strlen", 0x1000, 64).symbol("strchr", 0x2000, 64));
/// let all = UprobeTarget::pattern("c", "str.*").pid(42);
/// assert_eq!(bpf.attach_uprobe_to(&all, "count")?, 2);
/// # Ok::<(), bpf_harness::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UprobeTarget {
    name: String,
    place: Place,
    sym_off: u64,
    pid: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Symbol(String),
    Pattern(String),
    Address(u64),
}

impl UprobeTarget {
    fn new(name: impl Into<String>, place: Place) -> Self {
        Self { name: name.into(), place, sym_off: 0, pid: None }
    }

    /// A function of a binary, given by path, or as a library by short name (`c`).
    #[must_use]
    pub fn symbol(name: impl Into<String>, sym: impl Into<String>) -> Self {
        Self::new(name, Place::Symbol(sym.into()))
    }

    /// All functions that the whole of a regular expression matches (bcc's `sym_re`).
    #[must_use]
    pub fn pattern(name: impl Into<String>, sym_re: impl Into<String>) -> Self {
        Self::new(name, Place::Pattern(sym_re.into()))
    }

    /// An address, as the file has it.
    #[must_use]
    pub fn address(name: impl Into<String>, addr: u64) -> Self {
        Self::new(name, Place::Address(addr))
    }

    /// Bytes behind the function's start.
    #[must_use]
    pub fn sym_off(self, bytes: u64) -> Self {
        Self { sym_off: bytes, ..self }
    }

    /// Only in this process.
    #[must_use]
    pub fn pid(self, pid: u32) -> Self {
        Self { pid: Some(pid), ..self }
    }
}

impl Bpf {
    /// Lets a program run whenever a function of a binary is entered. The binary is given by path, or as a library by
    /// short name (`c`); see [`Bpf::find_binary`].
    ///
    /// # Errors
    /// If there is no such binary, function or program, or the program is of another type.
    pub fn attach_uprobe(&mut self, name: &str, sym: &str, fn_name: &str) -> Result<(), Error> {
        self.attach_uprobe_to(&UprobeTarget::symbol(name, sym), fn_name).map(|_| ())
    }

    /// Lets a program run whenever a function of a binary returns.
    ///
    /// # Errors
    /// As [`Bpf::attach_uprobe`].
    pub fn attach_uretprobe(&mut self, name: &str, sym: &str, fn_name: &str) -> Result<(), Error> {
        self.attach_uretprobe_to(&UprobeTarget::symbol(name, sym), fn_name).map(|_| ())
    }

    /// As [`Bpf::attach_uprobe`], to one or more places, and says to how many. No match of a pattern is no error.
    ///
    /// # Errors
    /// As there, and if the pattern is no regular expression.
    pub fn attach_uprobe_to(&mut self, target: &UprobeTarget, fn_name: &str) -> Result<usize, Error> {
        self.attach_user(target, fn_name, false)
    }

    /// As [`Bpf::attach_uprobe_to`], for returns.
    ///
    /// # Errors
    /// As there, and if a place inside a function is named.
    pub fn attach_uretprobe_to(&mut self, target: &UprobeTarget, fn_name: &str) -> Result<usize, Error> {
        self.attach_user(target, fn_name, true)
    }

    /// Takes all programs away from where [`Bpf::attach_uprobe_to`] has attached them.
    ///
    /// # Errors
    /// If there are none.
    pub fn detach_uprobe(&mut self, target: &UprobeTarget) -> Result<(), Error> {
        self.detach_user(target, false)
    }

    /// Takes all programs away from where [`Bpf::attach_uretprobe_to`] has attached them.
    ///
    /// # Errors
    /// If there are none.
    pub fn detach_uretprobe(&mut self, target: &UprobeTarget) -> Result<(), Error> {
        self.detach_user(target, true)
    }

    /// A binary by path or short name: one that the test has declared ([`Bpf::add_binary`]) or a process has mapped
    /// ([`Bpf::add_process`]), else a file of this machine.
    ///
    /// # Errors
    /// If there is none, or it is no ELF file.
    pub fn find_binary(&mut self, name: &str) -> Result<Arc<Binary>, Error> {
        if let Some(found) = self.declared_binary(name) {
            return Ok(found);
        }
        let binary = Arc::new(find_binary(name).map_err(|e| {
            Error::Invalid(format!("{e}; a test that brings its own binary declares it with `add_binary()`"))
        })?);
        self.host.binaries.push(Arc::clone(&binary));
        Ok(binary)
    }

    /// A binary that is known already, without a look at this machine.
    pub(super) fn declared_binary(&mut self, name: &str) -> Option<Arc<Binary>> {
        if let Some(found) = self.host.binaries.iter().find(|b| b.is_called(name)) {
            return Some(Arc::clone(found));
        }
        let mapped = self.host.processes.values().flat_map(|p| p.shared_binaries());
        let found = Arc::clone(mapped.into_iter().find(|b| b.is_called(name))?);
        self.host.binaries.push(Arc::clone(&found));
        Some(found)
    }

    /// The binary and the places in it: name, its offset, address.
    fn user_sites(&mut self, t: &UprobeTarget) -> Result<(Arc<Binary>, Vec<Site>), Error> {
        let binary = self.find_binary(&t.name)?;
        let site = |name: &str, addr: u64| Site {
            function: Some(name.to_owned()),
            offset: t.sym_off,
            addr: addr.wrapping_add(t.sym_off),
        };
        let sites = match &t.place {
            Place::Symbol(sym) => match binary.symbols().by_name(sym) {
                Some(s) => vec![site(sym, s.addr)],
                None => {
                    let what = "function in this binary";
                    let names = binary.symbols().functions().map(|(n, _)| n);
                    return Err(Error::unknown(what, &format!("{}:{sym}", binary.path()), names));
                }
            },
            Place::Pattern(re) => {
                let re = whole(re)?;
                // Several names of one function are one place.
                let mut sites: Vec<Site> = Vec::new();
                for (name, addr) in binary.symbols().functions().filter(|(n, _)| re.is_match(n)) {
                    if !sites.iter().any(|s| s.addr == addr.wrapping_add(t.sym_off)) {
                        sites.push(site(name, addr));
                    }
                }
                sites
            }
            Place::Address(addr) => {
                let addr = addr.wrapping_add(t.sym_off);
                let found = binary.symbols().at(addr);
                let function = found.map(|(s, _)| s.name.clone());
                vec![Site { function, offset: found.map_or(addr, |(_, o)| o), addr }]
            }
        };
        Ok((binary, sites))
    }

    fn attach_user(&mut self, t: &UprobeTarget, fn_name: &str, ret: bool) -> Result<usize, Error> {
        let (binary, sites) = self.user_sites(t)?;
        self.loaded_program(fn_name)?;
        for site in &sites {
            let target = site.target(&binary, ret);
            let what = if ret { "uretprobe" } else { "uprobe" };
            let place = format!("{what}/{}:{}", binary.path(), site.function.as_deref().unwrap_or_default());
            let inside = site.offset > 0 && site.function.is_some();
            if ret && inside {
                return Err(Error::Invalid(format!(
                    "{place}+{:#x}: only a function as a whole returns",
                    site.offset
                )));
            }
            let user = UserSite { path: binary.path().to_owned(), addr: site.addr };
            let link = Link { pid: t.pid, user: Some(user), ..Link::default() };
            self.link_target(fn_name, target, &place, link, 0)?;
        }
        Ok(sites.len())
    }

    fn detach_user(&mut self, t: &UprobeTarget, ret: bool) -> Result<(), Error> {
        let (binary, sites) = self.user_sites(t)?;
        let kind = Site::kind(ret).target().kind;
        let place = format!("{}/{}", if ret { "uretprobe" } else { "uprobe" }, binary.path());
        self.unlink(&place, None, |a| {
            let here =
                |s: &Site| a.link.user.as_ref().is_some_and(|u| u.path == binary.path() && u.addr == s.addr);
            a.target.kind == kind && a.link.pid == t.pid && sites.iter().any(here)
        })
    }
}

struct Site {
    function: Option<String>,
    offset: u64,
    addr: u64,
}

impl Site {
    fn kind(ret: bool) -> Point {
        if ret { Point::Uretprobe(String::new()) } else { Point::Uprobe(String::new()) }
    }

    fn target(&self, binary: &Binary, ret: bool) -> AttachTarget {
        let mut target = Self::kind(ret).target();
        let (path, function, offset) = (binary.path().to_owned(), self.function.clone(), self.offset);
        target.point = AttachPoint::Binary { path, function, offset };
        target
    }
}
