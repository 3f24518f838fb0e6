//! Where the tiers could differ without a word, and do not; or differ, and say so.

use bpf_harness::{Bpf, Error, Input, Tier};

fn on_kernel() -> bool {
    Tier::from_env().unwrap() == Tier::Kernel
}

fn object(name: &str) -> &'static [u8] {
    bpf_fixtures::object(name).expect("a fixture of this name")
}

/// What libbpf has from the object is 1000000.
#[test]
fn a_constant_that_is_set_to_zero_is_zero() {
    let mut bpf = Bpf::builder().object(object("openlat")).global("slow_ns", 0u64).load().unwrap();
    assert_eq!(bpf.global("slow_ns").unwrap(), 0);
}

/// A kernel has one pipe for all.
#[test]
fn two_that_print_at_once_have_their_lines() {
    let load = || {
        let builder = Bpf::builder().object(object("hostapi")).made_up_events();
        let mut bpf = builder.only("print").load().unwrap();
        bpf.attach_kprobe("vfs_read", "print").unwrap();
        bpf
    };
    let (mut first, mut second) = (load(), load());
    first.kprobe("vfs_read").arg(71).fire().unwrap();
    second.kprobe("vfs_read").arg(72).fire().unwrap();
    let has = |bpf: &mut Bpf, what: &str| bpf.trace().iter().any(|line| line.ends_with(what));
    assert!(has(&mut first, "arg 71") && has(&mut second, "arg 72"));
    drop(first);
    second.kprobe("vfs_read").arg(73).fire().unwrap();
    assert!(has(&mut second, "arg 73"));
}

#[test]
fn the_default_input_has_a_packet() {
    let mut bpf = Bpf::builder().object(object("kinds")).only("at_xdp").load().unwrap();
    assert_eq!(bpf.run("at_xdp", Input::default_for_type()).unwrap().ret().unwrap(), 2);
}

fn load_at_kprobe() -> Bpf {
    let builder = Bpf::builder().object(object("kinds")).made_up_events();
    let mut bpf = builder.only("at_kprobe").load().unwrap();
    bpf.attach("at_kprobe").unwrap();
    bpf
}

#[test]
fn what_a_kernel_does_not_have_is_an_error_there() {
    type Setting = fn(&mut Bpf);
    let settings: [(&str, Setting); 3] = [
        ("overriding a helper", |bpf| bpf.override_with("bpf_ktime_get_ns", |_| Some(1))),
        ("recording calls", Bpf::record_calls),
        ("", |bpf| bpf.set_clock(7)),
    ];
    for (what, set) in settings {
        let mut bpf = load_at_kprobe();
        set(&mut bpf);
        match bpf.kprobe("do_nanosleep").fire() {
            Err(e) if on_kernel() && !what.is_empty() => {
                assert!(e.to_string().starts_with(what), "{what}: {e}");
                assert!(e.to_string().contains("Tier::only"), "{e}");
            }
            other => drop(other.unwrap()),
        }
    }
}

/// A kernel's test run of a program on functions calls functions of its own.
#[test]
fn a_run_that_did_not_reach_the_program_is_no_success() {
    let mut bpf = Bpf::builder().object(object("kinds")).only("at_fentry").load().unwrap();
    let ran: Result<_, Error> = bpf.run("at_fentry", Input::default_for_type());
    match ran {
        Err(e) if on_kernel() => assert!(e.to_string().contains("attached to none of them"), "{e}"),
        other => drop(other.unwrap().ret().unwrap()),
    }
}
