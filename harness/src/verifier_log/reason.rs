//! What kind of mistake the verifier's words are about: the same identifiers that the simulator's faults and its static
//! checker have, so that the same help belongs to them.

use std::sync::LazyLock;

use regex::Regex;

/// What the words of no known mistake are.
pub(super) const OTHER: &str = "verifier";

/// Patterns of the verifier's messages, the more special first. The words are those of `kernel/bpf/verifier.c` (5.10 to
/// 7.3) and of libbpf's `fixup_verifier_log()`.
const REASONS: &[(&str, &str)] = &[
    (r"BPF program is too large|sequence of \d+ jumps is too complex", "budget"),
    (r"infinite loop detected|back-edge from insn|loop detected", "infinite-loop"),
    (r"invalid func unknown#|unknown func |kernel subsystem misconfigured func", "unknown-helper"),
    (
        r"failed to resolve CO-RE relocation|is referenced but wasn't resolved|referenced but wasn't created",
        "unresolved-relocation",
    ),
    (
        r"failed to find the address for kernel symbol|address of function \S+ cannot be found|kernel function .* not found",
        "unresolved-relocation",
    ),
    (
        r"would lead to reference leak|Unreleased reference|reference has not been acquired|expects refcounted|is an unacquired reference|refcounted bpf_",
        "unreleased-reference",
    ),
    (
        r"-ed region|without matching bpf_|-ed section|irq state out of order|expected an? initialized irq flag|irq flag",
        "unbalanced-region",
    ),
    (
        r"spin_lock|deadlock|cannot be out of order|without taking a lock|of different lock|holding a lock|Locking two",
        "lock",
    ),
    (
        r"invalid mem access '.*_or_null'|Possibly NULL pointer|pointer arithmetic on \S*_or_null|possibly NULL",
        "null-deref",
    ),
    (
        r"invalid mem access|access beyond struct|access beyond the end of member|invalid (sock|sock_common|tcp_sock|xdp_sock) access|no write support to|cannot access ptr member|is \w+ invalid negative access",
        "invalid-mem-access",
    ),
    (
        r"invalid bpf_context access|negative offset ctx ptr|dereference of modified ctx|variable ctx access|doesn't have \d+-th argument|type \w+ is (not a struct|unsupported)",
        "ctx-access",
    ),
    (
        r"cannot write into|write into map forbidden|cannot write into packet|only read from bpf_|only read is supported|does not allow writes|may write into memory",
        "read-only-write",
    ),
    (r"read from map forbidden", "write-only-read"),
    (
        r"min value is negative|unbounded memory access|outside of the packet|zero-sized read|pointer be out of bounds|is invalid negative|buffer access: off|variable buffer offset|outside of the (allowed (memory )?|array )range|invalid access to (map value|packet|memory|map key)|invalid access to",
        "out-of-bounds",
    ),
    (r"uninitialized variable", "uninit-variable"),
    (r"misaligned value access", "misaligned-atomic"),
    (r"uptr", "special-field"),
    (r"!read_ok|R\d+ is invalid$", "uninit-register"),
    (r"frame pointer is read only", "frame-pointer"),
    (r"combined stack size|stack size .* too large|stack depth .* too large|Too large", "stack-size"),
    (r"(?i)call stack of \d+ frames is too deep|calls? in a loop|recursi(on|ve)", "call-depth"),
    (
        r"invalid (indirect )?(read|access) (from|to) (variable-offset )?stack|invalid indirect read",
        "uninit-stack-read",
    ),
    (r"misaligned stack access", "misaligned-stack"),
    (
        r"invalid (unbounded )?(variable-offset )?(read|write|indirect access)? ?(from|to)? ?stack|invalid stack|size of register (fill|spill)|stack pointer arithmetic|cannot return stack pointer|stack frame",
        "stack-access",
    ),
    (r"dynptr|\biter\b|initialized iter_|uninitialized iter|iterator", "stack-object"),
    (r"\bkptr\b|kptr access", "kptr"),
    (
        r"pointer arithmetic|math between|tried to add|tried to subtract|bitwise operator .* on pointer|pointer operation|prohibited",
        "pointer-arithmetic",
    ),
    (r"invalid shift", "invalid-shift"),
    (r"div by zero", "div-by-zero"),
    (
        r"has .*should have been|At program exit|In .* should have been|register R0 has|doesn't return scalar|R0 leaks addr|return value",
        "return-value",
    ),
    (r"invalid args into func", "function-argument"),
    (
        r"expects pointer to|args#\d+ expected pointer|type ID argument|doesn't point to|Arg#\d+ type|arg#\d+ (expected|is)|arg#\d+ pointer type|arg#\d+ memory",
        "kfunc-argument",
    ),
    (r"exception", "exception"),
    (
        r"(cannot|can not|can't) (use|call) helper|cannot call .* from|not allowed|may not|cannot be called|not supported|tracing progs cannot use|can only use array|device-bound program|GPL compatible|unsupported member|cannot update sockmap|cannot pass map_type|same insn cannot|only allowed in|prog array map for tail call|sleepable|helper call is not|cannot call GPL",
        "not-allowed",
    ),
    (r"BPF_ATOMIC|BPF_XADD|atomic", "atomic"),
    (
        r"type=\S+ expected=|expected=|R\d+ (must|has to|doesn't|is not|has type)|helper access|is of type \w+ but|not zero-terminated",
        "helper-argument",
    ),
    (r"unreachable insn", "unreachable"),
    (
        r"unknown opcode|uses reserved fields|invalid BPF_LD_IMM64|jump out of range|last insn is not|unrecognized bpf_ld|invalid insn|insn .* out of range",
        "invalid-instruction",
    ),
];

