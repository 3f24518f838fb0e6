//! `BPF_MAP_TYPE_LPM_TRIE` (`kernel/bpf/lpm_trie.c`): the longest prefix that matches.
//!
//! A binary trie with paths compressed. Keys are `struct bpf_lpm_trie_key`: the prefix length in bits, then the data,
//! most significant bit first.

use super::attr::flag;
use super::values::Values;
use super::{MapCx, MapOps};
use crate::errno::Errno;

/// No node.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Node {
    prefix: u32,
    data: Box<[u8]>,
    child: [u32; 2],
    /// The value's address; 0 in a node that only joins others.
    value: u64,
}

/// A trie.
#[derive(Clone, Debug)]
pub(super) struct LpmTrie {
    values: Values,
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: u32,
    len: u32,
    max_entries: u32,
    data_size: usize,
}

/// A link to a node: the root or a node's child.
#[derive(Clone, Copy)]
enum Link {
    Root,
    Child(u32, usize),
}

fn bit(data: &[u8], at: u32) -> usize {
    let byte = data.get((at / 8) as usize).copied().unwrap_or_default();
    usize::from(byte >> (7 - at % 8) & 1)
}

/// How many leading bits are equal, at most `limit`.
fn common(a: &[u8], b: &[u8], limit: u32) -> u32 {
    let mut bits = 0;
    for (x, y) in a.iter().zip(b) {
        let same = (x ^ y).leading_zeros();
        bits += same;
        if same < 8 || bits >= limit {
            break;
        }
    }
    bits.min(limit)
}

impl LpmTrie {
    pub(super) fn new(values: Values, key_size: u32, max_entries: u32) -> Self {
        let data_size = key_size.saturating_sub(4) as usize;
        Self { values, nodes: Vec::new(), free: Vec::new(), root: NONE, len: 0, max_entries, data_size }
    }

