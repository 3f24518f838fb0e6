//! What the forced header makes of maps, output and numbers.

use crate::support::{builder, clang};
use bpf_vm_shim::object::MapType;

#[test]
fn every_type_string_is_the_kernel_s_map_type() {
    if !clang() {
        return;
    }
    use MapType as T;
    let table = [
        ("hash", "u64", T::Hash),
        ("array", "int", T::Array),
        ("histogram", "int", T::Array),
        ("histogram", "u32", T::Hash),
        ("prog", "u32", T::ProgArray),
        ("perf_output", "int", T::PerfEventArray),
        ("perf_array", "int", T::PerfEventArray),
        ("percpu_hash", "u64", T::PercpuHash),
        ("percpu_array", "int", T::PercpuArray),
        ("stacktrace", "int", T::StackTrace),
        ("cgroup_array", "int", T::CgroupArray),
        ("lru_hash", "u64", T::LruHash),
        ("lru_percpu_hash", "u64", T::LruPercpuHash),
    ];
    for (text, key, expected) in table {
        let text = format!("BPF_TABLE(\"{text}\", {key}, u64, t, 8);");
        let builder = builder(&text);
        // Some of these the simulator does not create with such sizes; what counts is what was compiled.
        let compiled =
            bpf_harness::compile::bcc::Text::new(&text).compile(&crate::support::kernel()).unwrap();
        let object = compiled.parse().unwrap();
        assert_eq!(object.map("t").unwrap().map_type, expected, "{text}");
        drop(builder);
    }
    let wrong = builder("BPF_TABLE(\"hsah\", u32, u64, t, 8);").load().unwrap_err().to_string();
    assert!(wrong.contains("is no type of a bcc table"), "{wrong}");
}

#[test]
fn map_macros_have_the_guide_s_defaults() {
    if !clang() {
        return;
    }
    let text = "
        BPF_HASH(h1); BPF_HASH(h2, u32); BPF_HASH(h3, u32, u16); BPF_HASH(h4, struct mount *, u64, 7);
        BPF_ARRAY(a1); BPF_ARRAY(a3, u32, 5); BPF_PERCPU_ARRAY(pa, u64, 2); BPF_LRU_HASH(lru, u32);
        BPF_HISTOGRAM(g1); BPF_HISTOGRAM(g2, u32); BPF_HISTOGRAM(g3, int, 9);
        BPF_STACK_TRACE(st, 16) BPF_PERF_OUTPUT(po); BPF_PERF_ARRAY(pe, 4); BPF_RINGBUF_OUTPUT(rb, 2);
        BPF_QUEUE(q, u32, 3); BPF_STACK(s, u64, 4); BPF_PROG_ARRAY(pr, 6);
    ";
    let compiled = bpf_harness::compile::bcc::Text::new(text).compile(&crate::support::kernel()).unwrap();
    let object = compiled.parse().unwrap();
    for (name, map_type, key, value, entries) in [
        ("h1", MapType::Hash, 8, 8, 10240),
        ("h2", MapType::Hash, 4, 8, 10240),
        ("h3", MapType::Hash, 4, 2, 10240),
        ("h4", MapType::Hash, 8, 8, 7),
        ("a1", MapType::Array, 4, 8, 10240),
        ("a3", MapType::Array, 4, 4, 5),
        ("pa", MapType::PercpuArray, 4, 8, 2),
        ("lru", MapType::LruHash, 4, 8, 10240),
        ("g1", MapType::Array, 4, 8, 64),
        ("g2", MapType::Hash, 4, 8, 64),
        ("g3", MapType::Array, 4, 8, 9),
        ("st", MapType::StackTrace, 4, 127 * 8, 16),
        ("po", MapType::PerfEventArray, 4, 4, 0),
        ("pe", MapType::PerfEventArray, 4, 4, 4),
        ("rb", MapType::Ringbuf, 0, 0, 8192),
        ("q", MapType::Queue, 0, 4, 3),
        ("s", MapType::Stack, 0, 8, 4),
        ("pr", MapType::ProgArray, 4, 4, 6),
    ] {
        let map = object.map(name).unwrap();
        let found = (map.map_type, map.key_size, map.value_size, map.max_entries);
        assert_eq!(found, (map_type, key, value, entries), "{name}");
    }
}

