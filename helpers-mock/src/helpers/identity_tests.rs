//! Who runs, and when.

use crate::state::Task;
use crate::testing::{buffer, bytes, machine, ret};

#[test]
fn helpers_tell_the_running_task() {
    let mut m = machine();
    let cgroup = m.kernel.state.cgroups.make("/a/b");
    let above = m.kernel.state.cgroups.make("/a");
    let task = Task { tgid: 40, uid: 1000, gid: 100, cgroup, ..Task::new(42, "worker") };
    m.kernel.state.tasks.insert(task);
    assert!(m.kernel.state.tasks.run_on(2, 42));
    m.kernel.state.cpus.current = 2;
    m.kernel.state.cpus.numa = vec![0, 0, 1, 1];
    // (helper, arguments, result)
    let table: &[(u32, &[u64], i64)] = &[
        (8, &[], 2),
        (42, &[], 1),
        (14, &[], 40 << 32 | 42),
        (15, &[], 100 << 32 | 1000),
        (80, &[], cgroup as i64),
        (123, &[1], above as i64),
        (123, &[0], 1),
        (123, &[3], 0),
    ];
    for (id, args, result) in table {
        assert_eq!(ret(&mut m, *id, args), *result, "helper {id}");
    }
}

#[test]
fn the_name_is_cut_ended_and_padded() {
    for (size, wanted) in [(16, &b"bpf-test\0\0\0\0\0\0\0\0"[..]), (4, b"bpf\0"), (1, b"\0"), (20, &[0; 20])]
    {
        let mut m = machine();
        let buf = buffer(&mut m, size);
        assert_eq!(ret(&mut m, 16, &[buf, size.into()]), 0);
        let got = bytes(&mut m, buf, size as usize);
        assert_eq!(
            &got[..wanted.len().min(8)],
            if size == 20 { b"bpf-test" } else { &wanted[..wanted.len().min(8)] }
        );
        assert!(got.iter().skip(8).all(|b| *b == 0));
    }
}

#[test]
fn ids_inside_a_namespace_need_its_device_and_inode() {
    let mut m = machine();
    let task = m.kernel.state.tasks.get_mut(1000).unwrap();
    task.ns_ids = Some((3, 2));
    let (dev, ino) = (task.ns.dev, u64::from(task.ns.pid));
    let buf = buffer(&mut m, 8);
    assert_eq!(ret(&mut m, 120, &[dev, ino, buf, 8]), 0);
    assert_eq!(bytes(&mut m, buf, 8), [3, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(ret(&mut m, 120, &[dev, ino + 1, buf, 8]), -22);
    assert_eq!(bytes(&mut m, buf, 8), [0; 8]);
    assert_eq!(ret(&mut m, 120, &[dev, ino, buf, 4]), -22);
}

#[test]
fn clocks_read_the_virtual_time() {
    let mut m = machine();
    m.kernel.state.clock.set(2_000_000_123);
    m.kernel.state.clock.suspended = 7;
    for (id, wanted) in
        [(5, 2_000_000_123), (125, 2_000_000_130), (160, 2_000_000_000), (118, 0xfffb_6c20 + 2000)]
    {
        assert_eq!(ret(&mut m, id, &[]), wanted, "helper {id}");
    }
}

#[test]
fn random_numbers_follow_from_the_seed() {
    let mut draws = Vec::new();
    for seed in [1, 1, 2] {
        let mut m = machine();
        m.kernel.state.rng = crate::state::Rng::seeded(seed);
        draws.push((ret(&mut m, 7, &[]), ret(&mut m, 7, &[])));
    }
    assert_eq!(draws[0], draws[1]);
    assert_ne!(draws[0], draws[2]);
    assert!(draws.iter().all(|(a, b)| *a >> 32 == 0 && a != b));
}

#[test]
fn a_signal_is_recorded_unless_the_task_takes_none() {
    let mut m = machine();
    assert_eq!(ret(&mut m, 109, &[9]), 0);
    assert_eq!(ret(&mut m, 117, &[10]), 0);
    assert_eq!(ret(&mut m, 109, &[65]), -22);
    m.kernel.state.tasks.run_on(0, 1);
    assert_eq!(ret(&mut m, 109, &[9]), -1, "init takes none");
    let sent: Vec<_> = m.kernel.state.effects.signals.iter().map(|s| (s.pid, s.signal, s.thread)).collect();
    assert_eq!(sent, [(1000, 9, false), (1000, 10, true)]);
}
