//! Logs of the forms that kernels from 5.10 on write.

use proptest::prelude::*;

use super::{Refusal, VerifierLog};

/// Linux 5.10: registers stand on lines of their own, C lines have no place, numbers are `inv`.
const OLD: &str = "\
func#0 @0
0: R1=ctx(id=0,off=0,imm=0) R10=fp0
; int probe(struct pt_regs *ctx)
0: (79) r7 = *(u64 *)(r1 +112)
1: (b7) r0 = 0
; return file->f_flags;
2: (61) r0 = *(u32 *)(r7 +64)
R7 invalid mem access 'inv'
verification time 171 usec
stack depth 16+0
processed 3 insns (limit 1000000) max_states_per_insn 1 total_states 2 peak_states 3 mark_read 4
";

/// Linux 6.9 and later: registers behind the instructions, C lines with their place, functions walked on their own.
const NEW: &str = "\
Validating outer() func#1...
0: R1=ctx() R10=fp0
; value = bpf_map_lookup_elem(&counts, &key); @ counts.bpf.c:14
0: (18) r1 = 0xffff8881095dd000       ; R1_w=map_ptr(map=counts,ks=4,vs=8)
2: (bf) r2 = r10                      ; R2_w=fp0 R10=fp0
3: (07) r2 += -4                      ; R2_w=fp-4
4: (62) *(u32 *)(r10 -4) = 0          ; R10=fp0 fp-8=0000????
mark_precise: frame0: last_idx 4 first_idx 0 subseq_idx -1 
5: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value_or_null(id=1,map=counts,ks=4,vs=8)
; return helper(value); @ counts.bpf.c:15
6: (bf) r1 = r0                       ; R0_w=map_value_or_null(id=1,map=counts,ks=4,vs=8) R1_w=map_value_or_null(id=1,map=counts,ks=4,vs=8)
7: (85) call pc+1
caller:
 R10=fp0 fp-8=0000????
callee:
 frame1: R1_w=map_value_or_null(id=1,map=counts,ks=4,vs=8) R10=fp0
9: frame1: R1_w=map_value_or_null(id=1,map=counts,ks=4,vs=8) R10=fp0
; return *value; @ counts.bpf.c:8
9: (61) r0 = *(u32 *)(r1 +0)
R1 invalid mem access 'map_value_or_null'
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 0
";

#[test]
fn a_log_of_an_old_kernel_says_why_and_where() {
    let log = VerifierLog::parse(OLD);
    assert_eq!((log.headline(), log.insn, log.complete), ("R7 invalid mem access 'inv'", Some(2), true));
    assert_eq!(log.source.as_ref().unwrap().text, "return file->f_flags;");
    let s = log.stats;
    assert_eq!(
        (s.insns_processed, s.insns_limit, s.max_states_per_insn),
        (Some(3), Some(1_000_000), Some(1))
    );
    assert_eq!((s.total_states, s.peak_states, s.mark_read), (Some(2), Some(3), Some(4)));
    assert_eq!((s.stack_depth, s.verification_usec), (Some(16), Some(171)));
    assert!(log.registers.is_empty(), "those of the beginning are not those of instruction 2");
    insta::assert_snapshot!(log.diagnostic(&Refusal::of("probe")).render(false));
}

#[test]
fn a_log_of_a_new_kernel_says_who_called_and_what_registers_hold() {
    let log = VerifierLog::parse(NEW);
    assert_eq!((log.headline(), log.insn), ("R1 invalid mem access 'map_value_or_null'", Some(9)));
    assert_eq!(log.callers.iter().map(|c| c.insn).collect::<Vec<_>>(), [7]);
    assert_eq!(log.registers.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["R1", "R10"]);
    insta::assert_snapshot!(log.diagnostic(&Refusal::of("count")).render(false));
}

#[test]
fn another_path_leaves_the_known_one_behind_a_branch() {
    let log = VerifierLog::parse(
        "0: (b7) r1 = 1\n1: (15) if r0 == 0x0 goto pc+2\n2: (b7) r0 = 0\n3: (95) exit\n\nfrom 1 to 4: R1=scalar() R10=fp0\n\
         4: (b7) r2 = 1\n5: (bf) r0 = r3\nR3 !read_ok\n",
    );
    assert_eq!(log.path.iter().map(|s| s.insn).collect::<Vec<_>>(), [0, 1, 4, 5]);
    assert_eq!((log.insn, log.complete), (Some(5), false));
}

