//! `kprobe_poll()`, `perf_buffer_poll(timeout)`; ring buffers likewise.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bpf_harness::{Bpf, Error};

use crate::support::simulator_only;
use crate::{load, says};

const NOW: Duration = Duration::ZERO;

/// A machine whose buffer sends the `n` of each record, and does something else with number 2.
fn opened(at_two: fn() -> Result<(), String>) -> (Bpf, Receiver<u32>) {
    let mut bpf = load();
    bpf.attach_kprobe("vfs_read", "send").unwrap();
    let (tx, rx) = mpsc::channel();
    bpf.open_perf_buffer("events", move |_, data| {
        let n = u32::from_le_bytes(data[4..8].try_into().unwrap());
        if n == 2 {
            at_two()?;
        }
        tx.send(n).map_err(|e| e.to_string())
    })
    .unwrap();
    for n in 1..=3 {
        bpf.kprobe("vfs_read").arg(n).fire().unwrap();
    }
    (bpf, rx)
}

#[test]
fn every_record_is_seen_once() {
    let (mut bpf, rx) = opened(|| Ok(()));
    assert_eq!(rx.try_iter().count(), 0, "nothing before the poll");
    assert_eq!(bpf.kprobe_poll(NOW).unwrap(), 3);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(bpf.perf_buffer_poll(NOW).unwrap(), 0);
}

#[test]
fn an_error_ends_the_poll_and_loses_nothing() {
    let (mut bpf, rx) = opened(|| Err("enough".to_owned()));
    let error = bpf.perf_buffer_poll(NOW).unwrap_err();
    assert!(matches!(&error, Error::Callback { map, .. } if map == "events"));
    assert_eq!(error.to_string(), "callback of 'events': enough");
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1]);
    assert_eq!(bpf.perf_buffer_poll(NOW).unwrap(), 1);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [3]);
}

#[test]
fn a_panic_passes_through_and_loses_nothing() {
    let (mut bpf, rx) = opened(|| panic!("in the callback"));
    let caught = catch_unwind(AssertUnwindSafe(|| bpf.perf_buffer_poll(NOW)));
    assert!(caught.is_err());
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1]);
    bpf.kprobe("vfs_read").arg(4).fire().unwrap();
    assert_eq!(bpf.perf_buffer_poll(NOW).unwrap(), 2);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn ring_buffers_are_polled_alike() {
    let mut bpf = load();
    bpf.attach_kprobe("vfs_read", "send_ring").unwrap();
    let (tx, rx) = mpsc::channel();
    bpf.open_ring_buffer("ring", move |data| tx.send(data.size()).map_err(|e| e.to_string())).unwrap();
    bpf.kprobe("vfs_read").fire().unwrap();
    assert_eq!((bpf.ring_buffer_poll(NOW).unwrap(), bpf.ring_buffer_consume().unwrap()), (1, 0));
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [24]);
    says(bpf.open_ring_buffer("events", |_| ()), "no ring buffer: it is of type perf_event_array");
}

#[test]
fn nothing_open_is_nothing_to_do() {
    let mut bpf = load();
    assert_eq!((bpf.perf_buffer_poll(NOW).unwrap(), bpf.ring_buffer_poll(NOW).unwrap()), (0, 0));
}

#[test]
fn copies_of_a_machine_have_records_of_their_own() {
    if simulator_only("a kernel's state cannot be copied") {
        return;
    }
    let (mut bpf, rx) = opened(|| Ok(()));
    let mut copy = bpf.fork();
    assert_eq!((bpf.perf_buffer_poll(NOW).unwrap(), copy.perf_buffer_poll(NOW).unwrap()), (3, 3));
    assert_eq!(rx.try_iter().count(), 6);
}

#[test]
fn the_guides_example_polls_until_it_has_seen_enough() {
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kprobe("vfs_read", "send_event").unwrap();
    let (tx, rx) = mpsc::channel();
    bpf.open_perf_buffer("events", move |_, data| data.value().map(|v| tx.send(v["n"].as_u64()).unwrap()))
        .unwrap();
    for n in 0..5 {
        bpf.kprobe("vfs_read").arg(n).fire().unwrap();
        assert_eq!(bpf.perf_buffer_poll(Duration::from_millis(100)).unwrap(), 1);
    }
    assert_eq!(rx.try_iter().flatten().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}
