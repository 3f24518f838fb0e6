//! What every kind of CO-RE relocation comes to. One line of a table per question.

use bpf_vm_shim::btf::{
    Btf, BtfBuilder, IntEncoding, Member, Param, TypeId,
    core::{CoreOutcome, CoreRelo, CoreReloKind as Kind, CoreResolver},
};

use crate::support::{CHAR, INT, UINT, ULONG, builder, parse, values};

/// The first type after those of [`builder`].
const ROOT: TypeId = TypeId(5);

fn relo(type_id: TypeId, access: &str, kind: Kind) -> CoreRelo {
    CoreRelo { insn_off: 0, type_id, access: access.into(), kind }
}

/// The outcome in one line: `local -> target`, `none: why`, or the error.
fn ask(resolver: &mut CoreResolver, relo: &CoreRelo) -> String {
    match resolver.resolve(relo) {
        Ok(CoreOutcome::Value(v)) => format!("{} -> {}", v.local.cast_signed(), v.target.cast_signed()),
        Ok(CoreOutcome::Unresolvable(u)) => format!("none: {}", u.why),
        Err(e) => e.to_string(),
    }
}

/// Asks questions (root type, path, kind, expected outcome) with one pair of local and target types; each
/// with a fresh resolver.
#[track_caller]
fn check(
    local: impl Fn(&mut BtfBuilder),
    target: impl Fn(&mut BtfBuilder),
    questions: &[(TypeId, &str, Kind, &str)],
) {
    let made = |f: &dyn Fn(&mut BtfBuilder)| {
        let mut b = builder();
        f(&mut b);
        parse(&b)
    };
    let (local, target) = (made(&local), made(&target));
    for (root, access, kind, expected) in questions {
        let found = ask(&mut CoreResolver::new(&local, &target), &relo(*root, access, *kind));
        assert_eq!(found, *expected, "{kind} {access}");
    }
}

#[test]
fn fields_move() {
    check(
        |b| {
            b.add_struct("s", 8, &[Member::new("a", INT, 0), Member::new("b", INT, 32)]);
        },
        |b| {
            b.add_struct(
                "s",
                24,
                &[Member::new("new", ULONG, 0), Member::new("b", ULONG, 64), Member::new("c", INT, 128)],
            );
        },
        &[
            (ROOT, "0:1", Kind::FieldByteOffset, "4 -> 8"),
            (ROOT, "0:1", Kind::FieldByteSize, "4 -> 8"),
            (ROOT, "0:1", Kind::FieldSigned, "1 -> 0"),
            (ROOT, "0:1", Kind::FieldLshiftU64, "32 -> 0"),
            (ROOT, "0:1", Kind::FieldRshiftU64, "32 -> 0"),
            (ROOT, "0:1", Kind::FieldExists, "1 -> 1"),
            (ROOT, "0:0", Kind::FieldExists, "1 -> 0"),
            (ROOT, "0:0", Kind::FieldByteOffset, "none: struct s has no field a"),
            (ROOT, "0:0", Kind::FieldByteSize, "none: struct s has no field a"),
            (ROOT, "0:0", Kind::FieldSigned, "none: struct s has no field a"),
            (ROOT, "0:0", Kind::FieldLshiftU64, "none: struct s has no field a"),
            (ROOT, "0:0", Kind::FieldRshiftU64, "none: struct s has no field a"),
            // The index from the root pointer counts whole structures.
            (ROOT, "2:1", Kind::FieldByteOffset, "20 -> 56"),
            (ROOT, "1", Kind::FieldByteOffset, "8 -> 24"),
            (ROOT, "0", Kind::FieldByteSize, "8 -> 24"),
        ],
    );
}