    /// The prefix length and the data, if the length is possible.
    fn split<'k>(&self, key: &'k [u8]) -> Option<(u32, &'k [u8])> {
        let (prefix, data) = key.split_first_chunk::<4>()?;
        let prefix = u32::from_le_bytes(*prefix);
        (data.len() == self.data_size && prefix as usize <= self.data_size * 8).then_some((prefix, data))
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(at as usize)
    }

    fn follow(&self, link: Link) -> u32 {
        match link {
            Link::Root => self.root,
            Link::Child(node, side) => self.node(node).map_or(NONE, |n| n.child[side & 1]),
        }
    }

    fn set(&mut self, link: Link, to: u32) {
        match link {
            Link::Root => self.root = to,
            Link::Child(node, side) => {
                if let Some(n) = self.nodes.get_mut(node as usize) {
                    n.child[side & 1] = to;
                }
            }
        }
    }

    fn add(&mut self, node: Node) -> u32 {
        match self.free.pop() {
            Some(at) => {
                if let Some(slot) = self.nodes.get_mut(at as usize) {
                    *slot = node;
                }
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        }
    }

    /// Walks from the root towards a key: the links passed, the last one to where the walk ends, and how many bits of
    /// the key the node there (if any) shares.
    fn walk_to(&self, prefix: u32, data: &[u8]) -> (Vec<Link>, u32) {
        let mut path = vec![Link::Root];
        let mut at = self.root;
        let mut matched = 0;
        while let Some(node) = self.node(at) {
            matched = common(&node.data, data, node.prefix.min(prefix));
            if node.prefix != matched || node.prefix == prefix {
                break;
            }
            let link = Link::Child(at, bit(data, node.prefix));
            path.push(link);
            at = self.follow(link);
        }
        (path, matched)
    }

    /// The node with exactly this prefix, joining ones included, and the path to it.
    fn exact(&self, prefix: u32, data: &[u8]) -> Option<(u32, Vec<Link>)> {
        let (path, matched) = self.walk_to(prefix, data);
        let at = self.follow(*path.last()?);
        let node = self.node(at)?;
        (node.prefix == prefix && matched == prefix).then_some((at, path))
    }

    fn longest(&self, key: &[u8]) -> Option<u64> {
        let (prefix, data) = self.split(key)?;
        let mut found = None;
        let mut at = self.root;
        while let Some(node) = self.node(at) {
            if common(&node.data, data, node.prefix.min(prefix)) < node.prefix {
                break;
            }
            found = Some(node.value).filter(|v| *v != 0).or(found);
            if node.prefix == prefix {
                break;
            }
            at = node.child[bit(data, node.prefix)];
        }
        found
    }

    /// What a new element needs (`trie_check_add_elem`).
    fn check_add(&self, flags: u64) -> Result<(), Errno> {
        if flags == flag::EXIST {
            return Err(Errno::ENOENT);
        }
        if self.len >= self.max_entries { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    /// The first element in postorder below a node: of children before their parent.
    fn leftmost(&self, mut at: u32) -> Option<u32> {
        loop {
            let node = self.node(at)?;
            at = match node.child {
                [NONE, NONE] => return Some(at),
                [NONE, right] => right,
                [left, _] => left,
            };
        }
    }

    fn key_of(&self, at: u32) -> Option<Vec<u8>> {
        let node = self.node(at)?;
        Some([&node.prefix.to_le_bytes()[..], &node.data].concat())
    }

    /// The element after one, in postorder: more specific prefixes come before less specific ones.
    fn after(&self, at: u32, path: &[Link]) -> Option<u32> {
        let mut at = at;
        for link in path.iter().rev() {
            let Link::Child(parent, side) = *link else { return None };
            let node = self.node(parent)?;
            if side == 0 && node.child[1] != NONE && node.child[0] == at {
                return self.leftmost(node.child[1]);
            }
            if node.value != 0 {
                return Some(parent);
            }
            at = parent;
        }
        None
    }
}

impl MapOps for LpmTrie {
    fn clone_box(&self) -> Box<dyn MapOps> {
        Box::new(self.clone())
    }

    fn lookup(&self, _: &mut MapCx<'_>, key: &[u8]) -> Result<Option<u64>, Errno> {
        Ok(self.longest(key))
    }

    fn update(&mut self, cx: &mut MapCx<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if flags > flag::EXIST {
            return Err(Errno::EINVAL);
        }
        let (prefix, data) = self.split(key).ok_or(Errno::EINVAL)?;
        let (path, matched) = self.walk_to(prefix, data);
        let link = path.last().copied().unwrap_or(Link::Root);
        let at = self.follow(link);
        let there = self.node(at).map(|n| (n.prefix, n.value, n.child));
        let replaced = there.filter(|(p, ..)| *p == matched && *p == prefix);
        match replaced {
            Some((_, value, _)) if value != 0 => {
                if flags == flag::NOEXIST {
                    return Err(Errno::EEXIST);
                }
            }
            _ => self.check_add(flags)?,
        }
        let addr = self.values.alloc_element(cx.mem, 1)?;
        self.values.store(cx, addr, value)?;
        let new = Node { prefix, data: data.into(), child: [NONE; 2], value: addr };
        if let Some((_, old, child)) = replaced {
            if let Some(slot) = self.nodes.get_mut(at as usize) {
                *slot = Node { child, ..new };
            }
            if old == 0 {
                self.len += 1;
            } else {
                self.values.free(cx, old, 1);
            }
            return Ok(());
        }
        self.len += 1;
        let Some(node) = self.node(at) else {
            let new = self.add(new);
            self.set(link, new);
            return Ok(());
        };
        let side = bit(&node.data, matched);
        if matched == prefix {
            // The node there is more specific: it goes below.
            let mut new = new;
            new.child[side] = at;
            let new = self.add(new);
            self.set(link, new);
            return Ok(());
        }
        let mut join = Node { prefix: matched, data: node.data.clone(), child: [NONE; 2], value: 0 };
        join.child[side] = at;
        join.child[side ^ 1] = self.add(new);
        let join = self.add(join);
        self.set(link, join);
        Ok(())
    }

    fn delete(&mut self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<(), Errno> {
        let (prefix, data) = self.split(key).ok_or(Errno::EINVAL)?;
        let (at, path) = self.exact(prefix, data).ok_or(Errno::ENOENT)?;
        let Some(node) = self.nodes.get_mut(at as usize).filter(|n| n.value != 0) else {
            return Err(Errno::ENOENT);
        };
        let value = std::mem::take(&mut node.value);
        let child = node.child;
        let link = path.last().copied().unwrap_or(Link::Root);
        match child {
            // It stays, to join the two.
            [a, b] if a != NONE && b != NONE => {}
            [NONE, NONE] => {
                self.free.push(at);
                self.set(link, NONE);
                // A parent that only joined is not needed any more: its other child takes its place.
                if let Link::Child(parent, side) = link
                    && let Some(p) = self.node(parent).filter(|p| p.value == 0)
                {
                    let other = p.child[(side ^ 1) & 1];
                    let above = path.len().checked_sub(2).and_then(|i| path.get(i)).copied();
                    self.set(above.unwrap_or(Link::Root), other);
                    self.free.push(parent);
                }
            }
            [a, b] => {
                self.free.push(at);
                self.set(link, if a == NONE { b } else { a });
            }
        }
        self.len -= 1;
        self.values.free(cx, value, 1);
        Ok(())
    }

    fn next_key(&self, key: Option<&[u8]>) -> Option<Vec<u8>> {
        let found = key.and_then(|k| self.split(k)).and_then(|(prefix, data)| self.exact(prefix, data));
        let next = match found.filter(|(at, _)| self.node(*at).is_some_and(|n| n.value != 0)) {
            Some((at, path)) => self.after(at, &path)?,
            None => self.leftmost(self.root)?,
        };
        self.key_of(next)
    }

    fn read(&self, cx: &mut MapCx<'_>, key: &[u8]) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let Some(addr) = self.longest(key) else { return Ok(None) };
        Ok(Some(vec![self.values.load(cx, addr)?]))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
