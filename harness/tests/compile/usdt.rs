//! Arguments of USDT probes are where the notes of the binary say.

use crate::support::{builder, clang};
use bpf_harness::symbols::Binary;
use bpf_harness::usdt::Usdt;

const TEXT: &str = r#"
    struct data { int a; u64 b; s64 c; u8 d; int missing; };
    BPF_HASH(seen, u32, struct data);

    int on_request(struct pt_regs *ctx)
    {
        struct data data = {};
        u32 key = 0;
        bpf_usdt_readarg(1, ctx, &data.a);
        bpf_usdt_readarg(2, ctx, &data.b);
        bpf_usdt_readarg(3, ctx, &data.c);
        bpf_usdt_readarg(4, ctx, &data.d);
        data.missing = bpf_usdt_readarg(5, ctx, &data.b);
        seen.update(&key, &data);
        return 0;
    }
"#;

#[test]
fn registers_memory_and_constants_are_read() {
    if !clang() {
        return;
    }
    let binary = Binary::declared("/usr/bin/server");
    let binary = binary.probe("http", "request", 0x1200, "-4@%edi 8@%rsi -8@$-5 1@%dh").unwrap();
    let mut usdt = Usdt::from_binary(binary).unwrap();
    usdt.enable_probe("http:request", "on_request").unwrap();
    let mut bpf = builder(TEXT).usdt_context(usdt).load().unwrap();
    let minus_three = u64::from((-3i32).cast_unsigned());
    bpf.usdt("http", "request").args([minus_three, 77, (-5i64).cast_unsigned(), 9]).fire().unwrap();
    let seen = bpf.table("seen").unwrap();
    let data = &seen.items()[0].value;
    assert_eq!(data["a"], -3i32);
    assert_eq!(data["b"], 77u64);
    assert_eq!(data["c"], -5i64);
    assert_eq!(data["d"], 9u8);
    assert_eq!(data["missing"], -1i32);
}

#[test]
fn places_of_a_probe_are_told_apart() {
    if !clang() {
        return;
    }
    let binary = Binary::declared("/usr/bin/server").probe("http", "request", 0x1200, "-4@%edi").unwrap();
    let binary = binary.probe("http", "request", 0x2345, "-4@%esi").unwrap();
    let mut usdt = Usdt::from_binary(binary).unwrap();
    usdt.enable_probe("request", "on_request").unwrap();
    let mut bpf = builder(TEXT).usdt_context(usdt).load().unwrap();
    for (location, value) in [(0, 11), (1, 22)] {
        bpf.usdt("http", "request").location(location).args([value]).fire().unwrap();
        let seen = bpf.table("seen").unwrap();
        assert_eq!(seen.items()[0].value["a"], value as i32, "place {location}");
    }
}

#[test]
fn places_that_look_alike_are_refused() {
    if !clang() {
        return;
    }
    let binary = Binary::declared("/usr/bin/server").probe("http", "request", 0x1200, "-4@%edi").unwrap();
    let binary = binary.probe("http", "request", 0x5200, "-4@%esi").unwrap();
    let mut usdt = Usdt::from_binary(binary).unwrap();
    usdt.enable_probe("request", "on_request").unwrap();
    let error = builder(TEXT).usdt_context(usdt).load().unwrap_err().to_string();
    assert!(error.contains("function 'on_request', argument 1") && error.contains("told apart"), "{error}");
}

#[test]
fn without_a_probe_the_read_is_refused_where_it_is_reached() {
    if !clang() {
        return;
    }
    let mut bpf = builder(TEXT).load().unwrap();
    bpf.attach_kprobe("vfs_read", "on_request").unwrap();
    let error = bpf.kprobe("vfs_read").fire().unwrap_err().to_string();
    assert!(error.contains("bpf_usdt_readarg_without_usdt_context"), "{error}");
}
