//! Statically defined probes that sections name, in the layouts of `usdt.bpf.h` before and since libbpf 1.7.

use bpf_harness::symbols::Binary;
use bpf_harness::usdt::Usdt;
use bpf_harness::{Bpf, Error, Tier};

fn on_kernel() -> bool {
    Tier::from_env().unwrap() == Tier::Kernel
}

fn builder(name: &str) -> bpf_harness::BpfBuilder {
    let me = if on_kernel() { std::process::id() } else { 0 };
    Bpf::builder().object(bpf_fixtures::object(name).expect("a fixture")).global("me", me)
}

fn seen(bpf: &mut Bpf) -> Vec<i64> {
    bpf.get_table("seen").unwrap().typed::<u32, i64>().items().unwrap().iter().map(|(_, v)| *v).collect()
}

#[cfg(target_arch = "x86_64")]
mod real {
    use super::{Bpf, Usdt, builder, on_kernel, seen};

    /// A probe of this process. The note stands where the compiler of a program with `DTRACE_PROBE()` puts it.
    macro_rules! probe {
        ($name:literal, $args:literal, $($operands:tt)*) => {
            std::arch::asm!(
                "990: nop",
                ".pushsection .note.stapsdt,\"\",\"note\"",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b, 0, 0",
                ".asciz \"shop\"",
                concat!(".asciz \"", $name, "\""),
                concat!(".asciz \"", $args, "\""),
                "994: .balign 4",
                ".popsection",
                $($operands)*
            )
        };
    }

    #[inline(never)]
    fn pass_request(id: i64, size: i32) {
        // SAFETY: it does nothing, and the note's section is not loaded.
        unsafe { probe!("request", "-8@%rdi -4@%esi", in("rdi") id, in("esi") size) }
    }

    #[inline(never)]
    fn pass_item(id: i64, size: i32, prices: &[i64; 4], index: usize) {
        // SAFETY: as above.
        unsafe {
            probe!("item", "-8@%rdi -4@%esi -8@8(%rdx,%rcx,8)",
                in("rdi") id, in("esi") size, in("rdx") prices.as_ptr(), in("rcx") index)
        }
    }

    /// Attaches all, by process where the kernel has no cookies and says so.
    fn attach(bpf: &mut Bpf, programs: &[(&str, &str)]) {
        let Err(e) = bpf.attach_all() else { return };
        assert!(on_kernel() && e.to_string().contains("Usdt::from_pid"), "{e}");
        for (probe, program) in programs {
            let mut usdt = Usdt::from_pid(std::process::id()).unwrap();
            usdt.enable_probe(probe, program).unwrap();
            bpf.attach_usdt(&usdt).unwrap();
        }
    }

    #[test]
    fn arguments_are_read_in_both_layouts() {
        for name in ["usdt_self", "usdt_wide"] {
            let mut bpf = builder(name).load().unwrap();
            attach(&mut bpf, &[("shop:request", "on_request")]);
            if on_kernel() {
                pass_request(-7, -2);
            } else {
                bpf.usdt("shop", "request").args([-7i64 as u64, -2i64 as u64]).fire().unwrap();
            }
            assert_eq!(seen(&mut bpf)[..3], [2, -7, -2], "{name}");
        }
    }

    #[test]
    fn what_is_attached_is_not_attached_again() {
        let mut bpf = builder("usdt_self").made_up_events().load().unwrap();
        assert_eq!((bpf.attach_all().unwrap(), bpf.attach_all().unwrap()), (1, 0));
    }

    /// The program is of a section that a kernel with uprobe_multi links loads for these, and attached otherwise.
    #[test]
    fn a_program_of_such_a_section_is_attached_by_hand() {
        let mut usdt = Usdt::from_pid(std::process::id()).unwrap();
        usdt.enable_probe("shop:request", "on_request").unwrap();
        let mut bpf = builder("usdt_self").load().unwrap();
        bpf.attach_usdt(&usdt).unwrap();
        if on_kernel() {
            pass_request(8, 9);
            assert_eq!(seen(&mut bpf)[..3], [2, 8, 9]);
        }
    }

    #[test]
    fn made_up_events_reach_it() {
        let mut bpf = builder("usdt_self").global("me", 0u32).made_up_events().load().unwrap();
        bpf.attach_all().unwrap();
        match bpf.usdt("shop", "request").args([5, 6]).fire() {
            Ok(_) => assert_eq!(seen(&mut bpf)[..3], [2, 5, 6]),
            // Without cookies programs know the place by its address.
            Err(e) => assert!(on_kernel() && e.to_string().contains("instruction pointer"), "{e}"),
        }
    }

    #[test]
    fn index_registers_are_of_the_new_layout() {
        let mut bpf = builder("usdt_wide").load().unwrap();
        attach(&mut bpf, &[("shop:request", "on_request"), ("shop:item", "on_item")]);
        if on_kernel() {
            pass_item(1, -2, &[10, 20, 30, 40], 2);
        } else {
            bpf.usdt("shop", "item").args([1, -2i64 as u64, 40]).fire().unwrap();
        }
        assert_eq!(seen(&mut bpf), [3, 1, -2, 40]);

        let mut usdt = Usdt::from_pid(std::process::id()).unwrap();
        usdt.enable_probe("shop:item", "on_request").unwrap();
        let said = builder("usdt_self").load().unwrap().attach_usdt(&usdt).unwrap_err().to_string();
        assert!(said.contains("8(%rdx,%rcx,8)") && said.contains("no index registers"), "{said}");
    }
}

/// The section is `usdt//usr/bin/server:http:request`.
#[test]
fn a_binary_that_is_not_there_is_named() {
    // Before 5.15 there are no cookies, which this object asks for unconditionally.
    if let Err(Error::Refused(said)) = Bpf::load(bpf_fixtures::object("usdt").unwrap()) {
        assert!(on_kernel() && said.id == "unknown-helper", "{said:?}");
        return;
    }
    let load = || Bpf::load(bpf_fixtures::object("usdt").unwrap()).unwrap();
    let mut bpf = load();
    let said = if on_kernel() {
        bpf.attach_all().unwrap_err().to_string()
    } else {
        bpf.attach_all().unwrap();
        bpf.usdt("http", "request").args([1]).fire().unwrap_err().to_string()
    };
    assert!(said.contains("add_binary()"), "{said}");

    let mut bpf = load();
    bpf.add_binary(Binary::declared("/usr/bin/server").probe("http", "done", 0x1200, "8@%rdi").unwrap());
    let said = bpf.attach_all().unwrap_err().to_string();
    assert!(said.contains("http:request") && said.contains("http:done"), "{said}");
}

#[test]
fn a_program_is_attached_to_the_binary_that_its_section_names_and_the_test_declares() {
    if on_kernel() {
        return; // It has no instructions there.
    }
    let mut bpf = Bpf::load(bpf_fixtures::object("usdt").unwrap()).unwrap();
    bpf.add_binary(
        Binary::declared("/usr/bin/server").probe("http", "request", 0x1200, "8@%rdi -4@%esi 8@$5").unwrap(),
    );
    assert_eq!(bpf.attach_all().unwrap(), 1);
    bpf.usdt("http", "request").args([7, 8, 5]).fire().unwrap();
    assert_eq!(seen(&mut bpf), [7, 8, 5]);
}
