use super::{Source, check_legacy, format};
use crate::errno::Errno;

/// Kernel memory: "hello" at 0xffff_0000, an IP address of 16 bytes at 0xffff_0100. User memory: "user" at 0x1000.
struct Fake;

impl Source for Fake {
    fn kernel(&mut self, addr: u64, out: &mut [u8]) -> bool {
        let (base, text): (u64, &[u8]) = match addr {
            0xffff_ffff_0000_0100.. => {
                (0xffff_ffff_0000_0100, &[127, 0, 0, 1, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 1])
            }
            0xffff_ffff_0000_0000.. => (0xffff_ffff_0000_0000, b"hello\0"),
            _ => return false,
        };
        let at = (addr - base) as usize;
        match text.get(at..at + out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    fn user(&mut self, addr: u64, out: &mut [u8]) -> bool {
        match b"user\0".get(addr.wrapping_sub(0x1000) as usize) {
            Some(c) => {
                out.fill(*c);
                true
            }
            None => false,
        }
    }

    fn symbol(&mut self, addr: u64) -> Option<(String, u64, Option<String>)> {
        (0xffff_ffff_8100_0000..0xffff_ffff_8100_0100)
            .contains(&addr)
            .then(|| ("schedule".to_owned(), addr - 0xffff_ffff_8100_0000, None))
    }
}

const HELLO: u64 = 0xffff_ffff_0000_0000;
const IP: u64 = 0xffff_ffff_0000_0100;
const SYM: u64 = 0xffff_ffff_8100_0010;

#[test]
fn formats_as_the_kernel_does() {
    let table: &[(&str, &[u64], Result<&str, Errno>)] = &[
        ("plain 100%%", &[], Ok("plain 100%")),
        ("%d %i %u", &[u64::MAX, 5, u64::MAX], Ok("-1 5 4294967295")),
        ("%ld %lld %lu", &[-7i64 as u64, 1 << 40, u64::MAX], Ok("-7 1099511627776 18446744073709551615")),
        ("%x %X %lx", &[0xabcd, 0xabcd, 0xffff_ffff_ffff], Ok("abcd ABCD ffffffffffff")),
        (
            "[%5d] [%-5d] [%05d] [%+d] [% d]",
            &[42, 42, -42i64 as u64, 42, 42],
            Ok("[   42] [42   ] [-0042] [+42] [ 42]"),
        ),
        ("[%8x] [%08x] [%-08x]", &[0xff, 0xff, 0xff], Ok("[      ff] [000000ff] [ff      ]")),
        ("%c%c", &[0x41, 0x42], Ok("AB")),
        ("[%3c]", &[0x41], Ok("[  A]")),
        ("%s!", &[HELLO], Ok("hello!")),
        ("[%8s] [%-8s]", &[HELLO, HELLO], Ok("[   hello] [hello   ]")),
        ("%s,%pus,%pks", &[0x1000, 0x1000, HELLO], Ok("user,user,hello")),
        ("[%s]", &[0], Ok("[]")),
        ("%pks", &[0x1000], Ok("")),
        ("%pI4 %pi4", &[IP, IP], Ok("127.0.0.1 127.000.000.001")),
        ("%pI6", &[IP], Ok("7f00:0001:2001:0db8:0000:0000:0000:0001")),
        ("%pi6", &[IP], Ok("7f00000120010db80000000000000001")),
        ("%pI4", &[0], Ok("0.0.0.0")),
        ("%ps %pS %pB", &[SYM, SYM, SYM], Ok("schedule schedule+0x10 schedule+0x10")),
        ("%pS", &[0x1234], Ok("0x1234")),
        ("%px", &[0xffff_8880_0000_1000], Ok("ffff888000001000")),
        ("%p", &[0], Ok("0000000000000000")),
        ("%d", &[], Err(Errno::EINVAL)),
        ("%", &[1], Err(Errno::EINVAL)),
        ("%f", &[1], Err(Errno::EINVAL)),
        ("%.3s", &[HELLO], Err(Errno::EINVAL)),
        ("%#x", &[1], Err(Errno::EINVAL)),
        ("%hd", &[1], Err(Errno::EINVAL)),
        ("%sx", &[HELLO], Err(Errno::EINVAL)),
        ("%pZ", &[HELLO], Err(Errno::EINVAL)),
        ("%pI5", &[IP], Err(Errno::EINVAL)),
        ("bell\x07", &[], Err(Errno::EINVAL)),
        ("tab\t%d\n", &[1], Ok("tab\t1\n")),
    ];
    for (fmt, args, want) in table {
        let got = format(fmt.as_bytes(), args, &mut Fake).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(got, want.map(str::to_owned), "{fmt:?}");
    }
}

#[test]
fn arguments_have_room_for_512_bytes() {
    assert!(format(b"%d", &[1], &mut Fake).is_ok());
    let many = vec![1; 200];
    assert_eq!(format("%d".repeat(128).as_bytes(), &many, &mut Fake).map(|t| t.len()), Ok(128));
    assert_eq!(format("%d".repeat(129).as_bytes(), &many, &mut Fake), Err(Errno::ENOSPC));
}

#[test]
fn old_kernels_allowed_less() {
    let table: &[(&str, bool)] = &[
        ("pid %d comm %s", true),
        ("%llu %lx %p", true),
        ("%s %s", false),
        ("%5d", false),
        ("%c", false),
        ("100%%", false),
        ("%d %d %d %d", false),
        ("%pks", true),
        ("%px", false),
    ];
    for (fmt, want) in table {
        assert_eq!(check_legacy(fmt.as_bytes(), (5, 8)).is_ok(), *want, "{fmt:?}");
    }
    assert!(check_legacy(b"%pks", (4, 19)).is_err());
}

#[test]
fn lengths_and_refusals_are_those_of_linux_6_18() {
    let table: &[(&str, [u64; 3], i32)] = &[
        ("plain 100%%", [0, 0, 0], 10),
        ("%d %i %u", [u64::MAX, 5, u64::MAX], 15),
        ("%ld %lld %lu", [-7i64 as u64, 1099511627776, u64::MAX], 37),
        ("%x %X %lx", [43981, 43981, 281474976710655], 22),
        ("[%5d] [%-5d] [%05d]", [42, 42, -42i64 as u64], 23),
        ("[%8x] [%08x] [%-08x]", [255, 255, 255], 32),
        ("[%3c]", [65, 0, 0], 5),
        ("[%8s] [%-8s]", [HELLO, HELLO, 0], 21),
        ("%pks|%pus|", [HELLO, HELLO, 0], 7),
        ("[%s]", [0, 0, 0], 2),
        ("%pI4 %pi4", [HELLO, HELLO, 0], 31),
        ("%pI6", [HELLO, 0, 0], 39),
        ("%pi6", [HELLO, 0, 0], 32),
        ("%px", [4660, 0, 0], 16),
        ("%p", [0, 0, 0], 16),
        ("%p", [HELLO, 0, 0], 16),
        ("%pK", [HELLO, 0, 0], 16),
        ("%d", [0, 0, 0], 1),
        ("%", [1, 0, 0], -22),
        ("%f", [1, 0, 0], -22),
        ("%.3s", [HELLO, 0, 0], -22),
        ("%#x", [1, 0, 0], -22),
        ("%hd", [1, 0, 0], -22),
        ("%sx", [HELLO, 0, 0], -22),
        ("%pZ", [HELLO, 0, 0], -22),
        ("%pI5", [HELLO, 0, 0], -22),
        ("bell\x07", [0, 0, 0], -22),
        ("tab\t%d\n", [1, 0, 0], 6),
        ("%d %d %d %d", [1, 2, 3], -22),
        ("%pxabc.", [1, 0, 0], 17),
        ("%pI4abc.", [HELLO, 0, 0], 16),
        ("%20pI4.", [HELLO, 0, 0], 16),
        ("%20px.", [1, 0, 0], 21),
        ("%020px.", [1, 0, 0], 21),
        ("%-20px.", [1, 0, 0], 21),
        ("%20p.", [0, 0, 0], 21),
        ("%pS", [1, 0, 0], 3),
        ("%ps.", [1, 0, 0], 4),
        ("%20pS.", [1, 0, 0], 21),
        ("%20pks.", [HELLO, 0, 0], 6),
        ("%lld%%", [5, 0, 0], 2),
        ("% d", [5, 0, 0], 2),
        ("%+d", [5, 0, 0], 2),
        ("%+-5d|", [5, 0, 0], 6),
        ("%0+5d|", [5, 0, 0], 6),
        ("%l", [5, 0, 0], -22),
        ("%llld", [5, 0, 0], -22),
        ("%lx", [9223372036854775808, 0, 0], 16),
        ("%li", [9223372036854775808, 0, 0], 20),
        ("%pB", [1, 0, 0], 3),
        ("%pks%s", [HELLO, HELLO, 0], 10),
        ("%c%c%c", [1, 65, 66], 3),
        ("%pi4.", [0, 0, 0], 16),
        ("%50d", [1, 0, 0], 50),
        ("%1000d", [1, 0, 0], 1000),
        ("%99999d", [1, 0, 0], 99999),
        ("%%%d", [5, 0, 0], 2),
        ("%5%", [5, 0, 0], -22),
        ("%pd", [1, 0, 0], -22),
        ("%pe", [1, 0, 0], -22),
        ("%pUb", [1, 0, 0], -22),
        ("%p4", [HELLO, 0, 0], -22),
        ("%p,", [0, 0, 0], 17),
        ("%zu", [1, 0, 0], -22),
        ("%o", [1, 0, 0], -22),
        ("%b", [1, 0, 0], -22),
        ("%0d", [7, 0, 0], 1),
        ("%-d", [7, 0, 0], 1),
        ("", [0, 0, 0], 0),
    ];
    for (fmt, args, want) in table {
        let got = format(fmt.as_bytes(), args, &mut Fake).map_or_else(|e| -e.number(), |t| t.len() as i32);
        assert_eq!(got, *want, "{fmt:?}");
    }
}
