//! `open_perf_buffer(callback)`: records by CPU, decoded by type, and what was lost.

use std::sync::mpsc;
use std::time::Duration;

use bpf_harness::value::Value;
use bpf_harness::{Bpf, PerfBufferOptions};
use serde::Deserialize;

use crate::support::on_kernel;
use crate::{load, says};

const NOW: Duration = Duration::ZERO;

#[derive(Deserialize, PartialEq, Debug)]
struct Event {
    pid: u32,
    n: u32,
    comm: String,
}

/// How long a record of so many bytes is: a kernel fills it up, so that with its length of 4 bytes it ends at a multiple of 8
/// (`perf_prepare_sample`).
fn sent(bytes: usize) -> usize {
    if on_kernel() { (bytes + 4).next_multiple_of(8) - 4 } else { bytes }
}

fn attached() -> Bpf {
    let mut bpf = load();
    bpf.attach_kprobe("vfs_read", "send").unwrap();
    bpf
}

#[test]
fn cpu_and_bytes() {
    let mut bpf = attached();
    let (tx, rx) = mpsc::channel();
    bpf.open_perf_buffer("events", move |cpu, data| {
        let pid = u32::from_le_bytes(data[..4].try_into().unwrap());
        tx.send((cpu, data.size(), pid)).unwrap();
    })
    .unwrap();
    bpf.kprobe("vfs_read").cpu(1).task(4242).fire().unwrap();
    bpf.kprobe("vfs_read").cpu(0).task(4242).fire().unwrap();
    bpf.perf_buffer_poll(NOW).unwrap();
    // Without the padding of a kernel's rings, for the type is known.
    let mut records = vec![(1, 24, 4242), (0, 24, 4242)];
    // A kernel's rings are read one by one.
    if on_kernel() {
        records.sort_unstable();
    }
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), records);
}

#[test]
fn records_become_values_and_rust_types() {
    let mut bpf = attached();
    let (tx, rx) = mpsc::channel();
    bpf.open_perf_buffer("events", move |_, data| -> Result<(), String> {
        let value = data.value().map_err(|e| e.to_string())?;
        tx.send((value, data.event::<Event>().map_err(|e| e.to_string())?)).map_err(|e| e.to_string())
    })
    .unwrap();
    bpf.kprobe("vfs_read").task(4242).arg(7).fire().unwrap();
    bpf.perf_buffer_poll(NOW).unwrap();
    let (value, event) = rx.try_recv().unwrap();
    assert_eq!((&value["pid"], &value["comm"]), (&Value::Uint(4242), &Value::from("cat")));
    assert_eq!(event, Event { pid: 4242, n: 7, comm: "cat".to_owned() });
}

#[test]
fn a_type_that_does_not_fit_is_an_error_of_the_callback() {
    let mut bpf = attached();
    bpf.open_perf_buffer("events", |_, data| data.event::<u64>().map(|_| ())).unwrap();
    bpf.kprobe("vfs_read").fire().unwrap();
    says(bpf.perf_buffer_poll(NOW), "a record of map 'events'");
    let wrong = PerfBufferOptions::new().record_type("struct disk_key");
    bpf.open_perf_buffer_with("events", wrong, |_, data| data.event::<Event>().map(|_| ())).unwrap();
    bpf.kprobe("vfs_read").fire().unwrap();
    says(bpf.perf_buffer_poll(NOW), "missing field `pid`");
}

#[test]
fn what_does_not_fit_the_ring_is_lost_and_reported() {
    let mut bpf = attached();
    let (lost, was_lost) = mpsc::channel();
    let (tx, rx) = mpsc::channel();
    let options = PerfBufferOptions::new().page_cnt(1).lost_cb(move |count| lost.send(count).unwrap());
    bpf.open_perf_buffer_with("events", options, move |_, _| tx.send(()).unwrap()).unwrap();
    // A record of 24 bytes takes 40 of the ring's 4096, of which one stays free: 102 fit.
    for _ in 0..110 {
        bpf.kprobe("vfs_read").fire().unwrap();
    }
    assert_eq!(bpf.perf_buffer_poll(NOW).unwrap(), 102);
    // The kernel says what was lost in front of the next record that fits.
    assert_eq!(was_lost.try_iter().count(), 0);
    bpf.kprobe("vfs_read").fire().unwrap();
    bpf.perf_buffer_poll(NOW).unwrap();
    assert_eq!(was_lost.try_iter().collect::<Vec<_>>(), [8]);
    assert_eq!((rx.try_iter().count(), bpf.lost_records("events").unwrap()), (103, 8));
}

