//! Records as values, without a callback; addresses of user space by name.

use super::{Bpf, Record};
use crate::error::Error;
use crate::value::Value;

impl Bpf {
    /// As [`Bpf::records`], but without a type's name records are decoded as perf buffers decode them: by the only
    /// structure of the object that has their size.
    ///
    /// # Errors
    /// As there, and if no structure has a record's size or more than one has.
    pub fn decoded_records(&mut self, map: &str, type_name: Option<&str>) -> Result<Vec<Value>, Error> {
        let types = self.record_types(map, type_name)?;
        let records = self.take_as_they_came(map)?;
        records.iter().map(|r| Record::new(r, &types).value()).collect()
    }

    /// Where a process has a function of a binary, which is given by path, or as a library by short name.
    ///
    /// ```
    /// use bpf_harness::Bpf;
    /// use bpf_harness::symbols::{Binary, Process};
    /// # let object = bpf_fixtures::object("hostapi").unwrap();
    /// let mut bpf = Bpf::load(object)?;
    /// let libc = Binary::declared("/usr/lib/libc.so.6").symbol("strlen", 0x1000, 64);
    /// bpf.add_process(42, Process::new().map(libc, 0x7000_0000, 0x10_0000));
    /// assert_eq!(bpf.user_address(42, "c", "strlen")?, 0x7000_1000);
    /// # Ok::<(), bpf_harness::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such binary or function.
    pub fn user_address(&mut self, pid: u32, name: &str, sym: &str) -> Result<u64, Error> {
        let binary = self.find_binary(name)?;
        let Some(addr) = binary.address(sym) else {
            let names = binary.symbols().functions().map(|(n, _)| n);
            return Err(Error::not_found("function", &format!("{}:{sym}", binary.path()), names));
        };
        let path = binary.path().to_owned();
        let mapped = self.host.processes.get(&pid).and_then(|p| p.address(&path, addr));
        Ok(mapped.unwrap_or_else(|| addr.wrapping_add(self.host.default_base(&path))))
    }
}
