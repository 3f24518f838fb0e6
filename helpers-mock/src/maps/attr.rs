//! What `BPF_MAP_CREATE` refuses (`map_create` in `kernel/bpf/syscall.c` and each type's `map_alloc_check`).

use bpf_vm_shim::object::{MapDef, MapType};

use crate::errno::Errno;

/// Map creation and update flags (`include/uapi/linux/bpf.h`).
pub mod flag {
    /// `BPF_NOEXIST`: only a new element.
    pub const NOEXIST: u64 = 1;
    /// `BPF_EXIST`: only an element that is there.
    pub const EXIST: u64 = 2;
    /// `BPF_F_LOCK`: under the value's spin lock.
    pub const LOCK: u64 = 4;

    /// `BPF_F_NO_PREALLOC`.
    pub const NO_PREALLOC: u32 = 1 << 0;
    /// `BPF_F_NO_COMMON_LRU`: one LRU list per CPU.
    pub const NO_COMMON_LRU: u32 = 1 << 1;
    /// `BPF_F_NUMA_NODE`.
    pub const NUMA_NODE: u32 = 1 << 2;
    /// `BPF_F_RDONLY`: the host may only read.
    pub const RDONLY: u32 = 1 << 3;
    /// `BPF_F_WRONLY`: the host may only write.
    pub const WRONLY: u32 = 1 << 4;
    /// `BPF_F_STACK_BUILD_ID`.
    pub const STACK_BUILD_ID: u32 = 1 << 5;
    /// `BPF_F_ZERO_SEED`: hash with seed zero.
    pub const ZERO_SEED: u32 = 1 << 6;
    /// `BPF_F_RDONLY_PROG`: programs may only read.
    pub const RDONLY_PROG: u32 = 1 << 7;
    /// `BPF_F_WRONLY_PROG`: programs may only write.
    pub const WRONLY_PROG: u32 = 1 << 8;
    /// `BPF_F_CLONE`.
    pub const CLONE: u32 = 1 << 9;
    /// `BPF_F_MMAPABLE`.
    pub const MMAPABLE: u32 = 1 << 10;
    /// `BPF_F_PRESERVE_ELEMS`.
    pub const PRESERVE_ELEMS: u32 = 1 << 11;
    /// `BPF_F_INNER_MAP`: an inner array may have another size than the template.
    pub const INNER_MAP: u32 = 1 << 12;
    /// `BPF_F_SEGV_ON_FAULT`: user space does not allocate an arena's pages by touching them.
    pub const SEGV_ON_FAULT: u32 = 1 << 17;
    /// `BPF_F_NO_USER_CONV`: pointers into the arena are never cast to user addresses.
    pub const NO_USER_CONV: u32 = 1 << 18;
    /// `BPF_F_RB_OVERWRITE`: a full ring buffer drops its oldest records.
    pub const RB_OVERWRITE: u32 = 1 << 19;
}

/// A refusal: the error and its reason.
pub(super) type Refusal = (Errno, String);

/// The largest `kmalloc` (`KMALLOC_MAX_SIZE` with 4 KiB pages).
const KMALLOC_MAX: u64 = 4 << 20;
/// The largest per-CPU allocation (`PCPU_MIN_UNIT_SIZE`).
const PERCPU_MAX: u64 = 32 << 10;
/// The largest local storage (`BPF_LOCAL_STORAGE_MAX_VALUE_SIZE`).
const STORAGE_MAX: u64 = 65_535 - 128;
/// `sizeof(struct htab_elem)`.
const HTAB_ELEM: u64 = 48;
/// The most buckets: a power of two, of 16 bytes each (`struct bucket`), below `U32_MAX` bytes (`htab_map_alloc`).
const MAX_BUCKETS: u32 = 1 << 27;
/// The longest key of a hash of sockets (`MAX_BPF_STACK`).
const MAX_SOCK_KEY: u32 = 512;
/// `NR_CPUS`, as distributions configure it for x86-64.
const NR_CPUS: u32 = 8192;
/// `sysctl_perf_event_max_stack`.
const MAX_STACK: u32 = 127;
/// `sizeof(struct bpf_stack_build_id)`.
const BUILD_ID: u32 = 32;
/// `BPF_F_RDONLY`, `BPF_F_WRONLY` and their forms for programs (`BPF_F_ACCESS_MASK`).
const ACCESS: u32 = flag::RDONLY | flag::WRONLY | flag::RDONLY_PROG | flag::WRONLY_PROG;

