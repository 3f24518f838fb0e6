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
];

pub(super) fn of(id: &str) -> Option<&'static str> {
    HELP.iter().find(|(i, _)| *i == id).map(|(_, help)| *help)
}
