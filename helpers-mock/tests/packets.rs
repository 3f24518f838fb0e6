//! Packet programs give what a real kernel gives: the return value and the packet afterwards.

use bpf_helpers_mock::contexts::{SkbInput, packet, skb};
use bpf_helpers_mock::{LoadOptions, Machine, ProgId, Report};
use bpf_vm_shim::exec::Outcome;
use bpf_vm_shim::object::{KernelProfile, Object, ProgType};

/// A relocatable ELF object with one program in one section.
fn elf(section: &str, code: &[u8]) -> Vec<u8> {
    let names = format!("\0{section}\0license\0.symtab\0.strtab\0prog\0");
    let name = |n: &str| names.find(&format!("\0{n}\0")).unwrap() as u32 + 1;
    let mut symtab = vec![0; 24];
    symtab.extend_from_slice(&name("prog").to_le_bytes());
    symtab.extend_from_slice(&[0x12, 0, 1, 0]);
    symtab.extend_from_slice(&0u64.to_le_bytes());
    symtab.extend_from_slice(&(code.len() as u64).to_le_bytes());
    let sections = [
        (section, 1u32, 6u64, code, 0u32, 0u32, 0u64),
        ("license", 1, 3, &b"GPL\0"[..], 0, 0, 0),
        (".symtab", 2, 0, &symtab, 4, 1, 24),
        (".strtab", 3, 0, names.as_bytes(), 0, 0, 0),
    ];
    let mut body = Vec::new();
    let mut headers = vec![0; 64];
    for (n, kind, flags, data, link, info, entry) in sections {
        body.resize(body.len().next_multiple_of(8), 0);
        let offset = 64 + body.len() as u64;
        body.extend_from_slice(data);
        headers.extend_from_slice(&name(n).to_le_bytes());
        headers.extend_from_slice(&kind.to_le_bytes());
        for v in [flags, 0, offset, data.len() as u64] {
            headers.extend_from_slice(&v.to_le_bytes());
        }
        headers.extend_from_slice(&link.to_le_bytes());
        headers.extend_from_slice(&info.to_le_bytes());
        headers.extend_from_slice(&8u64.to_le_bytes());
        headers.extend_from_slice(&entry.to_le_bytes());
    }
    body.resize(body.len().next_multiple_of(8), 0);
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for (v, size) in [(1u64, 2), (247, 2), (1, 4), (0, 8), (0, 8), (64 + body.len() as u64, 8), (0, 4)] {
        out.extend_from_slice(&v.to_le_bytes()[..size]);
    }
    for v in [64u16, 0, 0, 64, 5, 4] {
        out.extend_from_slice(&v.to_le_bytes());
    }
    [out, body, headers].concat()
}

fn machine(prog_type: ProgType, code: &[u8]) -> (Machine, ProgId) {
    let section = match prog_type {
        ProgType::Xdp => "xdp",
        ProgType::SocketFilter => "socket",
        ProgType::SchedCls => "tc",
        other => panic!("no section for {other}"),
    };
    let mut machine = Machine::new(KernelProfile::default());
    machine.kernel.profile.version = KernelProfile::kernel_version(6, 18, 0);
    let object = Object::parse(&elf(section, code)).unwrap();
    let loaded = machine.load(&object, &LoadOptions::default()).unwrap();
    assert!(loaded.rejected.is_empty(), "{:?}", loaded.rejected);
    (machine, loaded.progs[0])
}

fn run(prog_type: ProgType, code: &[u8], data: &[u8]) -> Report {
    let (mut machine, prog) = machine(prog_type, code);
    let input = packet(&mut machine, prog_type, data).unwrap();
    machine.run(prog, input).unwrap()
}