/// Checks a definition as the kernel does.
pub(super) fn check(def: &MapDef) -> Result<(), Refusal> {
    use MapType as T;
    let both = |a, b| def.map_flags & (a | b) == a | b;
    if both(flag::RDONLY, flag::WRONLY) {
        return invalid("BPF_F_RDONLY and BPF_F_WRONLY exclude each other");
    }
    if !matches!(def.map_type, T::BloomFilter | T::Arena) && def.map_extra != 0 {
        return invalid(format!("map_extra is {}, only bloom filters and arenas have one", def.map_extra));
    }
    match def.map_type {
        T::Array => array(def, flag::MMAPABLE | flag::INNER_MAP),
        T::PercpuArray => {
            numa(def)?;
            array(def, 0)?;
            percpu(def)
        }
        T::ProgArray | T::CgroupArray | T::ArrayOfMaps | T::PerfEventArray => {
            size("value", def.value_size, 4)?;
            if def.map_flags & (flag::RDONLY_PROG | flag::WRONLY_PROG) != 0 {
                return invalid("program-side access flags are not allowed on an array of objects");
            }
            array(def, if def.map_type == T::PerfEventArray { flag::PRESERVE_ELEMS } else { 0 })
        }
        T::Hash | T::PercpuHash | T::LruHash | T::LruPercpuHash => hash(def),
        T::HashOfMaps => {
            size("value", def.value_size, 4)?;
            hash(def)
        }
        T::Queue | T::Stack => queue(def),
        T::BloomFilter => bloom(def),
        T::LpmTrie => lpm(def),
        T::StackTrace => stack_trace(def),
        T::Ringbuf | T::UserRingbuf => ringbuf(def),
        T::TaskStorage | T::CgrpStorage | T::InodeStorage | T::SkStorage => local_storage(def),
        T::CgroupStorage | T::PercpuCgroupStorage => cgroup_storage(def),
        T::Arena => arena(def),
        T::InsnArray => insn_array(def),
        T::Sockmap | T::Sockhash | T::Xskmap | T::ReuseportSockarray => sockets(def),
        T::Devmap | T::DevmapHash | T::Cpumap => redirect(def),
        T::Unspec => invalid("a map needs a type"),
        T::Unknown(n) => invalid(format!("type {n} is unknown")),
        _ => Ok(()),
    }
}

fn invalid<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err((Errno::EINVAL, why.into()))
}

fn too_big<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err((Errno::E2BIG, why.into()))
}

fn size(what: &str, is: u32, must: u32) -> Result<(), Refusal> {
    if is == must { Ok(()) } else { invalid(format!("{what}_size is {is}, must be {must}")) }
}

fn nonzero(what: &str, is: u32) -> Result<(), Refusal> {
    if is == 0 { invalid(format!("{what} is 0")) } else { Ok(()) }
}

fn flags(def: &MapDef, allowed: u32) -> Result<(), Refusal> {
    let other = def.map_flags & !allowed;
    if other != 0 {
        return invalid(format!("map_flags {other:#x} are not allowed for type {}", def.map_type));
    }
    let progs = flag::RDONLY_PROG | flag::WRONLY_PROG;
    if def.map_flags & progs == progs {
        return invalid("BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG exclude each other");
    }
    Ok(())
}

fn numa(def: &MapDef) -> Result<(), Refusal> {
    if def.map_flags & flag::NUMA_NODE != 0 {
        return invalid("per-CPU maps have no NUMA node");
    }
    Ok(())
}