#[test]
fn types_exist_by_kind_and_name() {
    check(
        |b| {
            b.add_struct("s___mine", 4, &[Member::new("a", INT, 0)]);
            b.add_union("u", 4, &[]);
            b.add_typedef("t", INT);
            b.add_enum("e", 4, false, &values(&[("A", 1)]));
            b.add_fwd("f", false);
            b.add_int("strange", 2, IntEncoding::UNSIGNED);
        },
        |b| {
            b.add_struct("padding", 1, &[]);
            b.add_struct("s", 12, &[]);
            b.add_struct("u", 4, &[]);
            b.add_typedef("t", UINT);
            b.add_enum64("e", 8, false, &values(&[("A", 1)]));
            b.add_fwd("f", false);
            b.add_int("strange", 8, IntEncoding::SIGNED);
        },
        &[
            (ROOT, "0", Kind::TypeExists, "1 -> 1"),
            (ROOT, "0", Kind::TypeSize, "4 -> 12"),
            (ROOT, "0", Kind::TypeIdLocal, "5 -> 5"),
            (ROOT, "0", Kind::TypeIdTarget, "5 -> 6"),
            (ROOT, "0", Kind::TypeMatches, "1 -> 0"),
            (TypeId(6), "0", Kind::TypeExists, "1 -> 0"),
            (TypeId(6), "0", Kind::TypeSize, "4 -> 0"),
            (TypeId(6), "0", Kind::TypeIdTarget, "6 -> 0"),
            (TypeId(7), "0", Kind::TypeExists, "1 -> 1"),
            (TypeId(7), "0", Kind::TypeMatches, "1 -> 0"),
            (TypeId(8), "0", Kind::TypeExists, "1 -> 1"),
            (TypeId(8), "0", Kind::TypeSize, "4 -> 8"),
            (TypeId(9), "0", Kind::TypeExists, "1 -> 1"),
            (TypeId(10), "0", Kind::TypeExists, "1 -> 1"),
            (TypeId(10), "0", Kind::TypeMatches, "1 -> 0"),
        ],
    );
}

#[test]
fn enumerators_are_found_by_name() {
    let local = |b: &mut BtfBuilder| {
        b.add_enum("e___old", 4, true, &values(&[("A", -1), ("B___x", 2), ("GONE", 3)]));
        b.add_enum64("w", 8, false, &values(&[("BIG", 1 << 40), ("HUGE", u64::MAX.into())]));
        b.add_typedef("alias", ROOT);
    };
    check(
        local,
        |b| {
            b.add_enum("e", 4, false, &values(&[("B", 0xffff_fff0), ("A", 7)]));
            b.add_enum("w", 4, false, &values(&[("BIG", 5)]));
            b.add_typedef("alias", ROOT);
        },
        &[
            (ROOT, "0", Kind::EnumvalValue, "-1 -> 7"),
            // 32-bit values are sign-extended even where the enumeration is unsigned.
            (ROOT, "1", Kind::EnumvalValue, "2 -> -16"),
            (ROOT, "1", Kind::EnumvalExists, "1 -> 1"),
            (ROOT, "2", Kind::EnumvalExists, "1 -> 0"),
            (ROOT, "2", Kind::EnumvalValue, "none: enum e has no enumerator GONE"),
            (TypeId(6), "0", Kind::EnumvalValue, "1099511627776 -> 5"),
            (TypeId(6), "1", Kind::EnumvalExists, "1 -> 0"),
            (TypeId(7), "0", Kind::EnumvalValue, "-1 -> 7"),
        ],
    );
    check(local, |_| {}, &[(ROOT, "0", Kind::EnumvalValue, "none: the target has no enum e___old")]);
}