#[test]
fn the_verifier_names_the_instruction_where_it_walked_over_none() {
    for (text, insn, message) in [
        ("unreachable insn 5\nprocessed 0 insns (limit 1000000)", Some(5), "unreachable insn 5"),
        ("jump out of range from insn 3 to 9\n", Some(3), "jump out of range from insn 3 to 9"),
        (
            "7: goto again; @ loop.bpf.c:9\nback-edge from insn 7 to 2\n",
            Some(7),
            "back-edge from insn 7 to 2",
        ),
        (
            "BPF program is too large. Processed 1000001 insn\n",
            None,
            "BPF program is too large. Processed 1000001 insn",
        ),
        (
            "arg#0 reference type('UNKNOWN ') size cannot be determined: -22\n\
             0: R1=ctx() R10=fp0\n3: <invalid CO-RE relocation>\nfailed to resolve CO-RE relocation <byte_off> [5] struct task_struct.gone (0:0 @ offset 0)\n",
            Some(3),
            "failed to resolve CO-RE relocation <byte_off> [5] struct task_struct.gone (0:0 @ offset 0)",
        ),
    ] {
        let log = VerifierLog::parse(text);
        assert_eq!((log.insn, log.headline()), (insn, message), "{text}");
    }
}

#[test]
fn an_accepted_program_has_counts_and_no_message() {
    let log = VerifierLog::parse(
        "0: (95) exit\n(0) live stack update done in 2 iterations\nFunc#1 ('f') is safe for any args that match its prototype\n\
         verification time 12 usec\nstack depth 8+16\nprocessed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
    );
    assert!(!log.has_message() && log.complete);
    assert_eq!(log.stats.stack_depth, Some(24));
}

#[test]
fn a_log_that_was_cut_off_says_so() {
    let log = VerifierLog::parse("0: (b7) r1 = 1\n1: (bf) r2 = ");
    assert!(!log.complete);
    let text = log.diagnostic(&Refusal::of("p").errno(28)).render(false);
    assert!(text.contains("the buffer was too small"), "{text}");
}

#[test]
fn a_refusal_without_words_is_explained_by_its_error() {
    for (errno, word) in [
        (1, "CAP_BPF"),
        (-1, "CAP_BPF"),
        (22, "EINVAL"),
        (7, "E2BIG"),
        (12, "annot allocate"),
        (0, "said nothing"),
    ] {
        let text = VerifierLog::parse("").diagnostic(&Refusal::of("p").errno(errno)).render(false);
        assert!(text.contains(word) && text.contains("'p'"), "{errno}: {text}");
    }
}

proptest! {
    /// Whatever a kernel may write: nothing panics, and words are never lost.
    #[test]
    fn any_text_gives_something_useful(
        lines in prop::collection::vec(prop_oneof![
            "\\PC*",
            "[0-9]{1,12}: \\([0-9a-f]{2}\\) [a-z0-9 =+;R_()*]{0,40}",
            "from [0-9]{1,3} to [0-9]{1,3}: ?R[0-9]=\\PC{0,20}",
            prop::sample::select(OLD.lines().chain(NEW.lines()).map(str::to_owned).collect::<Vec<_>>()),
        ], 0..40),
    ) {
        let text = lines.join("\n");
        let log = VerifierLog::parse(&text);
        let rendered = log.diagnostic(&Refusal::of("some_program")).render(false);
        prop_assert!(rendered.starts_with("error[") && rendered.contains("some_program"));
        prop_assert!(log.path.len() <= super::LAST_STEPS);
    }

    /// A log that is cut at either end still gives its reason, if that is there.
    #[test]
    fn a_cut_log_keeps_its_reason(from in 0..NEW.len(), to in 0..NEW.len()) {
        let text = NEW.get(from..to).unwrap_or_default();
        let log = VerifierLog::parse(text);
        if text.contains("R1 invalid mem access 'map_value_or_null'\n") {
            // What is left of the first and the last line may look like words.
            let reason = "R1 invalid mem access 'map_value_or_null'";
            prop_assert!(log.message.iter().any(|m| m == reason), "{:?}", log.message);
        }
        prop_assert!(log.diagnostic(&Refusal::of("p")).render(true).contains("error"));
    }
}

/// Linux 7.3: a report in sentences below the verifier's words.
const REPORT: &str = "\
0: R1=ctx() R10=fp0
; u64 *v = bpf_map_lookup_elem(&counts, &k); @ null_deref.bpf.c:18
6: (85) call bpf_map_lookup_elem#1    ; R0=map_value_or_null(id=1,map=counts,ks=4,vs=8)
; return *v; @ null_deref.bpf.c:20
7: (79) r0 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'

Verification failed: Register Type Safety: Invalid dereference

Reason:
  R0 may be NULL here (a nullable map value pointer). The program could dereference NULL on this
  path, so the verifier cannot prove this access is safe.

At:
  unchecked_lookup @ null_deref.bpf.c:20:9
  Source context:
      19 | ...
  >>> 20 |         return *v;
         |         ^-- error: invalid dereference of R0 (a nullable map value pointer)
  Instruction context:
      6 | (85) call bpf_map_lookup_elem#1
  >>> 7 | (79) r0 = *(u64 *)(r0 +0)

