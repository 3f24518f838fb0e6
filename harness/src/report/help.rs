//! What to do about each kind of fault: one line by its id.

static HELP: &[(&str, &str)] = &[
    ("null-deref", "test the pointer for NULL before using it: map lookups and many helpers can return NULL"),
    (
        "invalid-mem-access",
        "read kernel memory with bpf_probe_read_kernel() or BPF_CORE_READ(), user memory with bpf_probe_read_user()",
    ),
    ("out-of-bounds", "check the offset against the size of the object before the access"),
    (
        "use-after-free",
        "do not keep pointers to deleted elements, submitted records or frames that have returned",
    ),
    (
        "read-only-write",
        "constants (.rodata) and maps with BPF_F_RDONLY_PROG can be written from outside programs only",
    ),
    (
        "uninit-stack-read",
        "initialise the whole variable, its padding included: `struct key k = {}` or __builtin_memset()",
    ),
    ("uninit-register", "give the variable a value on every path"),
    ("call-depth", "at most 8 frames: inline functions or make the recursion a loop"),
    ("budget", "bound the loop, or raise the budget if the program really runs that long"),
    ("bad-call-target", "callbacks must be functions of the same program"),
    (
        "unresolved-relocation",
        "guard the access with bpf_core_field_exists() / bpf_ksym_exists(), or give a kernel profile that has it",
    ),
    (
        "invalid-instruction",
        "the compiler or a tool produced what no kernel would load: check the -mcpu option",
    ),
    ("misaligned-atomic", "align the variable to its size; a packed structure may be the reason"),
    ("helper-argument", "the helper's documentation (bpf-helpers(7)) says what each argument must be"),
    ("not-allowed", "the kernel's verifier would refuse the call at this place"),
    (
        "unreleased-reference",
        "release it on every path: submit or discard records, release references, destroy iterators",
    ),
    ("lock", "hold one lock at a time, call nothing else meanwhile, and unlock on every path"),
    (
        "atomic",
        "do atomic operations on map values, on the stack or on memory that the program has allocated",
    ),
    (
        "ctx-access",
        "read the context's fields as they are declared, at their own offset and size, and only those of this hook",
    ),
    ("div-by-zero", "do not divide by a constant zero"),
    (
        "exception",
        "throw from the program or its functions, not from callbacks; an exception callback takes and returns one number",
    ),
    ("frame-pointer", "copy R10 and change the copy"),
    (
        "function-argument",
        "global functions are checked by their declared types: test pointers for NULL in them, and pass what they declare",
    ),
    ("infinite-loop", "a loop must change something that its condition depends on"),
    ("invalid-shift", "shift by less than the width of the number"),
    (
        "kfunc-argument",
        "pass what the kernel function's prototype says, tested for NULL, trusted or with a reference of its own",
    ),
    ("kptr", "move kptrs in and out of map values with bpf_kptr_xchg(); the types must be the same"),
    ("misaligned-stack", "align the variable to its size"),
    (
        "pointer-arithmetic",
        "add only numbers with known bounds to pointers, and test pointers for NULL first",
    ),
    (
        "rejected",
        "the program's instructions are not valid; compile it again for a CPU version that the kernel knows",
    ),
    ("return-value", "return one of the values that programs of this type may return, on every path"),
    ("special-field", "locks, timers, lists and trees in map values are for the calls that take them"),
    ("stack-access", "the stack has 512 bytes below the frame pointer: bound the index of arrays on it"),
    (
        "stack-object",
        "initialise dynptrs, iterators and flags with their own calls, do not write over them, and end them once",
    ),
    (
        "stack-size",
        "512 bytes are for all functions of a chain of calls together: put large variables into a per-CPU array",
    ),
    ("unbalanced-region", "end every critical section in the program that began it, on every path"),
    ("uninit-variable", "initialise the variable on every path: the compiler has removed what would follow"),
    ("write-only-read", "programs cannot read maps with BPF_F_WRONLY_PROG"),
    (
        "unknown-helper",
        "this kernel does not have the helper: choose another by bpf_core_enum_value_exists(enum bpf_func_id, ..)",
    ),
    ("unreachable", "no path leads to the instruction: a function without return may be the reason"),
];

pub(super) fn of(id: &str) -> Option<&'static str> {
    HELP.iter().find(|(i, _)| *i == id).map(|(_, help)| *help)
}

#[cfg(test)]
mod tests {
    use super::of;

    /// What a run can end with (`FaultKind::id`); the verifier's reasons come from its own list.
    const FAULTS: &[&str] = &[
        "null-deref",
        "invalid-mem-access",
        "out-of-bounds",
        "use-after-free",
        "read-only-write",
        "uninit-stack-read",
        "uninit-register",
        "call-depth",
        "budget",
        "bad-call-target",
        "unresolved-relocation",
        "invalid-instruction",
        "misaligned-atomic",
        "helper-argument",
        "not-allowed",
        "unreleased-reference",
        "lock",
        "rejected",
    ];

    #[test]
    fn every_reason_says_what_to_do() {
        let all = FAULTS.iter().copied().chain(bpf_helpers_mock::verifier::reasons());
        let without: Vec<&str> = all.filter(|id| of(id).is_none_or(str::is_empty)).collect();
        assert!(without.is_empty(), "no help for {without:?}");
    }
}
