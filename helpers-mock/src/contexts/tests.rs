//! Contexts are laid out as the kernel lays them out, and readable where it lets programs read.

use bpf_vm_shim::btf::{Btf, BtfBuilder, IntEncoding, Member};
use bpf_vm_shim::object::{Arch, ProgType};

use super::{
    ContextError, Iter, PerfEvent, Probe, Syscall, Tracepoint, TracepointLayout, TypedArgs, context_size,
};
use crate::machine::Machine;
use crate::testing::machine;

const FORMAT: &str = "name: sched_process_exec
ID: 311
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;
\tfield:char comm[16];\toffset:16;\tsize:16;\tsigned:0;
\tfield:const char * ptr;\toffset:32;\tsize:8;\tsigned:0;

print fmt: \"filename=%s\", __get_str(filename)
";

fn load(m: &mut Machine, addr: u64, size: u8) -> u64 {
    m.mem.load(addr, size).unwrap()
}

fn probe(m: &mut Machine, addr: u64) -> u64 {
    let mut word = [0; 8];
    m.mem.probe_read(addr, &mut word).unwrap();
    u64::from_le_bytes(word)
}

#[test]
fn a_format_file_says_where_fields_are() {
    let layout = TracepointLayout::from_format(FORMAT).unwrap();
    assert_eq!((layout.event.as_str(), layout.size), ("sched_process_exec", 40));
    let mut m = machine();
    let event = Tracepoint::new(layout).set("filename", "/bin/ls").set("pid", -3).set("comm", "ls");
    let ctx = event.set("ptr", 0x1234_u64).build(&mut m).unwrap().args[0];
    assert_eq!(load(&mut m, ctx + 8, 4), 8 << 16 | 40, "length and place of the data");
    assert_eq!(load(&mut m, ctx + 40, 8), u64::from_le_bytes(*b"/bin/ls\0"));
    assert_eq!(load(&mut m, ctx + 12, 4), u64::from((-3_i32).cast_unsigned()));
    assert_eq!(load(&mut m, ctx + 16, 2), u64::from(u16::from_le_bytes(*b"ls")));
    assert_eq!(load(&mut m, ctx + 32, 8), 0x1234);
    assert!(m.mem.load(ctx + 48, 1).is_err(), "nothing lies behind the data");
    assert!(m.mem.load(ctx, 4).is_err(), "the common fields are the kernel's");
    assert!(m.mem.store(ctx + 8, 4, 0).is_err());
}

#[test]
fn fields_and_values_must_fit() {
    let event = Tracepoint::new(TracepointLayout::from_format(FORMAT).unwrap());
    let table = [
        (
            event.clone().set("pidd", 1),
            "tracepoint 'sched_process_exec' has no field 'pidd'; it has: common_type, common_pid, filename, pid, \
             comm, ptr",
        ),
        (
            event.clone().set("pid", 1_u64 << 40),
            "tracepoint 'sched_process_exec', field 'pid': 1099511627776 does not fit 4 bytes",
        ),
        (
            event.set("comm", "more than sixteen bytes"),
            "tracepoint 'sched_process_exec', field 'comm': 24 bytes do not go into 16",
        ),
    ];
    for (event, message) in table {
        assert_eq!(event.build(&mut machine()).unwrap_err().to_string(), message);
    }
    let broken = TracepointLayout::from_format("name: x\n\tfield:int a;\toffset:x;\tsize:4;").unwrap_err();
    assert_eq!(broken, ContextError::Format { line: 2, why: "no 'offset:'".to_owned() });
}

#[test]
fn btf_says_where_fields_are_too() {
    let mut b = BtfBuilder::new();
    let int = b.add_int("int", 4, IntEncoding::SIGNED);
    let char_ = b.add_int("char", 1, IntEncoding::CHAR);
    let data = b.add_array(char_, int, 0);
    let members = [
        Member::new("pid", int, 64),
        Member::new("__data_loc_name", int, 96),
        Member::new("__data", data, 128),
    ];
    b.add_struct("trace_event_raw_thing", 16, &members);
    let btf = Btf::parse(b.build()).unwrap();
    let layout = TracepointLayout::from_btf(&btf, "thing").unwrap();
    let mut m = machine();
    let input = Tracepoint::new(layout).set("pid", 7).set("name", "x").build(&mut m).unwrap();
    assert_eq!(load(&mut m, input.args[0] + 8, 8), 7 | (2 << 16 | 16) << 32);
    assert_eq!(load(&mut m, input.args[0] + 16, 2), u64::from(b'x'));
    assert!(TracepointLayout::from_btf(&btf, "other").is_err());
}