#[test]
fn bit_fields_are_loaded_by_the_smallest_aligned_integer() {
    check(
        |b| {
            b.add_struct(
                "s",
                8,
                &[
                    Member::new("f", UINT, 3).bits(5),
                    Member::new("g", INT, 30).bits(4),
                    Member::new("n", INT, 32),
                ],
            );
        },
        |b| {
            let byte = b.add_int("unsigned char", 1, IntEncoding::UNSIGNED);
            b.add_struct(
                "s",
                16,
                &[
                    Member::new("f", byte, 68).bits(3),
                    Member::new("g", INT, 30).bits(4),
                    Member::new("n", INT, 96).bits(31),
                ],
            );
        },
        &[
            (ROOT, "0:0", Kind::FieldByteOffset, "0 -> 8"),
            (ROOT, "0:0", Kind::FieldByteSize, "4 -> 1"),
            (ROOT, "0:0", Kind::FieldSigned, "0 -> 0"),
            (ROOT, "0:0", Kind::FieldLshiftU64, "56 -> 57"),
            (ROOT, "0:0", Kind::FieldRshiftU64, "59 -> 61"),
            // Across a boundary of its own type, the load is widened.
            (ROOT, "0:1", Kind::FieldByteOffset, "0 -> 0"),
            (ROOT, "0:1", Kind::FieldByteSize, "8 -> 8"),
            (ROOT, "0:1", Kind::FieldLshiftU64, "30 -> 30"),
            (ROOT, "0:1", Kind::FieldRshiftU64, "60 -> 60"),
            (ROOT, "0:2", Kind::FieldLshiftU64, "32 -> 33"),
        ],
    );
}

#[test]
fn a_bit_field_across_eight_bytes_cannot_be_loaded() {
    let make = |b: &mut BtfBuilder| {
        b.add_struct("s", 16, &[Member::new("f", ULONG, 60).bits(8)]);
    };
    let why = "CO-RE: <byte_off> [5] struct s.f (0:0 @ offset 7.4): no load of 64 bits covers the bit-field";
    check(make, make, &[(ROOT, "0:0", Kind::FieldByteOffset, why)]);
}

#[test]
fn anonymous_members_are_searched() {
    check(
        |b| {
            b.add_struct("s", 8, &[Member::new("x", INT, 0), Member::new("y", INT, 32)]);
        },
        |b| {
            let deep = b.add_struct("", 8, &[Member::new("z", INT, 0), Member::new("y", INT, 32)]);
            let middle = b.add_union("", 8, &[Member::new("w", INT, 0), Member::new("", deep, 0)]);
            b.add_struct("s", 16, &[Member::new("x", INT, 0), Member::new("", middle, 64)]);
        },
        &[(ROOT, "0:1", Kind::FieldByteOffset, "4 -> 12"), (ROOT, "0:1", Kind::FieldExists, "1 -> 1")],
    );
    // The other way round: the local path leads through anonymous members.
    check(
        |b| {
            let inner = b.add_union("", 4, &[Member::new("a", INT, 0), Member::new("b", INT, 0)]);
            b.add_struct("s", 8, &[Member::new("x", INT, 0), Member::new("", inner, 32)]);
        },
        |b| {
            b.add_struct("s", 12, &[Member::new("b", INT, 64)]);
        },
        &[
            (TypeId(6), "0:1:1", Kind::FieldByteOffset, "4 -> 8"),
            (TypeId(6), "0:1:0", Kind::FieldExists, "1 -> 0"),
        ],
    );
}

#[test]
fn arrays_are_indexed_within_their_bounds() {
    let types = |len: u32, flexible: u32| {
        move |b: &mut BtfBuilder| {
            let array = b.add_array(INT, INT, len);
            let rows = b.add_array(array, INT, 2);
            let flexible = b.add_array(INT, INT, flexible);
            b.add_struct(
                "s",
                64,
                &[
                    Member::new("pad", ULONG, 0),
                    Member::new("rows", rows, 64),
                    Member::new("end", flexible, 256),
                ],
            );
        }
    };
    const S: TypeId = TypeId(8);
    check(
        types(3, 0),
        types(2, 0),
        &[
            (S, "0:1", Kind::FieldByteSize, "24 -> 16"),
            (S, "0:1:1:1", Kind::FieldByteOffset, "24 -> 20"),
            (S, "0:1:1:1", Kind::FieldByteSize, "4 -> 4"),
            (S, "0:1:1:2", Kind::FieldByteOffset, "none: int[2] has no element 2"),
            (S, "0:1:1:2", Kind::FieldExists, "1 -> 0"),
            (S, "0:2:7", Kind::FieldByteOffset, "60 -> 60"),
            (
                S,
                "0:1:1:3",
                Kind::FieldByteOffset,
                "CO-RE: [8] struct s: bad access string \"0:1:1:3\": int[3] has no element 3",
            ),
            (
                S,
                "0:1:1:1",
                Kind::FieldSigned,
                "CO-RE: <signed> [8] struct s.rows[1][1] (0:1:1:1 @ offset 24): not possible for an array element",
            ),
        ],
    );
    check(types(3, 0), types(3, 4), &[(S, "0:2:7", Kind::FieldExists, "1 -> 0")]);
    check(types(3, 8), types(3, 0), &[(S, "0:2:7", Kind::FieldByteOffset, "60 -> 60")]);
}

