//! Where a thread runs.

/// Keeps this thread, and what it makes, on the CPU that it is on: rings are read one CPU after the other, and records of
/// one CPU come in their order. It stays as it is if the kernel does not let it.
pub(crate) fn stay() {
    // SAFETY: takes no arguments; the set is all zeros, which is an empty set, and large enough for any CPU that
    // `CPU_SET` is given; the call reads it before it returns, and concerns this thread only.
    unsafe {
        let cpu = libc::sched_getcpu();
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if let Ok(cpu) = usize::try_from(cpu)
            && cpu < 8 * size_of::<libc::cpu_set_t>()
        {
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }
}
