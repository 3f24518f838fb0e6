//! What programs get from slots of perf event arrays that are closed, or open for something else.

use bpf_fixtures::object;
use bpf_harness::{Bpf, perf};

/// Names of the results and the values, in the order of the program: own CPU, another one, none, other flags or size.
#[rustfmt::skip]
const RESULTS: [&str; 12] = [
    "read_own", "read_other", "read_outside", "read_flags",
    "value_own", "value_other", "value_outside", "value_size",
    "output_own", "output_other", "output_outside", "output_flags",
];

const ENOENT: i64 = -2;
const E2BIG: i64 = -7;
const EINVAL: i64 = -22;
const EOPNOTSUPP: i64 = -95;

fn load() -> Bpf {
    let mut bpf = Bpf::builder().object(object("perf_slots").unwrap()).made_up_events().load().unwrap();
    bpf.attach_all().unwrap();
    let cpus = u64::from(bpf.machine().kernel.profile.cpus);
    assert!(cpus > 1, "there are two slots to ask for");
    bpf.set_global("cpus", cpus).unwrap();
    bpf
}

fn asked(bpf: &mut Bpf) -> Vec<i64> {
    bpf.kprobe("vfs_unlink").fire().unwrap();
    RESULTS.iter().map(|name| bpf.global(name).unwrap().as_i64().unwrap()).collect()
}

#[test]
fn a_slot_that_nobody_opened_has_no_event() {
    let mut bpf = load();
    #[rustfmt::skip]
    let expected = [
        ENOENT, ENOENT, E2BIG, EINVAL,
        ENOENT, ENOENT, E2BIG, EINVAL,
        ENOENT, ENOENT, E2BIG, EINVAL,
    ];
    assert_eq!(asked(&mut bpf), expected);
    let error = bpf.take_records("slots").unwrap_err().to_string();
    assert!(error.contains("call `keep_records()`"), "{error}");
}

#[test]
fn a_slot_that_is_open_for_records_counts_nothing() {
    let mut bpf = load();
    bpf.keep_records("slots").unwrap();
    #[rustfmt::skip]
    let expected = [
        0, EINVAL, E2BIG, EINVAL,
        0, EINVAL, E2BIG, EINVAL,
        0, EOPNOTSUPP, E2BIG, EINVAL,
    ];
    assert_eq!(asked(&mut bpf), expected);
    assert_eq!(asked(&mut bpf), expected);
    let records = bpf.take_records("slots").unwrap();
    assert_eq!(records.iter().map(|r| r[..4].to_vec()).collect::<Vec<_>>(), [[7, 0, 0, 0]; 2]);
    assert_eq!((bpf.take_records("slots").unwrap().len(), bpf.lost_records("slots").unwrap()), (0, 0));
}

#[test]
fn a_slot_that_is_open_for_counting_takes_no_records() {
    let mut bpf = load();
    bpf.map("slots").unwrap().open_perf_event(perf::TYPE_SOFTWARE, perf::COUNT_SW_CPU_CLOCK).unwrap();
    let counted = asked(&mut bpf);
    assert!(counted[0] >= 0, "{counted:?}");
    #[rustfmt::skip]
    let expected = [
        EINVAL, E2BIG, EINVAL,
        0, EINVAL, E2BIG, EINVAL,
        EINVAL, EINVAL, E2BIG, EINVAL,
    ];
    assert_eq!(counted[1..], expected);
}