#[test]
fn field_types_must_be_compatible() {
    // What stands in for what: structures and unions for each other, integers of any size, and so on.
    type Make = fn(&mut BtfBuilder) -> TypeId;
    let cases: [(&str, Make, Make, bool); 14] = [
        ("int for long", |_| INT, |_| ULONG, true),
        ("int for pointer", |_| ULONG, |b| b.add_ptr(TypeId::VOID), false),
        ("any pointers", |b| b.add_ptr(INT), |b| b.add_ptr(TypeId::VOID), true),
        ("struct for union", |b| b.add_struct("a", 4, &[]), |b| b.add_union("b", 4, &[]), true),
        ("struct for int", |b| b.add_struct("a", 4, &[]), |_| INT, false),
        ("floats", |b| b.add_float("float", 4), |b| b.add_float("double", 8), true),
        ("through aliases", |b| b.add_const(INT), |b| b.add_typedef("t", INT), true),
        ("arrays by element", |b| b.add_array(INT, INT, 2), |b| b.add_array(CHAR, INT, 9), true),
        ("arrays of others", |b| b.add_array(INT, INT, 2), |b| b.add_float("f", 4), false),
        (
            "enums of one name",
            |b| b.add_enum("e___x", 4, false, &[]),
            |b| b.add_enum64("e", 8, false, &[]),
            true,
        ),
        ("enums of two names", |b| b.add_enum("e", 4, false, &[]), |b| b.add_enum("f", 4, false, &[]), false),
        ("anonymous enum", |b| b.add_enum("e", 4, false, &[]), |b| b.add_enum("", 4, false, &[]), true),
        ("forward of one name", |b| b.add_fwd("f", false), |b| b.add_fwd("f", true), true),
        ("bit-field integers", |b| b.add_int_bits("i", 4, IntEncoding::SIGNED, 3, 2), |_| INT, false),
    ];
    for (name, local, target, exists) in cases {
        let made = |f: fn(&mut BtfBuilder) -> TypeId| {
            let mut b = builder();
            let id = f(&mut b);
            let s = b.add_struct("s", 16, &[Member::new("x", id, 0)]);
            (parse(&b), s)
        };
        let ((local, root), (target, _)) = (made(local), made(target));
        let found = ask(&mut CoreResolver::new(&local, &target), &relo(root, "0:0", Kind::FieldExists));
        assert_eq!(found, if exists { "1 -> 1" } else { "1 -> 0" }, "{name}");
    }
}

