//! Statically defined user-space probes: rows 29, 35 of the reference guide.

use std::sync::Arc;

use bpf_helpers_mock::contexts::Probe;
use bpf_helpers_mock::{Machine, RunInput};
use bpf_vm_shim::object::{AttachPoint, AttachTarget};

use super::links::{Link, UserPlace, UserSite};
use super::{Bpf, Point};
use crate::error::Error;
use crate::symbols::{Binary, find_like_libbpf};
use crate::usdt::{ArgKind, ArgSpec, Enabled, Location, Placement, Usdt};

/// One place of a probe that a program is attached to.
#[derive(Debug)]
pub(crate) struct UsdtSite {
    pub(crate) binary: Arc<Binary>,
    /// Which of the probe's places, from 0.
    pub(crate) location: usize,
    pub(crate) place: Location,
    /// Whether the program finds its arguments by the instruction pointer: a text's, whose probe has places with arguments
    /// of their own, or arguments that are variables.
    #[cfg_attr(
        not(feature = "kernel"),
        allow(dead_code, reason = "only there are instruction pointers not free")
    )]
    pub(crate) told_by_ip: bool,
}

impl Bpf {
    /// Attaches the programs that were enabled for probes (what bcc's `BPF(usdt_contexts=[usdt])` does).
    ///
    /// ```
    /// use bpf_harness::Bpf;
    /// use bpf_harness::symbols::Binary;
    /// use bpf_harness::usdt::Usdt;
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// let server = Binary::declared("/usr/bin/server").probe("http", "request", 0x1200, "8@%rdi -4@-20(%rbp)").unwrap();
    /// let mut usdt = Usdt::from_binary(server)?;
    /// usdt.enable_probe("request", "count")?;
    /// bpf.attach_usdt(&usdt)?;
    /// bpf.usdt("http", "request").args([1, 2]).fire()?;
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such program, or it is of another type.
    pub fn attach_usdt(&mut self, usdt: &Usdt) -> Result<(), Error> {
        self.attach_usdt_of(usdt, false)
    }

    /// As [`Bpf::attach_usdt`]; `compiled`: the program was compiled to know where its arguments are.
    pub(super) fn attach_usdt_of(&mut self, usdt: &Usdt, compiled: bool) -> Result<(), Error> {
        for enabled in usdt.enabled() {
            let binary = usdt.binary(&enabled.path).cloned();
            let binary = binary.unwrap_or_else(|| Arc::new(Binary::declared(enabled.path.as_str())));
            self.attach_enabled(enabled, &binary, Self::usdt_target(enabled), compiled)?;
        }
        Ok(())
    }

    /// The probe's place as a section would name it.
    fn usdt_target(enabled: &Enabled) -> AttachTarget {
        let (provider, name) = (enabled.probe.provider.clone(), enabled.probe.name.clone());
        let mut target = Point::Usdt(provider.clone(), name.clone()).target();
        target.point = AttachPoint::Usdt { path: enabled.path.clone(), provider, name };
        target
    }

    fn attach_enabled(
        &mut self,
        enabled: &Enabled,
        binary: &Arc<Binary>,
        target: AttachTarget,
        compiled: bool,
    ) -> Result<(), Error> {
        if !self.host.binaries.iter().any(|b| b.path() == binary.path()) {
            self.host.binaries.push(Arc::clone(binary));
        }
        let probe = &enabled.probe;
        let first = probe.locations.first().map(|l| &l.args);
        let is_variable = |a: &ArgSpec| matches!(&a.kind, ArgKind::Memory { symbol: Some(_), .. });
        let differ = probe.locations.iter().any(|l| Some(&l.args) != first || l.args.iter().any(is_variable));
        let point = Point::Usdt(probe.provider.clone(), probe.name.clone());
        for (location, place) in probe.locations.iter().enumerate() {
            self.loaded_program(&enabled.fn_name)?;
            let user = UserSite { path: enabled.path.clone(), addr: place.addr };
            let mut link = Link { pid: enabled.pid, user: Some(user), ..Link::default() };
            let cookie = self.usdt_spec(binary, place, &link)?;
            let site = UsdtSite {
                binary: Arc::clone(binary),
                location,
                place: place.clone(),
                told_by_ip: compiled && differ || cookie.is_none(),
            };
            link.usdt = Some(Arc::new(site));
            let cookie = cookie.unwrap_or(0);
            self.link_target(&enabled.fn_name, target.clone(), &point.to_string(), link, cookie)?;
        }
        Ok(())
    }