/// Bytes in hexadecimal, or `z` and a number of zeros.
fn bytes(text: &str) -> Vec<u8> {
    match text.strip_prefix('z') {
        Some(n) => vec![0; n.parse().unwrap()],
        None => {
            (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
        }
    }
}

#[test]
fn packets_are_treated_as_by_a_kernel() {
    let mut wrong = Vec::new();
    for line in include_str!("packets/linux-6.18.txt").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('|').collect();
        let [name, prog_type, code, data, ret, after] = fields[..] else { panic!("{line}") };
        let prog_type = match prog_type {
            "1" => ProgType::SocketFilter,
            "3" => ProgType::SchedCls,
            "6" => ProgType::Xdp,
            other => panic!("program type {other}"),
        };
        let report = run(prog_type, &bytes(code), &bytes(data));
        let want = ret.parse::<i32>().unwrap();
        match &report.outcome {
            Outcome::Returned(v) if *v as i32 == want => {
                // A test run gives metadata and packet in one piece.
                let packet = report.packet.as_ref().map(|p| [&p.meta[..], &p.packet].concat());
                if packet != Some(bytes(after)) {
                    wrong.push(format!("{name}: packet {packet:02x?}, want {after}"));
                }
            }
            other => wrong.push(format!("{name}: {other:?}, want {want}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// `r0 = *(u32 *)(r1 + off)` and its like: operation, registers, offset, immediate.
fn insn(op: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let ([o0, o1], [i0, i1, i2, i3]) = (off.to_le_bytes(), imm.to_le_bytes());
    [op, dst | src << 4, o0, o1, i0, i1, i2, i3]
}

const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

fn fault(prog_type: ProgType, code: &[[u8; 8]]) -> String {
    match run(prog_type, &code.concat(), &[7; 64]).outcome {
        Outcome::Fault(fault) => fault.kind.id().to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn packets_end_at_their_last_byte() {
    let load = |at: i16| [insn(0x61, 2, 1, 0, 0), insn(0x71, 0, 2, at, 0), EXIT];
    assert_eq!(run(ProgType::Xdp, &load(63).concat(), &[7; 64]).outcome, Outcome::Returned(7));
    assert_eq!(fault(ProgType::Xdp, &load(64)), "out-of-bounds");
    assert_eq!(fault(ProgType::Xdp, &load(-1)), "out-of-bounds");
}

#[test]
fn a_pointer_from_before_a_change_is_stale() {
    let code = [
        insn(0xbf, 6, 1, 0, 0),
        insn(0x61, 7, 1, 0, 0),
        insn(0xb7, 2, 0, 0, 4),
        insn(0x85, 0, 0, 0, 44),
        insn(0x71, 0, 7, 8, 0),
        EXIT,
    ];
    assert_eq!(fault(ProgType::Xdp, &code), "use-after-free");
}

#[test]
fn fields_are_writable_by_program_type() {
    let store = |at: i16| [insn(0xb7, 2, 0, 0, 5), insn(0x63, 1, 2, at, 0), insn(0x61, 0, 1, at, 0), EXIT];
    let (mark, cb, len, data) = (8, 48, 0, 76);
    for (prog_type, at, ok) in [
        (ProgType::SchedCls, mark, true),
        (ProgType::SchedCls, cb, true),
        (ProgType::SchedCls, len, false),
        (ProgType::SocketFilter, cb, true),
        (ProgType::SocketFilter, mark, false),
        (ProgType::SocketFilter, data, false),
        (ProgType::Xdp, 12, false),
    ] {
        let outcome = run(prog_type, &store(at).concat(), &[0; 64]).outcome;
        assert_eq!(outcome == Outcome::Returned(5), ok, "{prog_type} field at {at}: {outcome:?}");
    }
}

#[test]
fn a_non_linear_buffer_is_pulled_into_reach() {
    let code = [
        insn(0xbf, 6, 1, 0, 0),
        insn(0xb7, 2, 0, 0, 40),
        insn(0x85, 0, 0, 0, 39),
        insn(0x61, 0, 6, 80, 0),
        insn(0x61, 1, 6, 76, 0),
        insn(0x1f, 0, 1, 0, 0),
        EXIT,
    ];
    let (mut machine, prog) = machine(ProgType::SchedCls, &code.concat());
    let input = SkbInput { packet: (0..64).collect(), linear: Some(20), ..SkbInput::default() };
    let input = skb(&mut machine, ProgType::SchedCls, &input).unwrap();
    let report = machine.run(prog, input).unwrap();
    assert_eq!(report.outcome, Outcome::Returned(40));
    assert_eq!(report.packet.unwrap().packet, (0..64).collect::<Vec<u8>>());
}

/// Any helper on any packet of any kind of program answers or faults; none panics.
#[test]
fn no_change_of_a_packet_panics() {
    let lens = [14, 15, 20, 33, 34, 54, 64];
    let values = [0, 1, 14, 20, 100, -1, -14, -20, 0x7fff_ffff, i32::MIN];
    for prog_type in [ProgType::Xdp, ProgType::SchedCls, ProgType::SocketFilter] {
        for helper in [9, 18, 19, 31, 38, 39, 43, 44, 50, 54, 65, 97] {
            for (len, value) in lens.iter().flat_map(|l| values.iter().map(move |v| (*l, *v))) {
                for flags in [0, 1, 1 << 7, 1 << 8] {
                    let mut data = vec![0; len];
                    data[12..14].copy_from_slice(if value & 1 == 0 { &[8, 0] } else { &[0x86, 0xdd] });
                    let code = [
                        insn(0xbf, 6, 1, 0, 0),
                        insn(0xb7, 2, 0, 0, value),
                        insn(0xb7, 3, 0, 0, flags & 1),
                        insn(0xb7, 4, 0, 0, flags),
                        insn(0xb7, 5, 0, 0, 0),
                        insn(0x85, 0, 0, 0, helper),
                        insn(0xbf, 1, 6, 0, 0),
                        insn(0xb7, 2, 0, 0, value),
                        insn(0xb7, 3, 0, 0, 1),
                        insn(0xb7, 4, 0, 0, flags),
                        insn(0xb7, 5, 0, 0, 0),
                        insn(0x85, 0, 0, 0, helper),
                        EXIT,
                    ];
                    run(prog_type, &code.concat(), &data);
                }
            }
        }
    }
}