#[test]
fn a_probe_has_its_arguments_in_registers_and_on_the_stack() {
    let mut m = machine();
    let input = Probe::entry("vfs_read", &[1, 2, 3, 4, 5, 6, 7]).build(&mut m).unwrap();
    let ctx = input.args[0];
    assert_eq!(load(&mut m, ctx + 112, 8), 1);
    assert_eq!(input.func_ip, m.kernel.state.symbols.addr("vfs_read").unwrap());
    assert_eq!(load(&mut m, ctx + 128, 8), input.func_ip + 1, "behind the breakpoint");
    let sp = load(&mut m, ctx + 152, 8);
    assert_eq!(probe(&mut m, sp + 8), 7, "the seventh is behind the return address");
    assert!(m.mem.store(ctx, 8, 0).is_err());
    let ret = Probe::ret("vfs_read", 0xffff_ffff_ffff_fff2).build(&mut m).unwrap();
    assert_eq!(load(&mut m, ret.args[0] + 80, 8), 0xffff_ffff_ffff_fff2);
    let too_many = Probe::entry("f", &[0; 13]).build(&mut m).unwrap_err();
    assert_eq!(too_many, ContextError::TooManyArgs { given: 13, max: 12 });
}

#[test]
fn a_system_call_has_its_arguments_behind_a_pointer() {
    let call = Syscall { name: "openat".to_owned(), nr: 257, args: vec![1, 2, 3, 4], ..Syscall::default() };
    // (architecture, wrappers, offset of the first argument, its register file, offsets of the fourth there)
    let table = [(Arch::X86_64, true, 112, 56), (Arch::Arm64, true, 0, 24), (Arch::X86_64, false, 112, 88)];
    for (arch, wrapped, first, fourth) in table {
        let mut m = machine();
        (m.kernel.profile.arch, m.kernel.profile.syscall_wrapper) = (arch, wrapped);
        let ctx = call.build(&mut m).unwrap().args[0];
        if wrapped {
            let inner = load(&mut m, ctx + first, 8);
            assert_eq!((probe(&mut m, inner + first), probe(&mut m, inner + fourth)), (1, 4), "{arch:?}");
            let name = format!("{}sys_openat", arch.syscall_prefix());
            assert!(m.kernel.state.symbols.addr(&name).is_some());
        } else {
            assert_eq!((load(&mut m, ctx + first, 8), load(&mut m, ctx + fourth, 8)), (1, 4));
        }
    }
}

#[test]
fn typed_arguments_are_words_with_the_result_behind() {
    let mut m = machine();
    let call = TypedArgs { func: Some("f".to_owned()), args: vec![5, 6], ret: Some(7), cookie: 8 };
    let input = call.build(&mut m).unwrap();
    let words: Vec<u64> = (0..3).map(|i| load(&mut m, input.args[0] + 8 * i, 8)).collect();
    assert_eq!(words, [5, 6, 7]);
    assert!(m.mem.load(input.args[0] + 24, 1).is_err());
    assert_eq!((input.func_args, input.func_ret, input.cookie), (vec![5, 6], Some(7), 8));
}

#[test]
fn a_sample_has_period_and_address_behind_the_registers() {
    for (arch, regs) in [(Arch::X86_64, 168), (Arch::Arm64, 272)] {
        let mut m = machine();
        m.kernel.profile.arch = arch;
        let sample = PerfEvent { sample_period: 99, addr: 0xabc, ..PerfEvent::default() };
        let ctx = sample.build(&mut m).unwrap().args[0];
        assert_eq!((load(&mut m, ctx + regs, 8), load(&mut m, ctx + regs + 8, 8)), (99, 0xabc));
        assert_eq!(context_size(ProgType::PerfEvent, arch), regs as u32 + 16);
    }
}

#[test]
fn an_iterator_has_its_meta_and_its_objects() {
    let mut m = machine();
    let call = Iter { pointers: vec![0x1000, 0x2000], seq_num: 3, ..Iter::default() };
    let ctx = call.build(&mut m).unwrap().args[0];
    let meta = load(&mut m, ctx, 8);
    assert_eq!(probe(&mut m, meta + 16), 3);
    assert_ne!(probe(&mut m, meta), 0, "there is a file to write to");
    let rest: Vec<u64> = (1..4).map(|i| load(&mut m, ctx + 8 * i, 8)).collect();
    assert_eq!(rest, [0x1000, 0x2000, 0]);
}
