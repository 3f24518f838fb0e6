//! Row 6: a USDT handler, `bpf_usdt_readarg(index, ctx, &dest)`: index from 1, specifications from the binary's notes.

use crate::server::server;
use crate::support::{load, me, on_kernel};
use bpf_harness::Bpf;
use bpf_harness::symbols::Binary;
use bpf_harness::usdt::Usdt;

const TEXT: &str = r#"
    struct seen_t { u64 first; int second; char path[16]; };
    BPF_ARRAY(seen, struct seen_t, 1);
    int do_trace(struct pt_regs *ctx) {
        int zero = 0;
        u64 addr = 0;
        struct seen_t s = {};
        bpf_usdt_readarg(1, ctx, &s.first);
        bpf_usdt_readarg(2, ctx, &s.second);
        bpf_usdt_readarg(3, ctx, &addr);
        bpf_probe_read(&s.path, sizeof(s.path), (void *)addr);
        seen.update(&zero, &s);
        return 0;
    }
"#;

#[test]
fn arguments_come_from_registers_memory_and_constants() {
    for specs in ["8@%rdi -4@%esi 8@%rdx", "8@-16(%rbp) -4@-20(%rbp) 8@%rax", "8@%rdi -4@$-7 8@8(%rsp)"] {
        let binary = Binary::declared("/usr/bin/server").probe("http", "request", 0x1234, specs).unwrap();
        let mut usdt = Usdt::from_binary(binary).unwrap();
        usdt.enable_probe("request", "do_trace").unwrap();
        let Some(mut bpf) = load(Bpf::builder().text(TEXT).usdt_context(usdt)) else { return };
        let mut path = b"/index.html".to_vec();
        path.resize(16, 0);
        let at = bpf.user_memory(&path).unwrap();
        bpf.usdt("http", "request").args([77, -7i64 as u64, at]).fire().unwrap();
        let seen = bpf.table("seen").unwrap();
        let seen = seen.get(0).unwrap();
        assert_eq!((&seen["first"], &seen["second"]), (&77u64.into(), &(-7).into()), "{specs}");
        assert_eq!(seen["path"], "/index.html", "{specs}");
    }
}

/// Real probes of a real library, passed by this process: a register, a constant and a variable.
#[test]
fn arguments_of_real_probes_are_read() {
    let text = r#"
        struct seen_t { u64 first; int second; };
        BPF_HASH(seen, u64, int);
        int on_request(struct pt_regs *ctx) {
            struct seen_t s = {};
            if (bpf_get_current_pid_tgid() >> 32 != ME)
                return 0;
            bpf_usdt_readarg(1, ctx, &s.first);
            bpf_usdt_readarg(2, ctx, &s.second);
            seen.update(&s.first, &s.second);
            return 0;
        }
    "#;
    let mut usdt = Usdt::from_path(server().path()).unwrap();
    usdt.enable_probe("http:request", "on_request").unwrap();
    let builder = Bpf::builder().text(text).define("ME", me().to_string()).usdt_context(usdt);
    let mut bpf = match builder.load() {
        Ok(bpf) => bpf,
        Err(e) if !on_kernel() => return eprintln!("skipped: {e}"),
        Err(e) => panic!("{e}"),
    };
    if on_kernel() {
        assert_eq!((server().handle(12), server().handle_again(12)), (12, -12));
    } else {
        bpf.usdt("http", "request").args([12]).fire().unwrap();
        bpf.usdt("http", "request").location(1).args([7]).fire().unwrap();
    }
    let seen = bpf.get_table("seen").unwrap().typed::<u64, i32>().items().unwrap();
    assert_eq!(seen.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [7, 12]);
}
