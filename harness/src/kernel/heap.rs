//! Kernel memory that a test fills: what pointers to kernel objects point to.
//!
//! It is the value of an array map, which lies in the kernel's memory. A program that stores the address of its map's
//! value there tells where; a privileged one may.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};

use crate::bpf::Block;
use crate::error::Error;

/// How much there is for one test. More than the kernel allocates in its direct mapping, so that it is not there: the
/// simulator's kernel objects have such addresses, and are told from others by them.
const SIZE: usize = 256 << 10;
/// Objects begin at multiples of this, as a cache of the kernel's would have them.
const ALIGN: usize = 64;

/// The memory.
#[derive(Debug)]
pub(super) struct Heap {
    map: MapHandle,
    base: u64,
    bytes: Vec<u8>,
    used: usize,
}

impl Heap {
    pub(super) fn new() -> Result<Self, Error> {
        let opts = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            ..libbpf_sys::bpf_map_create_opts::default()
        };
        let map = MapHandle::create(MapType::Array, Some("objects"), 4, SIZE as u32, 1, &opts)
            .map_err(|e| failed(format!("{e:#}")))?;
        run_address_teller(&map).map_err(|e| failed(e.to_string()))?;
        let value = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).map_err(|e| failed(format!("{e:#}")))?;
        let base = value.and_then(|v| v.first_chunk::<8>().map(|b| u64::from_ne_bytes(*b))).unwrap_or(0);
        if base == 0 {
            return Err(failed("its address is not known".to_owned()));
        }
        Ok(Self { map, base, bytes: vec![0; SIZE], used: 0 })
    }

    /// Puts objects there, with their pointers to each other, and says where the first one is.
    pub(super) fn place(&mut self, objects: &[Block]) -> Result<u64, Error> {
        let full = || failed(format!("objects of one test may have {SIZE} bytes in all"));
        let mut used = self.used;
        let mut offsets = Vec::with_capacity(objects.len());
        for object in objects {
            let at = (self.base as usize + used).next_multiple_of(ALIGN) - self.base as usize;
            used = at + object.bytes.len();
            offsets.push(at);
        }
        for (object, at) in objects.iter().zip(&offsets) {
            let room = self.bytes.get_mut(*at..at + object.bytes.len()).ok_or_else(full)?;
            room.copy_from_slice(&object.bytes);
            for pointer in &object.pointers {
                let target = offsets.get(pointer.block).map(|to| self.base + *to as u64 + pointer.offset);
                let place = room.get_mut(pointer.at..).and_then(|rest| rest.first_chunk_mut::<8>());
                if let (Some(place), Some(target)) = (place, target) {
                    *place = target.to_ne_bytes();
                }
            }
        }
        self.map
            .update(&0u32.to_ne_bytes(), &self.bytes, MapFlags::ANY)
            .map_err(|e| failed(format!("{e:#}")))?;
        self.used = used;
        Ok(offsets.first().map_or(0, |at| self.base + *at as u64))
    }
}

fn failed(why: String) -> Error {
    Error::Invalid(format!("there is no kernel memory for objects of a test: {why}"))
}

/// `r1 = value of map; *(u64 *)r1 = r1; return 0`.
fn run_address_teller(map: &MapHandle) -> std::io::Result<()> {
    let fd = map.as_fd().as_raw_fd().to_le_bytes();
    // BPF_LD | BPF_IMM | BPF_DW with BPF_PSEUDO_MAP_VALUE in the source register's place.
    let insns: [[u8; 8]; 5] = [
        [0x18, 0x21, 0, 0, fd[0], fd[1], fd[2], fd[3]],
        [0; 8],
        [0x7b, 0x11, 0, 0, 0, 0, 0, 0],
        [0xb7, 0, 0, 0, 0, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    // SAFETY: the instructions are as many as is said, the license is a C string, and there are no options.
    let prog = unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_SCHED_CLS,
            std::ptr::null(),
            c"GPL".as_ptr(),
            insns.as_ptr().cast(),
            insns.len() as libbpf_sys::size_t,
            std::ptr::null_mut(),
        )
    };
    if prog < 0 {
        return Err(std::io::Error::from_raw_os_error(-prog));
    }
    // SAFETY: the kernel has just opened it for us.
    let prog = unsafe { OwnedFd::from_raw_fd(prog) };
    // A frame as short as the kernel takes: an Ethernet header.
    let frame = [0u8; 14];
    let mut opts = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
        data_in: frame.as_ptr().cast(),
        data_size_in: frame.len() as u32,
        repeat: 1,
        ..libbpf_sys::bpf_test_run_opts::default()
    };
    // SAFETY: the program is open, and the frame lives as long as the call.
    let ret = unsafe { libbpf_sys::bpf_prog_test_run_opts(prog.as_raw_fd(), &raw mut opts) };
    if ret == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(-ret)) }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::{Block, Heap, SIZE};
    use crate::bpf::Pointer;

    #[test]
    fn bytes_are_in_kernel_memory() {
        if !testing::kernel() {
            return;
        }
        let mut heap = Heap::new().unwrap();
        let block = |bytes: &[u8]| Block { bytes: bytes.to_vec(), pointers: Vec::new() };
        let (a, b) = (heap.place(&[block(b"one")]).unwrap(), heap.place(&[block(&[7; 100])]).unwrap());
        assert!(a >> 47 == 0x1ffff && a % 64 == 0, "{a:#x}");
        assert_eq!(b, a + 64);
        assert!(heap.place(&[block(&[0; SIZE])]).is_err());
        // The last place is as it was, and objects point to each other.
        let pointer = |at, block, offset| vec![Pointer { at, block, offset }];
        let pair = [
            Block { pointers: pointer(8, 1, 3), ..block(&[1; 16]) },
            Block { pointers: pointer(0, 0, 0), ..block(&[0; 8]) },
        ];
        let c = heap.place(&pair).unwrap();
        assert_eq!(c, b + 128);
        let at = (c - heap.base) as usize;
        let word = |at: usize| u64::from_ne_bytes(*heap.bytes[at..].first_chunk().unwrap());
        assert_eq!((word(at + 8), word(at + 64)), (c + 64 + 3, c));
    }
}