#[test]
fn type_matches_compares_contents() {
    type Make = fn(&mut BtfBuilder) -> TypeId;
    fn of(b: &mut BtfBuilder, members: &[(&str, TypeId)]) -> TypeId {
        let members: Vec<_> =
            members.iter().enumerate().map(|(i, (n, t))| Member::new(n, *t, i as u32 * 64)).collect();
        b.add_struct("root", 64, &members)
    }
    fn proto(b: &mut BtfBuilder, ret: TypeId, param: TypeId) -> TypeId {
        let proto = b.add_func_proto(ret, &[Param { name: "p", type_id: param }]);
        b.add_ptr(proto)
    }
    let cases: [(&str, Make, Make, bool); 13] = [
        ("more members", |b| of(b, &[("a", INT)]), |b| of(b, &[("b", CHAR), ("a", INT)]), true),
        ("fewer members", |b| of(b, &[("a", INT), ("b", INT)]), |b| of(b, &[("a", INT)]), false),
        ("other names", |b| of(b, &[("a", INT)]), |b| of(b, &[("b", INT)]), false),
        ("other sign", |b| of(b, &[("a", INT)]), |b| of(b, &[("a", UINT)]), false),
        (
            "flavoured integer name",
            |b| {
                let i = b.add_int("my___flavour", 4, IntEncoding::SIGNED);
                of(b, &[("a", i)])
            },
            |b| {
                let i = b.add_int("my", 4, IntEncoding::SIGNED);
                of(b, &[("a", i)])
            },
            true,
        ),
        (
            "array lengths",
            |b| {
                let a = b.add_array(INT, INT, 2);
                of(b, &[("a", a)])
            },
            |b| {
                let a = b.add_array(INT, INT, 3);
                of(b, &[("a", a)])
            },
            false,
        ),
        (
            "behind a pointer only the name counts",
            |b| {
                let s = b.add_struct("x", 4, &[Member::new("f", INT, 0)]);
                let p = b.add_ptr(s);
                of(b, &[("a", p)])
            },
            |b| {
                let s = b.add_struct("x", 4, &[]);
                let p = b.add_ptr(s);
                of(b, &[("a", p)])
            },
            true,
        ),
        (
            "by value the contents count",
            |b| {
                let s = b.add_struct("x", 4, &[Member::new("f", INT, 0)]);
                of(b, &[("a", s)])
            },
            |b| {
                let s = b.add_struct("x", 4, &[]);
                of(b, &[("a", s)])
            },
            false,
        ),
        (
            "forward declaration behind a pointer",
            |b| {
                let s = b.add_fwd("x", false);
                let p = b.add_ptr(s);
                of(b, &[("a", p)])
            },
            |b| {
                let s = b.add_struct("x", 4, &[]);
                let p = b.add_ptr(s);
                of(b, &[("a", p)])
            },
            true,
        ),
        (
            "forward declaration of the other kind",
            |b| {
                let s = b.add_union("x", 4, &[]);
                let p = b.add_ptr(s);
                of(b, &[("a", p)])
            },
            |b| {
                let s = b.add_fwd("x", false);
                let p = b.add_ptr(s);
                of(b, &[("a", p)])
            },
            false,
        ),
        (
            "enumerators by name",
            |b| {
                let e = b.add_enum("e", 4, false, &values(&[("A", 1)]));
                of(b, &[("a", e)])
            },
            |b| {
                let e = b.add_enum("e", 4, false, &values(&[("Z", 9), ("A", 5)]));
                of(b, &[("a", e)])
            },
            true,
        ),
        (
            "same prototypes",
            |b| {
                let p = proto(b, INT, ULONG);
                of(b, &[("a", p)])
            },
            |b| {
                let p = proto(b, INT, ULONG);
                of(b, &[("a", p)])
            },
            true,
        ),
        (
            "other parameter",
            |b| {
                let p = proto(b, INT, ULONG);
                of(b, &[("a", p)])
            },
            |b| {
                let p = proto(b, INT, CHAR);
                of(b, &[("a", p)])
            },
            false,
        ),
    ];
    for (name, local, target, matches) in cases {
        let made = |f: Make| {
            let mut b = builder();
            let id = f(&mut b);
            (parse(&b), id)
        };
        let ((local, root), (target, _)) = (made(local), made(target));
        let mut resolver = CoreResolver::new(&local, &target);
        let found = ask(&mut resolver, &relo(root, "0", Kind::TypeMatches));
        assert_eq!(found, if matches { "1 -> 1" } else { "1 -> 0" }, "{name}");
    }
}

#[test]
fn prototypes_exist_by_shape() {
    fn proto(b: &mut BtfBuilder, params: &[TypeId]) {
        let params: Vec<_> = params.iter().map(|t| Param { name: "", type_id: *t }).collect();
        let proto = b.add_func_proto(INT, &params);
        b.add_typedef("fn_t", proto);
    }
    let exists = |answer| [(TypeId(6), "0", Kind::TypeExists, answer)];
    check(|b| proto(b, &[INT]), |b| proto(b, &[ULONG]), &exists("1 -> 1"));
    check(|b| proto(b, &[INT]), |b| proto(b, &[INT, INT]), &exists("1 -> 0"));
    check(
        |b| proto(b, &[INT]),
        |b| {
            let params = [Param { name: "", type_id: TypeId(7) }];
            let proto = b.add_func_proto(INT, &params);
            b.add_typedef("fn_t", proto);
            b.add_ptr(INT);
        },
        &exists("1 -> 0"),
    );
}

