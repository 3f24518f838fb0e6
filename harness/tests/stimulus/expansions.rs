//! What every stimulus comes by, on each of the kernels on which it was measured.

use bpf_harness::stimulus::{Action, Happened};
use bpf_harness::{Bpf, Point, Tier};

use crate::support::{all, machine};

/// The kernels of the matrix.
const KERNELS: [(u8, u8); 4] = [(5, 10), (6, 1), (6, 12), (7, 3)];

/// What happened, a line each: calls as a tree, tasks as letters in order of appearance.
fn tree(happened: &[Happened]) -> String {
    let mut pids: Vec<u32> = Vec::new();
    let mut depth = 0usize;
    let mut lines: Vec<String> = Vec::new();
    for (i, h) in happened.iter().enumerate() {
        if !pids.contains(&h.pid) {
            pids.push(h.pid);
        }
        let task = pids.iter().position(|p| *p == h.pid).unwrap();
        let task = char::from(b'A' + task as u8);
        let returns = matches!(h.point, Point::Kretprobe(_) | Point::Kretsyscall(_));
        let enters = happened.get(i + 1..).unwrap_or_default().iter().any(|r| match (&h.point, &r.point) {
            (Point::Kprobe(a), Point::Kretprobe(b)) | (Point::Ksyscall(a), Point::Kretsyscall(b)) => a == b,
            _ => false,
        });
        if returns {
            depth = depth.saturating_sub(1);
        }
        let ret = match h.ret {
            Some(ret) if returns && (-4096..65536).contains(&ret) => format!(" = {ret}"),
            Some(_) if returns => " = pointer".to_owned(),
            _ => String::new(),
        };
        lines.push(format!("{task} {}{}{ret}", "  ".repeat(depth), h.point));
        if enters {
            depth += 1;
        }
    }
    lines.join("\n")
}

#[track_caller]
fn expand(bpf: &mut Bpf, action: &dyn Action) -> String {
    tree(&bpf.stimulate(action).unwrap().happened)
}

#[test]
fn every_stimulus_has_its_expansion_on_every_kernel() {
    for (name, action) in all() {
        for (major, minor) in KERNELS {
            let mut bpf = machine(Bpf::builder().tier(Tier::Simulator).kernel_version(major, minor, 0));
            insta::assert_snapshot!(format!("{name}-{major}.{minor}"), expand(&mut bpf, &*action));
        }
    }
}
