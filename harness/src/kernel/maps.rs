//! Maps in the kernel, with the bytes that the simulated machine's have.

use std::os::fd::{AsFd, AsRawFd};

use bpf_helpers_mock::Errno;
use bpf_helpers_mock::maps::{MapId, MapOpError};
use bpf_vm_shim::object::MapType;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::Kernel;

/// A map.
#[derive(Debug)]
pub(super) struct KernelMap {
    pub(super) name: String,
    pub(super) map_type: MapType,
    pub(super) key_size: usize,
    pub(super) value_size: usize,
    pub(super) max_entries: u32,
    pub(super) handle: MapHandle,
}

impl KernelMap {
    pub(super) fn is_percpu(&self) -> bool {
        use MapType as T;
        matches!(self.map_type, T::PercpuHash | T::LruPercpuHash | T::PercpuArray | T::PercpuCgroupStorage)
    }

    pub(super) fn read(&self, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, MapOpError> {
        self.check_key(key)?;
        if self.is_percpu() {
            let found =
                self.handle.lookup_percpu(key, MapFlags::ANY).map_err(|e| self.failed(&e, "lookup"))?;
            return Ok(found.map(|values| values.into_iter().map(|v| self.fit(v)).collect()));
        }
        match self.handle.lookup(key, MapFlags::ANY) {
            Ok(found) => Ok(found.map(|v| vec![self.fit(v)])),
            // Slots that hold nothing: arrays of programs, of maps, and of what cannot be shown.
            Err(e) if e.kind() == libbpf_rs::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(&e, "lookup")),
        }
    }

    pub(super) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapOpError> {
        if !key.is_empty() || self.key_size > 0 {
            self.check_key(key)?;
        }
        if self.is_percpu() {
            let cpus = libbpf_rs::num_possible_cpus().unwrap_or(1);
            let slot = self.value_size.next_multiple_of(8);
            let mut all = value.to_vec();
            if value.len() != slot * cpus && value.len() == self.value_size {
                // One value is the first CPU's; the others keep theirs.
                let now = self.read(key)?.unwrap_or_else(|| vec![vec![0; self.value_size]; cpus]);
                all = now.iter().skip(1).fold(padded(value, slot), |mut all, v| {
                    all.extend(padded(v, slot));
                    all
                });
            }
            return self.raw_update(key, &all, flags, slot * cpus);
        }
        self.raw_update(key, value, flags, self.value_size)
    }

    fn raw_update(&self, key: &[u8], value: &[u8], flags: u64, size: usize) -> Result<(), MapOpError> {
        if value.len() != size {
            return Err(
                self.error(Errno::EINVAL, format!("a value of {} bytes, it needs {size}", value.len()))
            );
        }
        let key = if key.is_empty() { std::ptr::null() } else { key.as_ptr().cast() };
        // SAFETY: the kernel reads `key_size` bytes of the key, which were checked, or none where there are no keys; and
        // `size` bytes of the value.
        let ret = unsafe {
            libbpf_sys::bpf_map_update_elem(
                self.handle.as_fd().as_raw_fd(),
                key,
                value.as_ptr().cast(),
                flags,
            )
        };
        if ret == 0 { Ok(()) } else { Err(self.failed(&libbpf_rs::Error::from_raw_os_error(-ret), "update")) }
    }

    pub(super) fn delete(&self, key: &[u8]) -> Result<(), MapOpError> {
        self.check_key(key)?;
        self.handle.delete(key).map_err(|e| self.failed(&e, "delete"))
    }

    pub(super) fn pop(&self) -> Result<Option<Vec<u8>>, MapOpError> {
        match self.handle.lookup_and_delete(&[]) {
            Ok(value) => Ok(value),
            Err(e) if e.kind() == libbpf_rs::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.failed(&e, "pop")),
        }
    }

    pub(super) fn fit(&self, mut value: Vec<u8>) -> Vec<u8> {
        value.truncate(self.value_size);
        value
    }

    fn check_key(&self, key: &[u8]) -> Result<(), MapOpError> {
        if key.len() == self.key_size {
            return Ok(());
        }
        let why = format!("a key of {} bytes, key_size is {}", key.len(), self.key_size);
        Err(self.error(Errno::EINVAL, why))
    }

    pub(super) fn error(&self, errno: Errno, why: String) -> MapOpError {
        MapOpError::Errno { map: self.name.clone(), errno, why }
    }

    /// The same words as the simulated machine's.
    fn failed(&self, e: &libbpf_rs::Error, what: &str) -> MapOpError {
        let why = format!("{what} failed (type {}, max_entries {})", self.map_type, self.max_entries);
        self.error(errno(e), why)
    }
}

fn padded(value: &[u8], slot: usize) -> Vec<u8> {
    let mut value = value.to_vec();
    value.resize(slot, 0);
    value
}

/// The kernel's number for an error.
fn errno(e: &libbpf_rs::Error) -> Errno {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(error) = source {
        if let Some(code) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
            return Errno::new(code);
        }
        source = error.source();
    }
    // The error keeps its number to itself; its kind is what is left.
    use libbpf_rs::ErrorKind as K;
    match e.kind() {
        K::NotFound => Errno::ENOENT,
        K::PermissionDenied => Errno::EPERM,
        K::AlreadyExists => Errno::EEXIST,
        K::InvalidInput | K::InvalidData => Errno::EINVAL,
        K::OutOfMemory => Errno::ENOMEM,
        _ => {
            let text = format!("{e:#}");
            let number =
                text.rsplit_once("os error ").and_then(|(_, n)| n.trim_end_matches(')').parse().ok());
            Errno::new(number.unwrap_or(5))
        }
    }
}

impl Kernel {
    /// The value of a map that holds programs or maps: descriptors in place of the numbers in the describing machine.
    pub(super) fn with_fds(&self, map: MapId, value: &[u8]) -> Result<Vec<u8>, MapOpError> {
        let kernel_map = self.kernel_map(map)?;
        let number = value.first_chunk::<4>().map_or(0, |n| u32::from_le_bytes(*n));
        let fd = match kernel_map.map_type {
            MapType::ProgArray => {
                let prog = self.progs.get(&bpf_helpers_mock::ProgId(number));
                prog.and_then(|p| p.with(|p| p.as_fd().as_raw_fd()).ok())
            }
            MapType::ArrayOfMaps | MapType::HashOfMaps => {
                self.maps.get(&MapId(number)).map(|m| m.handle.as_fd().as_raw_fd())
            }
            _ => return Ok(value.to_vec()),
        };
        match fd {
            Some(fd) => Ok(fd.to_le_bytes().to_vec()),
            None => {
                Err(kernel_map.error(Errno::EBADF, format!("there is no number {number} to put into it")))
            }
        }
    }
}