#[test]
fn opening_again_replaces_the_callback() {
    let mut bpf = attached();
    let (tx, rx) = mpsc::channel();
    for n in 1..=2 {
        let tx = tx.clone();
        bpf.open_perf_buffer("events", move |_, _| tx.send(n).unwrap()).unwrap();
    }
    bpf.kprobe("vfs_read").fire().unwrap();
    bpf.perf_buffer_poll(NOW).unwrap();
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let mut bpf = load();
    says(bpf.open_perf_buffer("counts", |_, _| ()), "no perf event array: it is of type hash");
    says(bpf.open_perf_buffer("nothing", |_, _| ()), "no map 'nothing'");
    let three = PerfBufferOptions::new().page_cnt(3);
    says(
        bpf.open_perf_buffer_with("events", three, |_, _| ()),
        "page_cnt is 3, and has to be a power of two",
    );
    let unknown = PerfBufferOptions::new().record_type("struct nobody");
    says(bpf.open_perf_buffer_with("events", unknown, |_, _| ()), "no type 'struct nobody'");
}

/// Two structures are sent, and half of a third; the types are told by what is sent, not by what else there is.
const TEXT: &str = r#"
    struct key_t { u32 pid; u32 other; };
    struct data_t { u32 pid; u64 ts; char comm[16]; };
    struct same_size_t { u64 a, b, c, d; };
    BPF_PERF_OUTPUT(events);
    BPF_PERF_OUTPUT(small);
    BPF_HASH(seen, struct key_t, struct same_size_t);

    int handler(struct pt_regs *ctx) {
        struct data_t data = {};
        struct key_t key = {};
        data.pid = key.pid = bpf_get_current_pid_tgid() >> 32;
        data.ts = 7;
        bpf_get_current_comm(&data.comm, sizeof(data.comm));
        small.perf_submit(ctx, &key, sizeof(key));
        return events.perf_submit(ctx, &data, sizeof(data));
    }

    struct reply_t { u32 pid; u32 len; char text[8]; };
    BPF_PERF_OUTPUT(replies);

    int replier(struct pt_regs *ctx) {
        struct reply_t reply = {};
        reply.len = 2;
        reply.text[0] = 'h';
        reply.text[1] = 'e';
        reply.text[2] = 'l';
        return replies.perf_submit(ctx, &reply, 10);
    }
"#;

#[test]
fn texts_say_what_they_send() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Data {
        pid: u32,
        ts: u64,
        comm: String,
    }
    let Some(builder) = crate::bcc::text(TEXT) else { return };
    let mut bpf = builder.load().unwrap();
    bpf.attach_kprobe("vfs_read", "handler").unwrap();
    let (tx, rx) = mpsc::channel();
    let small = tx.clone();
    bpf.open_perf_buffer("events", move |_, data| data.event::<Data>().map(|d| tx.send(Some(d)).unwrap()))
        .unwrap();
    bpf.open_perf_buffer("small", move |_, data| {
        data.value().map(|v| small.send(None).map(|()| assert_eq!(v["pid"], 1000u32)).unwrap())
    })
    .unwrap();
    let ret = bpf.kprobe("vfs_read").fire().unwrap().ret();
    assert!(ret == Some(0) || on_kernel(), "{ret:?}");
    assert_eq!(bpf.perf_buffer_poll(NOW).unwrap(), 2);
    let got: Vec<_> = rx.try_iter().collect();
    assert_eq!(got, [Some(Data { pid: 1000, ts: 7, comm: "bpf-test".to_owned() }), None]);
    assert_eq!(
        bpf.map_names().collect::<Vec<_>>(),
        ["events", "small", "seen", "replies"],
        "types are no maps"
    );
}

#[test]
fn a_record_may_be_the_beginning_of_its_structure() {
    let Some(builder) = crate::bcc::text(TEXT) else { return };
    let mut bpf = builder.load().unwrap();
    bpf.attach_kprobe("vfs_read", "replier").unwrap();
    let (tx, rx) = mpsc::channel();
    bpf.open_perf_buffer("replies", move |_, data| data.value().map(|v| tx.send((data.size(), v)).unwrap()))
        .unwrap();
    bpf.kprobe("vfs_read").fire().unwrap();
    bpf.perf_buffer_poll(NOW).unwrap();
    let (size, reply) = rx.try_recv().unwrap();
    assert_eq!((size, &reply["len"], &reply["text"]), (sent(10), &Value::Uint(2), &Value::from("he")));
}

#[test]
fn the_guides_example_needs_no_declaration_of_its_structure() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Data {
        pid: u32,
        n: u64,
        comm: String,
    }
    let Some(mut bpf) = crate::bcc::guide() else { return };
    bpf.attach_kprobe("vfs_read", "send_event").unwrap();
    bpf.open_perf_buffer("events", |_, _| ()).unwrap();
    bpf.kprobe("vfs_read").task(4242).arg(3).fire().unwrap();
    assert_eq!(bpf.events::<Data>("events").unwrap(), [Data { pid: 4242, n: 3, comm: "cat".to_owned() }]);
}