fn two_flavours(first: u32, second: u32) -> impl Fn(&mut BtfBuilder) {
    move |b| {
        b.add_struct("s", 16, &[Member::new("x", INT, first)]);
        b.add_struct("s___2", 16, &[Member::new("x", INT, second), Member::new("y", INT, 64)]);
    }
}

#[test]
fn several_candidates_must_agree() {
    let local = |b: &mut BtfBuilder| {
        b.add_struct("s", 16, &[Member::new("x", INT, 0), Member::new("y", INT, 32)]);
    };
    check(local, two_flavours(32, 32), &[(ROOT, "0:0", Kind::FieldByteOffset, "0 -> 4")]);
    check(
        local,
        two_flavours(32, 96),
        &[
            (
                ROOT,
                "0:0",
                Kind::FieldByteOffset,
                "CO-RE: <byte_off> [5] struct s.x (0:0 @ offset 0): ambiguous: <byte_off> [5] struct s.x (0:0 @ \
                 offset 4) and <byte_off> [6] struct s___2.x (0:0 @ offset 12) disagree",
            ),
            (ROOT, "0:1", Kind::FieldByteOffset, "4 -> 8"),
            // Even where only existence is asked, the offsets must agree.
            (
                ROOT,
                "0:0",
                Kind::FieldExists,
                "CO-RE: <field_exists> [5] struct s.x (0:0 @ offset 0): ambiguous: <field_exists> [5] struct s.x \
                 (0:0 @ offset 4) and <field_exists> [6] struct s___2.x (0:0 @ offset 12) disagree",
            ),
        ],
    );
}

#[test]
fn a_match_decides_among_candidates_for_later_relocations() {
    let mut b = builder();
    let s = b.add_struct("s", 16, &[Member::new("x", INT, 0), Member::new("y", INT, 32)]);
    let local = parse(&b);
    let mut b = builder();
    two_flavours(32, 96)(&mut b);
    let mut resolver = CoreResolver::new(&local, &parse(&b));
    assert_eq!(ask(&mut resolver, &relo(s, "0:1", Kind::FieldByteOffset)), "4 -> 8");
    assert_eq!(ask(&mut resolver, &relo(s, "0:0", Kind::FieldByteOffset)), "0 -> 12");
}

#[test]
fn against_its_own_btf_every_type_stands_for_itself() {
    let mut b = builder();
    two_flavours(32, 96)(&mut b);
    let own = parse(&b);
    let mut resolver = CoreResolver::new(&own, &own);
    assert_eq!(ask(&mut resolver, &relo(ROOT, "0:0", Kind::FieldByteOffset)), "4 -> 4");
    assert_eq!(ask(&mut resolver, &relo(TypeId(6), "0:0", Kind::FieldByteOffset)), "12 -> 12");
    assert_eq!(ask(&mut resolver, &relo(TypeId(6), "0", Kind::TypeIdTarget)), "6 -> 6");
}

#[test]
fn modules_are_searched_for_what_the_kernel_lacks() {
    let mut b = builder();
    let s = b.add_struct("s", 4, &[Member::new("x", INT, 0)]);
    let m = b.add_struct("m", 4, &[Member::new("x", INT, 0)]);
    let local = parse(&b);
    let mut b = builder();
    b.add_struct("s", 8, &[Member::new("x", INT, 32)]);
    let kernel = parse(&b);
    let module = |offset| {
        let mut b = BtfBuilder::split(&kernel);
        b.add_struct("s", 8, &[Member::new("x", INT, 0)]);
        b.add_struct("m", 16, &[Member::new("x", INT, offset)]);
        Btf::parse_split(b.build(), &kernel).expect("valid")
    };
    let mut resolver = CoreResolver::new(&local, &kernel).with_modules(&[module(64), module(64)]);
    assert_eq!(ask(&mut resolver, &relo(s, "0:0", Kind::FieldByteOffset)), "0 -> 4");
    assert_eq!(ask(&mut resolver, &relo(m, "0:0", Kind::FieldByteOffset)), "0 -> 8");
    let Ok(CoreOutcome::Value(v)) = resolver.resolve(&relo(m, "0:0", Kind::FieldByteOffset)) else {
        panic!("resolves")
    };
    let found = v.target_type.expect("found");
    assert_eq!((found.btf, found.id), (1, TypeId(7)));
}