    /// Attaches a program where its section says: in a binary that the test has declared or a process has mapped, else in
    /// a file of this machine. `false` if there is no such binary, which only a simulator does without.
    ///
    /// libbpf's own way to attach is not taken: its layout of the specifications need not be that of the `usdt.bpf.h`
    /// that the object was built with.
    pub(super) fn attach_usdt_section(
        &mut self,
        fn_name: &str,
        target: &AttachTarget,
    ) -> Result<bool, Error> {
        let AttachPoint::Usdt { path, provider, name } = &target.point else { return Ok(false) };
        let declared = self.declared_binary(path);
        let found = match declared {
            Some(binary) => Ok(Some(binary)),
            None => find_like_libbpf(path).map(|found| found.map(Arc::new)),
        };
        let failed = |why: &dyn std::fmt::Display| {
            Error::Invalid(format!(
                "program '{fn_name}' cannot be attached to usdt/{path}:{provider}:{name}: {why}; a test that brings its \
                 own binary declares it with `add_binary()`"
            ))
        };
        let binary = match found {
            Ok(Some(binary)) => binary,
            Ok(None) if self.kernel.is_none() => return Ok(false),
            Ok(None) => return Err(failed(&"there is no such file")),
            Err(e) => return Err(failed(&e)),
        };
        let mut usdt = Usdt::from_shared(&binary)?;
        usdt.enable_probe(&format!("{provider}:{name}"), fn_name).map_err(|e| failed(&e))?;
        for enabled in usdt.enabled() {
            self.attach_enabled(enabled, &binary, target.clone(), false)?;
        }
        Ok(true)
    }

    /// How many programs listen to a probe: what its semaphore counts. 0 if there are none.
    #[must_use]
    pub fn usdt_semaphore(&self, provider: &str, name: &str) -> usize {
        let point = Point::Usdt(provider.to_owned(), name.to_owned());
        let here = self.attached.iter().filter(|a| point.concerns(&a.target));
        // All places of a probe share its semaphore; each program counts once.
        here.filter(|a| a.link.usdt.as_ref().is_none_or(|s| s.location == 0)).count()
    }
}

/// The context of a program at a probe: its arguments are where their specifications say.
pub(super) fn input(
    machine: &mut Machine,
    probe: (&str, &str),
    site: Option<&UsdtSite>,
    user: Option<&UserPlace>,
    args: &[u64],
    cookie: u64,
) -> Result<RunInput, Error> {
    let name = || format!("usdt/{}:{}", probe.0, probe.1);
    let mut context = Probe { user: true, cookie, ..Probe::default() };
    match site {
        Some(site) => {
            let delta = user.map_or(0, |u| u.delta);
            let symbol = |s: &str| Some(site.binary.address(s)?.wrapping_add(delta));
            let pc = user.map_or(site.place.addr, |u| u.addr);
            let placed = Placement::new(&site.place.args, args, pc, symbol)
                .map_err(|e| Error::Invalid(format!("{}: {e}", name())))?;
            context.addr = user.map(|u| u.addr);
            context.registers = placed.registers.into_iter().collect();
            for (addr, bytes) in placed.memory {
                let user = machine.kernel.state.current_user_mut();
                let written = user.is_some_and(|u| u.write(addr, &bytes).is_ok());
                if !written {
                    return Err(Error::Invalid(format!(
                        "{}: an argument cannot be put at {addr:#x}: the task has no user memory there",
                        name()
                    )));
                }
            }
        }
        // Attached by its section: without a binary nobody knows where arguments are.
        None if args.is_empty() => {}
        None => {
            return Err(Error::Invalid(format!(
                "{}: the places of its arguments are not known, because the binary that the section names is not there: \
                 declare it with `add_binary()` before attaching, or attach with `attach_usdt()`",
                name()
            )));
        }
    }
    Ok(context.build(machine)?)
}