fn percpu(def: &MapDef) -> Result<(), Refusal> {
    if u64::from(def.value_size).next_multiple_of(8) > PERCPU_MAX {
        return too_big(format!("value_size {} is over the per-CPU limit of {PERCPU_MAX}", def.value_size));
    }
    Ok(())
}

/// `array_map_alloc_check`.
fn array(def: &MapDef, own: u32) -> Result<(), Refusal> {
    nonzero("max_entries", def.max_entries)?;
    size("key", def.key_size, 4)?;
    nonzero("value_size", def.value_size)?;
    flags(def, flag::NUMA_NODE | ACCESS | own)?;
    if def.value_size > i32::MAX as u32 {
        return too_big(format!("value_size {} is over the limit of {}", def.value_size, i32::MAX));
    }
    Ok(())
}

/// `htab_map_alloc_check`.
fn hash(def: &MapDef) -> Result<(), Refusal> {
    let lru = matches!(def.map_type, MapType::LruHash | MapType::LruPercpuHash);
    let is_percpu = matches!(def.map_type, MapType::PercpuHash | MapType::LruPercpuHash);
    let has = |f| def.map_flags & f != 0;
    flags(def, flag::NO_PREALLOC | flag::NO_COMMON_LRU | flag::NUMA_NODE | flag::ZERO_SEED | ACCESS)?;
    if !lru && has(flag::NO_COMMON_LRU) {
        return invalid("BPF_F_NO_COMMON_LRU is for LRU maps only");
    }
    if lru && has(flag::NO_PREALLOC) {
        return Err((Errno::ENOTSUPP, "LRU maps are always preallocated, BPF_F_NO_PREALLOC is set".into()));
    }
    if is_percpu || has(flag::NO_COMMON_LRU) {
        numa(def)?;
    }
    nonzero("max_entries", def.max_entries)?;
    nonzero("key_size", def.key_size)?;
    nonzero("value_size", def.value_size)?;
    if u64::from(def.key_size) + u64::from(def.value_size) >= KMALLOC_MAX - HTAB_ELEM {
        return too_big(format!(
            "key and value of {} and {} bytes are too large",
            def.key_size, def.value_size
        ));
    }
    if is_percpu {
        percpu(def)?;
    }
    // The array of buckets, of which there are as many as the next power of two, stays below 4 GiB.
    if def.max_entries > MAX_BUCKETS {
        return too_big(format!("max_entries {} is over the limit of {MAX_BUCKETS}", def.max_entries));
    }
    Ok(())
}

/// `queue_stack_map_alloc_check`.
fn queue(def: &MapDef) -> Result<(), Refusal> {
    nonzero("max_entries", def.max_entries)?;
    nonzero("value_size", def.value_size)?;
    size("key", def.key_size, 0)?;
    flags(def, flag::NUMA_NODE | ACCESS)?;
    if u64::from(def.value_size) > KMALLOC_MAX {
        return too_big(format!("value_size {} is over the limit of {KMALLOC_MAX}", def.value_size));
    }
    Ok(())
}

/// `bloom_map_alloc_check`, `bloom_map_alloc`.
fn bloom(def: &MapDef) -> Result<(), Refusal> {
    if u64::from(def.value_size) > KMALLOC_MAX {
        return too_big(format!("value_size {} is over the limit of {KMALLOC_MAX}", def.value_size));
    }
    size("key", def.key_size, 0)?;
    nonzero("value_size", def.value_size)?;
    nonzero("max_entries", def.max_entries)?;
    flags(def, flag::NUMA_NODE | flag::ZERO_SEED | ACCESS)?;
    if def.map_extra > 15 {
        return invalid(format!(
            "map_extra is {:#x}, must be a number of hash functions up to 15",
            def.map_extra
        ));
    }
    Ok(())
}