#[allow(clippy::unwrap_used, reason = "the patterns are constants, and a test compiles them")]
static PATTERNS: LazyLock<Vec<(Regex, &'static str)>> =
    LazyLock::new(|| REASONS.iter().map(|(pattern, id)| (Regex::new(pattern).unwrap(), *id)).collect());

/// The identifier of what the message is about: its first line that is known decides.
pub(super) fn of(message: &[String]) -> &'static str {
    let known =
        |line: &String| PATTERNS.iter().find(|(pattern, _)| pattern.is_match(line)).map(|(_, id)| *id);
    message.iter().find_map(known).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::{OTHER, PATTERNS, of};

    #[test]
    fn what_it_names_has_help() {
        let known: Vec<&str> = PATTERNS.iter().map(|(_, id)| *id).collect();
        let without: Vec<_> = known.iter().filter(|id| crate::report::help(id).is_none()).collect();
        assert!(without.is_empty(), "{without:?}");
    }

    #[test]
    fn words_of_old_and_new_kernels_mean_the_same() {
        let cases = [
            ("R7 invalid mem access 'scalar'", "invalid-mem-access"),
            ("R7 invalid mem access 'inv'", "invalid-mem-access"),
            ("R0 invalid mem access 'map_value_or_null'", "null-deref"),
            ("R0 !read_ok", "uninit-register"),
            ("func 'block_rq_issue' doesn't have 2-th argument", "ctx-access"),
            ("The address of function blk_account_io_done cannot be found", "unresolved-relocation"),
            ("invalid indirect read from stack off -8+4 size 8", "uninit-stack-read"),
            ("invalid indirect read from stack R2 off -8+4 size 8", "uninit-stack-read"),
            ("invalid read from stack R10 off -8+0 size 8", "uninit-stack-read"),
            ("invalid stack off=0 size=8", "stack-access"),
            ("invalid write to stack R10 off=0 size=8", "stack-access"),
            ("R10 max value is outside of the array range", "out-of-bounds"),
            ("R2 max value is outside of the allowed memory range", "out-of-bounds"),
            ("invalid access to map value, value_size=8 off=8 size=4", "out-of-bounds"),
            ("Unreleased reference id=2 alloc_insn=1", "unreleased-reference"),
            ("unknown func bpf_loop#181", "unknown-helper"),
            ("invalid func unknown#181", "unknown-helper"),
            ("program of this type cannot use helper bpf_loop#181", "not-allowed"),
            ("cannot call GPL-restricted function from non-GPL compatible program", "not-allowed"),
            ("BPF program is too large. Processed 1000001 insn", "budget"),
            ("the call stack of 9 frames is too deep !", "call-depth"),
            ("combined stack size of 2 calls is 544. Too large", "stack-size"),
            ("back-edge from insn 3 to 2", "infinite-loop"),
            ("Caller passes invalid args into func#1 ('f')", "function-argument"),
            ("something that was never heard of", OTHER),
        ];
        for (message, id) in cases {
            assert_eq!(of(&[message.to_owned()]), id, "{message}");
        }
    }
}