#[test]
fn malformed_relocations_are_refused() {
    let make = |b: &mut BtfBuilder| {
        b.add_struct("s", 8, &[Member::new("x", INT, 0)]);
        b.add_struct("", 8, &[Member::new("x", INT, 0)]);
        b.add_enum("e", 4, false, &values(&[("A", 0)]));
    };
    let s = |access: &str, why: &str| format!("CO-RE: [5] struct s: bad access string {access:?}: {why}");
    check(
        make,
        make,
        &[
            (ROOT, "", Kind::FieldByteOffset, &s("", "\"\" is no index")),
            (ROOT, ":0", Kind::FieldByteOffset, &s(":0", "\"\" is no index")),
            (ROOT, "0:", Kind::FieldByteOffset, &s("0:", "\"\" is no index")),
            (ROOT, "0:-1", Kind::FieldByteOffset, &s("0:-1", "\"-1\" is no index")),
            (ROOT, "0:1", Kind::FieldByteOffset, &s("0:1", "struct s has no member 1")),
            (ROOT, "0:0:0", Kind::FieldByteOffset, &s("0:0:0", "int of kind int has no parts")),
            (ROOT, "99999999:0", Kind::FieldByteOffset, &s("99999999:0", "size of type [5] overflows")),
            (ROOT, "1", Kind::TypeExists, &s("1", "a type has only `0`")),
            (ROOT, "0", Kind::EnumvalValue, &s("0", "struct is no enumeration")),
            (
                TypeId(7),
                "1",
                Kind::EnumvalValue,
                "CO-RE: [7] enum e: bad access string \"1\": there is no enumerator 1",
            ),
            (
                TypeId(7),
                "0:0",
                Kind::EnumvalValue,
                "CO-RE: [7] enum e: bad access string \"0:0\": an enumerator has one index",
            ),
            (TypeId(99), "0", Kind::TypeExists, "type id 99 is out of range: there are 8 types"),
            (ROOT, "0:0", Kind::Unknown(77), "CO-RE: <unknown> [5] struct s: unknown kind"),
            (
                TypeId(6),
                "0:0",
                Kind::FieldByteOffset,
                "CO-RE: <byte_off> [6] struct <anon>.x (0:0 @ offset 0): an anonymous type cannot be found in \
                 another BTF",
            ),
        ],
    );
}

#[test]
fn a_target_nested_exponentially_is_searched_in_linear_time() {
    let mut b = builder();
    let s = b.add_struct("s", 8, &[Member::new("wanted", INT, 0)]);
    let local = parse(&b);
    let mut b = builder();
    let mut at = b.add_struct("", 8, &[Member::new("other", INT, 0)]);
    for _ in 0..50 {
        at = b.add_struct("", 8, &[Member::new("", at, 0), Member::new("", at, 0)]);
    }
    b.add_struct("s", 8, &[Member::new("", at, 0)]);
    let mut resolver = CoreResolver::new(&local, &parse(&b));
    assert_eq!(ask(&mut resolver, &relo(s, "0:0", Kind::FieldExists)), "1 -> 0");
}

#[test]
fn kinds_have_libbpfs_numbers() {
    for (i, kind) in Kind::ALL.iter().enumerate() {
        assert_eq!(Kind::from_number(i as u32), *kind);
        assert_eq!(kind.number(), i as u32);
    }
    assert_eq!(Kind::from_number(13), Kind::Unknown(13));
}