/// `trie_alloc`.
fn lpm(def: &MapDef) -> Result<(), Refusal> {
    nonzero("max_entries", def.max_entries)?;
    if def.map_flags & flag::NO_PREALLOC == 0 {
        return invalid("tries need BPF_F_NO_PREALLOC");
    }
    flags(def, flag::NO_PREALLOC | flag::NUMA_NODE | ACCESS)?;
    if !(5..=260).contains(&def.key_size) {
        return invalid(format!("key_size is {}, must be 4 and 1 to 256 bytes of data", def.key_size));
    }
    nonzero("value_size", def.value_size)?;
    if u64::from(def.value_size) > KMALLOC_MAX - 256 - 40 {
        return invalid(format!("value_size {} is too large", def.value_size));
    }
    Ok(())
}

/// `stack_map_alloc`.
fn stack_trace(def: &MapDef) -> Result<(), Refusal> {
    flags(def, flag::NUMA_NODE | flag::RDONLY | flag::WRONLY | flag::STACK_BUILD_ID)?;
    nonzero("max_entries", def.max_entries)?;
    size("key", def.key_size, 4)?;
    let unit = if def.map_flags & flag::STACK_BUILD_ID != 0 { BUILD_ID } else { 8 };
    if def.value_size < 8 || !def.value_size.is_multiple_of(unit) || def.value_size / unit > MAX_STACK {
        let why =
            format!("value_size is {}, must be 1 to {MAX_STACK} entries of {unit} bytes", def.value_size);
        return invalid(why);
    }
    if def.max_entries > 1 << 31 {
        return too_big(format!("max_entries {} is over the limit of {}", def.max_entries, 1u32 << 31));
    }
    Ok(())
}

/// `ringbuf_map_alloc`.
fn ringbuf(def: &MapDef) -> Result<(), Refusal> {
    let overwrite = if def.map_type == MapType::Ringbuf { flag::RB_OVERWRITE } else { 0 };
    flags(def, flag::NUMA_NODE | overwrite)?;
    let own = if def.map_type == MapType::Ringbuf { flag::RB_OVERWRITE } else { 0 };
    flags(def, flag::NUMA_NODE | own)?;
    size("key", def.key_size, 0)?;
    size("value", def.value_size, 0)?;
    if !def.max_entries.is_power_of_two() || !def.max_entries.is_multiple_of(4096) {
        return invalid(format!("max_entries is {}, must be a power of two of whole pages", def.max_entries));
    }
    Ok(())
}

/// `bpf_local_storage_map_alloc_check`.
fn local_storage(def: &MapDef) -> Result<(), Refusal> {
    flags(def, flag::NO_PREALLOC | flag::CLONE)?;
    if def.map_flags & flag::NO_PREALLOC == 0 {
        return invalid("local storage needs BPF_F_NO_PREALLOC");
    }
    size("max_entries", def.max_entries, 0).map_err(|(e, _)| (e, "max_entries must be 0".to_owned()))?;
    size("key", def.key_size, 4)?;
    nonzero("value_size", def.value_size)?;
    if def.key_type.is_none() || def.value_type.is_none() {
        return invalid("local storage needs BTF types of key and value");
    }
    if u64::from(def.value_size) > STORAGE_MAX {
        return too_big(format!("value_size {} is over the limit of {STORAGE_MAX}", def.value_size));
    }
    Ok(())
}

/// `cgroup_storage_map_alloc`.
fn cgroup_storage(def: &MapDef) -> Result<(), Refusal> {
    if !matches!(def.key_size, 8 | 16) {
        return invalid(format!(
            "key_size is {}, must be that of a cgroup id or of struct bpf_cgroup_storage_key",
            def.key_size
        ));
    }
    nonzero("value_size", def.value_size)?;
    let percpu = def.map_type == MapType::PercpuCgroupStorage;
    let limit = if percpu { STORAGE_MAX.min(PERCPU_MAX) } else { STORAGE_MAX };
    if u64::from(def.value_size) > limit {
        return too_big(format!("value_size {} is over the limit of {limit}", def.value_size));
    }
    flags(def, flag::NUMA_NODE | ACCESS)?;
    if def.max_entries != 0 {
        return invalid("max_entries must be 0");
    }
    Ok(())
}

