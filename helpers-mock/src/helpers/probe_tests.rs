//! The probing helpers against what Linux 6.18 on x86-64 returns.

use crate::helpers::{all, name_of};
use crate::testing::{buffer, bytes, kernel_bytes, machine, ret};

const EFAULT: i64 = -14;
const ERANGE: i64 = -34;

/// `(helper, address, result for 8 bytes, result for 0 bytes)`, measured on a kernel; nothing is mapped at any address.
const MEASURED: &[(u32, u64, i64, i64)] = &[
    (4, 0, EFAULT, 0),
    (4, 0x7fff_ffff_e000, EFAULT, 0),
    (4, 0x7fff_ffff_f000, ERANGE, ERANGE),
    (4, 0x8000_0000_0000, ERANGE, ERANGE),
    (4, 0xffff_8000_0000_0000, EFAULT, 0),
    (4, 0xffff_ffff_ff60_0000, ERANGE, ERANGE),
    (112, 1, EFAULT, 0),
    (112, 0x7fff_ffff_f000, EFAULT, 0),
    (112, 0x8000_0000_0000, EFAULT, EFAULT),
    (112, 0xffff_ffff_ffff_ff00, EFAULT, EFAULT),
    (113, 0, ERANGE, ERANGE),
    (113, 0x1000, ERANGE, ERANGE),
    (113, 0xdead_0000_0000_0000, ERANGE, ERANGE),
    (113, 0xffff_8000_0000_0000, EFAULT, 0),
    (113, 0xffff_ffff_ffff_ff00, EFAULT, 0),
    (45, 0, EFAULT, 0),
    (45, 0x7fff_ffff_f000, ERANGE, 0),
    (114, 0x7fff_ffff_f000, EFAULT, 0),
    (114, 0xffff_8000_0000_0000, EFAULT, 0),
    (115, 0x1000, ERANGE, 0),
    (115, 0xffff_8000_0000_0000, EFAULT, 0),
];

#[test]
fn reads_of_nothing_fail_as_measured_and_zero_the_buffer() {
    for (id, addr, eight, none) in MEASURED {
        let mut m = machine();
        let buf = buffer(&mut m, 8);
        assert_eq!(ret(&mut m, *id, &[buf, 0, *addr]), *none, "{} of 0 at {addr:#x}", name_of(*id));
        assert_eq!(bytes(&mut m, buf, 8), [0xee; 8], "untouched");
        assert_eq!(ret(&mut m, *id, &[buf, 8, *addr]), *eight, "{} at {addr:#x}", name_of(*id));
        assert_eq!(bytes(&mut m, buf, 8), [0; 8], "zeroed");
    }
}

#[test]
fn strings_end_at_the_buffer_or_at_their_nul() {
    // Helper, source, buffer size, result, buffer afterwards.
    type Row = (u32, &'static [u8], usize, i64, &'static [u8]);
    let table: &[Row] = &[
        (115, b"abc\0defg", 8, 4, b"abc\0\xee\xee\xee\xee"),
        (114, b"abc\0defg", 8, 4, b"abc\0\0\0\0\0"),
        (114, b"abc\0defg", 6, 4, b"abc\0\xee\xee"),
        (115, b"abcdefgh", 4, 4, b"abc\0"),
        (114, b"abcdefgh", 8, 8, b"abcdefg\0"),
        (45, b"\0", 4, 1, b"\0\xee\xee\xee"),
        (115, b"a", 4, EFAULT, b"\0\0\0\0"),
        (115, b"a", 1, 1, b"\0"),
    ];
    for (id, source, size, result, after) in table {
        let mut m = machine();
        let src = match id {
            114 => m.kernel.state.current_user_mut().unwrap().place(source).unwrap(),
            _ => kernel_bytes(&mut m, source),
        };
        let buf = buffer(&mut m, *size as u32);
        assert_eq!(ret(&mut m, *id, &[buf, *size as u64, src]), *result, "{source:?}");
        assert_eq!(&bytes(&mut m, buf, *size), after, "{source:?}");
    }
}

#[test]
fn each_address_space_is_read_by_its_own_helpers() {
    let mut m = machine();
    let kernel = kernel_bytes(&mut m, b"KERN");
    let user = m.kernel.state.current_user_mut().unwrap().place(b"USER").unwrap();
    for (id, addr, result) in [
        (4, kernel, 0),
        (4, user, 0),
        (112, kernel, EFAULT),
        (112, user, 0),
        (148, user, 0),
        (113, kernel, 0),
        (113, user, ERANGE),
    ] {
        let buf = buffer(&mut m, 4);
        assert_eq!(ret(&mut m, id, &[buf, 4, addr]), result, "{} of {addr:#x}", name_of(id));
    }
    let buf = buffer(&mut m, 4);
    assert_eq!(ret(&mut m, 36, &[user, buf, 4]), 0);
    assert_eq!(ret(&mut m, 36, &[0x1000, buf, 4]), EFAULT);
    let mut four = [0; 4];
    m.kernel.state.current_user().unwrap().read(user, &mut four).unwrap();
    assert_eq!(four, [0xee; 4]);
}

#[test]
fn another_task_has_its_own_user_memory() {
    let mut m = machine();
    let mut other = crate::state::Task::new(7, "other");
    let at = other.user.place(b"theirs").unwrap();
    m.kernel.state.tasks.insert(other);
    let task = m.kernel.task_object(&mut m.mem, 7).unwrap();
    let buf = buffer(&mut m, 6);
    assert_eq!(ret(&mut m, 148, &[buf, 6, at]), EFAULT);
    assert_eq!(ret(&mut m, 191, &[buf, 6, at, task, 0]), 0);
    assert_eq!(bytes(&mut m, buf, 6), b"theirs");
    assert_eq!(ret(&mut m, 191, &[buf, 6, at, task, 1]), -22);
    assert_eq!(ret(&mut m, 191, &[buf, 6, 8, task, 0]), EFAULT);
}

#[test]
fn every_row_has_its_number() {
    for row in all() {
        assert_eq!(name_of(row.id), row.name);
    }
}
