//! The trie against a list of prefixes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bpf_helpers_mock::Errno;
use bpf_helpers_mock::maps::flag;
use bpf_vm_shim::object::MapType;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection, prop_assert_eq, proptest};

use super::support::{errno, with_map};

/// A prefix of up to 16 bits; the bits behind it are cleared.
type Prefix = (u32, u16);

fn key((len, bits): (u32, u16)) -> Vec<u8> {
    [&len.to_le_bytes()[..], &bits.to_be_bytes()].concat()
}

fn masked(len: u32, bits: u16) -> u16 {
    if len == 0 { 0 } else { bits & (u16::MAX << (16 - len)) }
}

/// Postorder: bit by bit, and the longer first where one is the other's beginning.
fn postorder(a: &Prefix, b: &Prefix) -> Ordering {
    let common = a.0.min(b.0);
    masked(common, a.1).cmp(&masked(common, b.1)).then(b.0.cmp(&a.0))
}

fn prefix() -> impl Strategy<Value = (u32, u16)> {
    // Few distinct bits, so that prefixes meet.
    (0u32..=17, prop_oneof![any::<u16>(), (0u16..4).prop_map(|n| n << 14), Just(0x8100), Just(0x8180)])
}

#[derive(Clone, Debug)]
enum Op {
    Update((u32, u16), u32, u64),
    Delete((u32, u16)),
    Lookup((u32, u16)),
}

fn op() -> impl Strategy<Value = Op> {
    let flags = prop_oneof![4 => Just(0), 1 => Just(flag::NOEXIST), 1 => Just(flag::EXIST), 1 => Just(3u64)];
    prop_oneof![
        4 => (prefix(), any::<u32>(), flags).prop_map(|(p, v, f)| Op::Update(p, v, f)),
        2 => prefix().prop_map(Op::Delete),
        3 => prefix().prop_map(Op::Lookup),
    ]
}

proptest! {
    #[test]
    fn the_longest_prefix_wins(ops in collection::vec(op(), 0..120)) {
        let (mut machine, id) = with_map(MapType::LpmTrie, (6, 4), 20, flag::NO_PREALLOC);
        let mut model: BTreeMap<Prefix, u32> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Update((len, bits), value, flags) => {
                    let at = (len, masked(len.min(16), bits));
                    let there = model.contains_key(&at);
                    let expected = if flags > 2 || len > 16 {
                        Err(Errno::EINVAL)
                    } else if there && flags == flag::NOEXIST {
                        Err(Errno::EEXIST)
                    } else if !there && flags == flag::EXIST {
                        Err(Errno::ENOENT)
                    } else if !there && model.len() == 20 {
                        Err(Errno::ENOSPC)
                    } else {
                        model.insert(at, value);
                        Ok(())
                    };
                    let ours = errno(machine.map_update(id, &key((len, bits)), &value.to_le_bytes(), flags));
                    prop_assert_eq!(ours, expected);
                }
                Op::Delete((len, bits)) => {
                    let expected = if len > 16 {
                        Err(Errno::EINVAL)
                    } else {
                        model.remove(&(len, masked(len, bits))).map(|_| ()).ok_or(Errno::ENOENT)
                    };
                    prop_assert_eq!(errno(machine.map_delete(id, &key((len, bits)))), expected);
                }
                Op::Lookup((len, bits)) => {
                    let best = model.iter().filter(|((l, b), _)| len <= 16 && *l <= len && masked(*l, bits) == *b);
                    let best = best.max_by_key(|((l, _), _)| *l).map(|(_, v)| vec![v.to_le_bytes().to_vec()]);
                    prop_assert_eq!(machine.map_read(id, &key((len, bits))).unwrap(), best);
                }
            }
        }
        let mut expected: Vec<Prefix> = model.keys().copied().collect();
        expected.sort_by(postorder);
        let mut found = Vec::new();
        let mut at = machine.map_next_key(id, None).unwrap();
        while let Some(k) = at {
            let len = u32::from_le_bytes(k[..4].try_into().unwrap());
            found.push((len, masked(len, u16::from_be_bytes(k[4..].try_into().unwrap()))));
            at = machine.map_next_key(id, Some(&k)).unwrap();
        }
        prop_assert_eq!(found, expected);
    }
}