#[test]
fn methods_do_what_the_guide_says() {
    if !clang() {
        return;
    }
    let text = "
        struct leaf { u64 n; char c[4]; };
        BPF_HASH(plain, u32);
        BPF_LRU_HASH(lru, u32);
        BPF_HASH(leaves, u32, struct leaf, 1);
        BPF_ARRAY(results, long, 8);

        static void result(int i, long v) { results.update(&i, &v); }

        int kprobe__f(struct pt_regs *ctx)
        {
            u32 k = 1, other = 2;
            u64 five = 5;
            struct leaf zero = {}, *leaf;

            result(0, plain.delete(&k));
            result(1, plain.insert(&k, &five));
            result(2, plain.insert(&k, &five));
            plain.increment(k);
            plain.atomic_increment(k, 10);
            plain.increment(7);
            lru.increment(k);
            leaf = leaves.lookup_or_try_init(&k, &zero);
            if (leaf)
                leaf->n = 3;
            result(3, leaves.lookup_or_try_init(&other, &zero) == 0);
            result(4, 1);
            leaf = leaves.lookup_or_init(&other, &zero);
            result(5, 1);
            return leaf->n;
        }
    ";
    let mut bpf = builder(text).load().unwrap();
    bpf.kprobe("f").fire().unwrap();
    let results = bpf.table("results").unwrap();
    // -ENOENT, done, -EEXIST, full, and the program ended where lookup_or_init() failed.
    for (i, expected) in [-2i64, 0, -17, 1, 1, 0].into_iter().enumerate() {
        assert_eq!(results.get(i as i32).unwrap(), &expected, "result {i}");
    }
    let plain = bpf.table("plain").unwrap();
    assert_eq!((plain.get(1u32).unwrap(), plain.get(7u32).unwrap()), (&16u64.into(), &1u64.into()));
    assert!(bpf.table("lru").unwrap().is_empty(), "only a plain hash gets missing keys");
    assert_eq!(bpf.table("leaves").unwrap().get(1u32).unwrap()["n"], 3u64);
}

#[test]
fn trace_printk_takes_both_of_the_guide_s_forms() {
    if !clang() {
        return;
    }
    for (call, expected) in [
        (r#"bpf_trace_printk("plain\n")"#, "plain"),
        (r#"bpf_trace_printk("one %d\n", a)"#, "one 11"),
        (r#"bpf_trace_printk("two %d %d\n", a, b)"#, "two 11 22"),
        (r#"bpf_trace_printk("three %d %d %s\n", a, b, text)"#, "three 11 22 txt"),
        (r#"bpf_trace_printk("size %d\n", sizeof("size %d\n"), b)"#, "size 22"),
        (r#"bpf_trace_printk("none\n", sizeof("none\n"))"#, "none"),
        (r#"bpf_trace_printk("all %d %d %d\n", sizeof("all %d %d %d\n"), a, b, a)"#, "all 11 22 11"),
        (r#"bpf_trace_printk(fmt, sizeof(fmt), b)"#, "fmt 22"),
    ] {
        let text = format!(
            "int kprobe__f(struct pt_regs *ctx)
             {{
                 int a = PT_REGS_PARM1(ctx), b = PT_REGS_PARM2(ctx);
                 char text[] = \"txt\";
                 char fmt[] = \"fmt %d\\n\";
                 {call};
                 return 0;
             }}"
        );
        let mut bpf = builder(&text).load().unwrap();
        bpf.kprobe("f").args([11, 22]).fire().unwrap();
        let line = bpf.trace().last().cloned().unwrap_or_default();
        assert!(line.trim_end().ends_with(&format!(": {expected}")), "{call}: {line}");
    }
}

#[test]
fn bucket_indexes_are_bcc_s() {
    if !clang() {
        return;
    }
    let text = "
        BPF_ARRAY(out, u64, 2);
        int kprobe__f(struct pt_regs *ctx)
        {
            int zero = 0, one = 1;
            u64 l = bpf_log2l(PT_REGS_PARM1(ctx)), i = bpf_log2(PT_REGS_PARM1(ctx));
            out.update(&zero, &l);
            out.update(&one, &i);
            return 0;
        }
    ";
    let mut bpf = builder(text).load().unwrap();
    let edges = (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1, (1u64 << bit) + 1]);
    for value in edges.chain([u64::MAX, u64::from(u32::MAX)]) {
        bpf.kprobe("f").args([value]).fire().unwrap();
        let out = bpf.table("out").unwrap();
        let long = u64::from(64 - value.leading_zeros()).max(1);
        let int = u64::from((value as u32).checked_ilog2().unwrap_or(0));
        assert_eq!((out.get(0).unwrap(), out.get(1).unwrap()), (&long.into(), &int.into()), "{value:#x}");
    }
}

#[test]
fn a_map_of_maps_has_the_inner_map_that_its_text_names() {
    if !clang() {
        return;
    }
    let text = "BPF_ARRAY(inner, u64, 4); BPF_ARRAY_OF_MAPS(outer, \"inner\", 3);";
    let compiled = bpf_harness::compile::bcc::Text::new(text).compile(&crate::support::kernel()).unwrap();
    let object = compiled.parse().unwrap();
    let outer = object.map("outer").unwrap();
    let inner = outer.inner.as_ref().unwrap();
    assert_eq!((outer.max_entries, inner.map_type, inner.value_size), (3, MapType::Array, 8));
}

#[test]
fn a_deleted_value_may_be_read_until_the_program_ends() {
    if !clang() {
        return;
    }
    let text = "
        BPF_HASH(start, u32);
        int kprobe__f(struct pt_regs *ctx)
        {
            u32 k = 1;
            u64 v = 5, *found;
            start.update(&k, &v);
            found = start.lookup(&k);
            if (!found)
                return 0;
            start.delete(&k);
            return *found;
        }
    ";
    let mut bpf = builder(text).load().unwrap();
    assert_eq!(bpf.kprobe("f").fire().unwrap().ret(), Some(5));
    assert!(bpf.table("start").unwrap().is_empty());
}
