//! Reading and changing what a machine holds: maps, variables, clock, tasks, trace.

use bpf_helpers_mock::helpers::{Override, OverrideFn};
use bpf_helpers_mock::objects::Object as KernelObject;
use bpf_helpers_mock::state::Task;
use std::sync::Arc;

use super::{Bpf, Loaded, globals, graph};
use crate::error::Error;
use crate::table::{MapRef, Table};
use crate::value::{Value, decode};

impl Bpf {
    /// A map, to be read and changed.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn map(&mut self, name: &str) -> Result<MapRef<'_>, Error> {
        MapRef::new(self.maps(), name)
    }

    /// A table by its name, as the reference guide calls it (`b["name"]`, `b.get_table("name")`): the map itself.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn get_table(&mut self, name: &str) -> Result<MapRef<'_>, Error> {
        self.map(name)
    }

    /// The contents of a map.
    ///
    /// # Errors
    /// If there is none of this name, or its type has no contents to show.
    pub fn table(&mut self, name: &str) -> Result<Table, Error> {
        self.map(name)?.table()
    }

    /// The names of all maps, in the object's order.
    pub fn map_names(&self) -> impl Iterator<Item = &str> {
        self.machine.kernel.maps.iter().map(|(_, m)| m.def.name.as_str())
    }

    /// The value of a global variable.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn global(&mut self, name: &str) -> Result<Value, Error> {
        let loaded = self.holder(name)?.clone();
        let var = globals::find(&loaded.object, name)?;
        let bytes = globals::read(&loaded, &mut self.maps(), var)?;
        match (&loaded.object.btf, var.type_id) {
            (Some(btf), Some(ty)) => decode(btf, ty, &bytes)
                .map_err(|source| Error::value(format!("global variable '{name}'"), source)),
            _ => Ok(Value::Bytes(bytes)),
        }
    }

    /// Sets a global variable of the loaded object. Constants are frozen: set them with the builder.
    ///
    /// # Errors
    /// If there is none of this name, the value does not fit, or it is a constant.
    pub fn set_global(&mut self, name: &str, value: impl Into<Value>) -> Result<(), Error> {
        let loaded = self.holder(name)?.clone();
        let var = globals::find(&loaded.object, name)?;
        let mut bytes = globals::read(&loaded, &mut self.maps(), var)?;
        globals::encode(&loaded.object, var, &value.into(), &mut bytes)?;
        globals::write(&loaded, &mut self.maps(), var, &bytes)
    }

    /// The object that has a variable; the first one if none has.
    fn holder(&self, name: &str) -> Result<&Arc<Loaded>, Error> {
        let found = self.objects.iter().find(|o| o.object.global(name).is_some());
        found.or(self.objects.first()).ok_or(Error::NoObject)
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.kernel.as_ref().map_or_else(|| self.machine.kernel.state.clock.now(), |kernel| kernel.now())
    }

    /// Lets the clock run on by itself: this many nanoseconds with each reading. A kernel has a clock of its own, for which
    /// this changes nothing.
    pub fn set_clock_step(&mut self, ns: u64) {
        self.machine.kernel.state.clock.set_step(ns);
    }

    /// Sets the clock, without anything happening in between. A kernel has a clock of its own, for which this changes
    /// nothing: what a snapshot says of times is to be redacted ([`redact`](crate::redact)).
    pub fn set_clock(&mut self, ns: u64) {
        self.machine.kernel.state.clock.set(ns);
    }

    /// Lets time pass: timers and work items that fall due on the way run. On a kernel: waits.
    ///
    /// # Errors
    /// If one of them faults, or timers never come to rest.
    pub fn advance(&mut self, ns: u64) -> Result<(), Error> {
        if self.kernel.is_some() {
            std::thread::sleep(std::time::Duration::from_nanos(ns));
            return Ok(());
        }
        for fired in self.machine.advance(ns)? {
            self.report("timer callback", fired.report).ret()?;
        }
        Ok(())
    }

    /// Adds a task, or replaces the one of the same thread id.
    pub fn add_task(&mut self, task: Task) {
        self.machine.kernel.state.tasks.insert(task);
    }

    /// Lets a task run on the current CPU.
    ///
    /// # Errors
    /// If there is none of this thread id.
    pub fn run_task(&mut self, pid: u32) -> Result<(), Error> {
        let cpu = self.machine.kernel.state.cpus.current;
        let found = self.machine.kernel.state.tasks.run_on(cpu, pid);
        found.then_some(()).ok_or_else(|| Error::Invalid(format!("there is no task {pid}")))
    }

    /// The lines that programs have printed (`bpf_trace_printk`), as `trace_pipe` shows them; they stay there.
    #[must_use]
    pub fn trace(&mut self) -> Vec<String> {
        if let Some(kernel) = &mut self.kernel {
            self.host.trace_rest.extend(super::trace::printed(&mut **kernel));
            return super::trace::prints(self.host.trace_rest.iter().cloned());
        }
        self.machine.kernel.state.trace_pipe.lines().iter().map(ToString::to_string).collect()
    }

    /// The address of a kernel symbol; one is made up, always the same, if the test has given none.
    ///
    /// On a kernel: where the kernel has it, 0 if it has none.
    pub fn symbol(&mut self, name: &str) -> u64 {
        if let Some(kernel) = &self.kernel {
            return kernel.kernel_address(name).unwrap_or(0);
        }
        self.machine.kernel.state.symbols.intern(name)
    }

    /// A kernel object of a BTF type, with these members set: `("mm.arg_start", 0x1000)`.
    ///
    /// On a kernel it is in the kernel's memory, with all objects that were made on the way to its members.
    ///
    /// # Errors
    /// If there is no such type or member, or a value does not fit.
    pub fn kernel_object(&mut self, type_name: &str, members: &[(&str, u64)]) -> Result<KernelObject, Error> {
        let mut builder = self.machine.object(type_name);
        for (path, value) in members {
            builder = builder.set(path, *value);
        }
        let mut object = builder.build().map_err(|e| Error::Invalid(e.to_string()))?;
        let Some(kernel) = &mut self.kernel else { return Ok(object) };
        object.addr = kernel.place_kernel(&graph::blocks(&mut self.machine.mem, object.addr)?)?;
        Ok(object)
    }

    /// Puts bytes into the memory of the running task and says where.
    ///
    /// # Errors
    /// If the task has no memory of its own, or there is no room.
    pub fn user_memory(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        if let Some(kernel) = &mut self.kernel {
            return kernel.place_user(bytes);
        }
        let none = || Error::Invalid("the running task has no user memory".to_owned());
        let user = self.machine.kernel.state.current_user_mut().ok_or_else(none)?;
        user.place(bytes).map_err(|e| Error::Invalid(format!("{e:?}")))
    }

    /// Puts something in place of a helper or kernel function, by its full name.
    ///
    /// ```
    /// use bpf_harness::Bpf;
    /// use bpf_helpers_mock::{Errno, helpers::Override};
    /// # let object = bpf_fixtures::object("vfsreadlat").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// bpf.attach_all()?;
    /// bpf.record_calls();
    /// bpf.override_helper("bpf_map_update_elem", Override::FailNth(1, Errno::ENOMEM));
    /// bpf.kprobe("vfs_read").fire()?;
    /// assert!(bpf.table("start")?.is_empty());
    /// assert!(bpf.calls().iter().any(|c| c.ret == Some(Errno::ENOMEM.ret())));
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// A kernel's helpers cannot be replaced: there the next event is an error that says so.
    pub fn override_helper(&mut self, name: &str, with: Override) {
        self.not_on_a_kernel("overriding a helper (`override_helper`, `override_with`)");
        self.machine.kernel.overrides.set(name, with);
    }

    /// Lets a closure answer calls of a helper or kernel function; `None` leaves the answer to the real one.
    pub fn override_with<F>(&mut self, name: &str, f: F)
    where
        F: Fn([u64; 5]) -> Option<u64> + Send + Sync + 'static,
    {
        let f: Arc<OverrideFn> = Arc::new(move |_, _, args| f(args));
        self.override_helper(name, Override::With(f));
    }

    /// Starts recording calls of helpers and kernel functions; see [`Bpf::calls`]. A kernel does not tell them: there the
    /// next event is an error that says so.
    pub fn record_calls(&mut self) {
        self.not_on_a_kernel("recording calls of helpers (`record_calls`)");
        self.machine.kernel.overrides.record(true);
    }

    /// Remembers that something was asked for that no kernel has, where there is no result to say it in.
    fn not_on_a_kernel(&mut self, what: &'static str) {
        if self.kernel.is_some() {
            self.host.refused.get_or_insert(what);
        }
    }

    /// What was asked for before and no kernel has.
    pub(super) fn check_refused(&self) -> Result<(), Error> {
        self.host.refused.map_or(Ok(()), |what| {
            let how = "let the test run on the simulator only (`Tier::only`), or do without";
            Err(Error::Invalid(format!("{what} is for the simulator, and this is a kernel: {how}")))
        })
    }

    /// The calls seen since recording began.
    #[must_use]
    pub fn calls(&self) -> &[bpf_helpers_mock::helpers::CallRecord] {
        self.machine.kernel.overrides.calls()
    }
}