Causal path:
  unchecked_lookup @ null_deref.bpf.c:18:11
  Source context:
  >>> 18 |         u64 *v = bpf_map_lookup_elem(&counts, &k);
         |         ^-- update: R0 changed from uninitialized value to nullable map value from counts
         |             at offset 0
      19 | ...
  Instruction context:
  >>> 6 | (85) call bpf_map_lookup_elem#1

Suggestion:
  Add a NULL check before the access and dereference the pointer only on the non-NULL path.

verification time 37882 usec
stack depth max 0
subprog 0 (unchecked_lookup) main insns_self 7 insns_total 7 stack 8
subprog 1 (other) static insns_self 7 insns_total 7 stack 16
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

#[test]
fn the_kernels_own_report_is_part_of_the_story() {
    let log = VerifierLog::parse(REPORT);
    assert_eq!(log.message, ["R0 invalid mem access 'map_value_or_null'"]);
    assert_eq!((log.insn, log.source.as_ref().map(|s| s.col)), (Some(7), Some(9)));
    assert_eq!((log.stats.stack_depth, log.stats.insns_processed), (Some(24), Some(7)));
    insta::assert_snapshot!(log.diagnostic(&Refusal::of("unchecked_lookup")).render(false));
}

#[test]
fn the_kernels_own_report_says_where_if_nothing_else_does() {
    let (_, report) = REPORT.split_once("\n\n").unwrap();
    let log = VerifierLog::parse(&format!("recursive call from deeper() to deeper()\n\n{report}"));
    assert_eq!((log.headline(), log.insn), ("recursive call from deeper() to deeper()", Some(7)));
    assert_eq!(log.source.as_ref().map(|s| (s.line, s.text.trim())), Some((20, "return *v;")));
}

/// Behind a jump the kernel may leave out the end of the line.
#[test]
fn what_shares_a_line_with_a_jump_is_read() {
    let before = "; while (n) @ a.bpf.c:7\n70: (bf) r1 = r2                       ; R1=1 R2=1\n";
    for (line, insn, headline, place) in [
        (
            "71: (2d) if r6 > r1 goto pc-19 BPF program is too large. Processed 1000001 insn",
            71,
            "BPF program is too large. Processed 1000001 insn",
            7,
        ),
        (
            "71: (bf) r1 = r2                       ; R1=1 The sequence of 8193 jumps is too complex.",
            71,
            "The sequence of 8193 jumps is too complex.",
            7,
        ),
        (
            "71: (a6) if w7 < 0x6 goto pc-14 ; u64 v = i * i; @ a.bpf.c:59\n72: (bf) r1 = r9\nR9 !read_ok",
            72,
            "R9 !read_ok",
            59,
        ),
        (
            "71: (26) if w1 > 0xa goto pc+3 75: R0=mem(sz=16) R9=1 refs=2\n75: (bf) r1 = r8\nR8 !read_ok",
            75,
            "R8 !read_ok",
            7,
        ),
        (
            "71: (15) if r0 == 0x0 goto pc+9        ; R0=mem(sz=16) refs=2\n72: (bf) r1 = r8\nR8 !read_ok",
            72,
            "R8 !read_ok",
            7,
        ),
    ] {
        let log = VerifierLog::parse(&format!("{before}{line}\n"));
        let found = (log.insn, log.headline(), log.source.as_ref().map(|s| s.line));
        assert_eq!(found, (Some(insn), headline, Some(place)), "{line}");
        let jump = log.path.iter().find(|s| s.insn == 71).unwrap();
        assert!(!jump.text.contains("  ") && jump.text.len() < 28, "{}", jump.text);
    }
}

/// The log of a program that goes on at another place without saying its C line.
#[test]
fn the_programs_own_line_is_better_than_the_last_of_the_log() {
    let object =
        bpf_vm_shim::object::Object::parse(bpf_fixtures::object("unreleased_reference").unwrap()).unwrap();
    let linked = object.link(&Default::default(), &Default::default()).unwrap();
    let program = &linked.programs[0];
    let first = program.line(0).unwrap().text.trim();
    let last = program.insns.len() as u32 - 1;
    let own = program.line(last as usize).unwrap().line;
    let log = |text: &str| {
        format!(
            "; {text}\n0: (b7) r1 = 1\n5: (15) if r0 == 0x0 goto pc+2\nfrom 5 to {last}: R0=1\n{last}: (95) exit\nUnreleased reference id=2 alloc_insn=4\n"
        )
    };
    let refusal = Refusal::of("forgets_record").linked(program);
    let of = |text: &str| VerifierLog::parse(&log(text)).diagnostic(&refusal).source.unwrap();
    assert_eq!(of(first).line, own);
    // Of another program: its own words.
    assert_eq!(of("something_else();").text, "something_else();");
}
