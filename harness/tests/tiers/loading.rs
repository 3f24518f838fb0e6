//! What an object needs to be loaded, beside its programs.

use bpf_harness::{Bpf, Input, Tier};

fn on_kernel() -> bool {
    Tier::from_env().unwrap() == Tier::Kernel
}

fn osrelease() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().to_owned()
}

#[test]
fn the_kernels_configuration_is_known_and_operations_without_programs_are_no_obstacle() {
    if on_kernel() && !std::path::Path::new(&format!("/boot/config-{}", osrelease())).exists() {
        eprintln!("skipped: this kernel came without its configuration");
        return;
    }
    let object = bpf_fixtures::object("partly").unwrap();
    let mut bpf = Bpf::builder().object(object).only("ask").made_up_events().load().unwrap();
    bpf.attach("ask").unwrap();
    bpf.raw_tp("sys_enter").fire().unwrap();
    let frequency = bpf.global("frequency").unwrap().as_i64().unwrap();
    assert!([100, 250, 300, 1000].contains(&frequency), "{frequency}");
}

#[test]
fn an_arena_has_its_variables_from_the_start() {
    let mut numbers = osrelease();
    numbers.retain(|c| c.is_ascii_digit() || c == '.');
    let version: Vec<u32> = numbers.split('.').map_while(|n| n.parse().ok()).collect();
    if on_kernel() && version < vec![6, 9] {
        eprintln!("skipped: this kernel has no arenas");
        return;
    }
    let object = bpf_fixtures::object("arena").unwrap();
    let mut bpf = Bpf::builder().object(object).only("variables").load().unwrap();
    assert_eq!(bpf.run("variables", Input::default_for_type()).unwrap().ret().unwrap(), 0);
}