/// `arena_map_alloc`.
fn arena(def: &MapDef) -> Result<(), Refusal> {
    const PAGE: u64 = 4096;
    size("key", def.key_size, 0)?;
    size("value", def.value_size, 0)?;
    nonzero("max_entries", def.max_entries)?;
    flags(def, flag::SEGV_ON_FAULT | flag::MMAPABLE | flag::NO_USER_CONV)?;
    if def.map_flags & flag::MMAPABLE == 0 {
        return invalid("an arena needs BPF_F_MMAPABLE");
    }
    if !def.map_extra.is_multiple_of(PAGE) {
        return invalid(format!("map_extra is {:#x}, must be the address of a page", def.map_extra));
    }
    let len = u64::from(def.max_entries) * PAGE;
    if len > 1 << 32 {
        return too_big(format!("max_entries {} is over 4 GiB of pages", def.max_entries));
    }
    if def.map_extra >> 32 != def.map_extra.wrapping_add(len - 1) >> 32 {
        let why = format!("{len} bytes from {:#x} (map_extra) cross a 4 GiB boundary", def.map_extra);
        return Err((Errno::ERANGE, why));
    }
    Ok(())
}

/// `insn_array_alloc_check`.
fn insn_array(def: &MapDef) -> Result<(), Refusal> {
    nonzero("max_entries", def.max_entries)?;
    size("key", def.key_size, 4)?;
    size("value", def.value_size, super::insn_array::VALUE)?;
    flags(def, 0)
}

/// `sock_map_alloc`, `sock_hash_alloc`, `xsk_map_alloc`, `reuseport_array_alloc_check`.
fn sockets(def: &MapDef) -> Result<(), Refusal> {
    nonzero("max_entries", def.max_entries)?;
    match def.map_type {
        MapType::Sockhash => nonzero("key_size", def.key_size)?,
        _ => size("key", def.key_size, 4)?,
    }
    match def.map_type {
        MapType::Xskmap => size("value", def.value_size, 4)?,
        // Cookies of sockets have 8 bytes.
        _ if matches!(def.value_size, 4 | 8) => {}
        _ => return invalid(format!("value_size is {}, must be 4 or 8", def.value_size)),
    }
    let array = def.map_type == MapType::ReuseportSockarray;
    let access = if array { ACCESS } else { flag::RDONLY | flag::WRONLY };
    flags(def, flag::NUMA_NODE | access)?;
    if def.key_size > MAX_SOCK_KEY {
        return too_big(format!("key_size {} is over the limit of {MAX_SOCK_KEY}", def.key_size));
    }
    Ok(())
}

/// `dev_map_alloc_check`, `dev_map_init_map`, `cpu_map_alloc`.
fn redirect(def: &MapDef) -> Result<(), Refusal> {
    nonzero("max_entries", def.max_entries)?;
    size("key", def.key_size, 4)?;
    // An index, alone or with the descriptor of a program.
    if !matches!(def.value_size, 4 | 8) {
        return invalid(format!("value_size is {}, must be 4 or 8", def.value_size));
    }
    if def.map_type == MapType::Cpumap {
        flags(def, flag::NUMA_NODE)?;
        return if def.max_entries > NR_CPUS {
            too_big(format!(
                "max_entries {} is over the {NR_CPUS} CPUs that a kernel may have",
                def.max_entries
            ))
        } else {
            Ok(())
        };
    }
    flags(def, flag::NUMA_NODE | flag::RDONLY | flag::WRONLY)?;
    if def.map_type == MapType::DevmapHash && def.max_entries > 1 << 31 {
        return invalid(format!("max_entries {} is over the limit of {}", def.max_entries, 1u32 << 31));
    }
    Ok(())
}
