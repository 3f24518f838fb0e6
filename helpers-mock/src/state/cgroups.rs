//! Control groups of the unified hierarchy.

use std::collections::BTreeMap;

/// A control group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cgroup {
    /// Its id: the inode number of its directory (`cgroup_id`).
    pub id: u64,
    /// Its path from the root, `/` for the root itself.
    pub path: String,
    /// Its distance from the root.
    pub level: u32,
    /// The id of the one above; its own for the root.
    pub parent: u64,
}

/// All control groups.
#[derive(Clone, Debug)]
pub struct Cgroups {
    by_id: BTreeMap<u64, Cgroup>,
    next: u64,
    /// Kernel objects (`struct cgroup`): group by address.
    objects: BTreeMap<u64, u64>,
}

/// The root's id in kernfs.
pub const ROOT_CGROUP: u64 = 1;
/// What the first made-up id is; each further one follows.
const FIRST_ID: u64 = 100;

impl Default for Cgroups {
    /// The root only.
    fn default() -> Self {
        let root = Cgroup { id: ROOT_CGROUP, path: "/".to_owned(), level: 0, parent: ROOT_CGROUP };
        Self { by_id: BTreeMap::from([(ROOT_CGROUP, root)]), next: FIRST_ID, objects: BTreeMap::new() }
    }
}

impl Cgroups {
    /// The id of the control group with this path; it and those above it are made if they do not exist.
    pub fn make(&mut self, path: &str) -> u64 {
        let mut at = ROOT_CGROUP;
        for name in path.split('/').filter(|n| !n.is_empty()) {
            at = match self.child(at, name) {
                Some(id) => id,
                None => {
                    while self.by_id.contains_key(&self.next) {
                        self.next += 1;
                    }
                    self.add(at, name, self.next)
                }
            };
        }
        at
    }

    /// As [`Cgroups::make`], but the last one gets this id; one with the id is moved.
    pub fn make_with_id(&mut self, path: &str, id: u64) -> u64 {
        let path = path.trim_end_matches('/');
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return ROOT_CGROUP;
        }
        let parent = self.make(above);
        match self.child(parent, name) {
            Some(known) if known == id => known,
            known => {
                if let Some(known) = known {
                    self.by_id.remove(&known);
                }
                self.add(parent, name, id)
            }
        }
    }

    fn child(&self, parent: u64, name: &str) -> Option<u64> {
        let is = |c: &&Cgroup| {
            c.parent == parent && c.id != ROOT_CGROUP && c.path.rsplit('/').next() == Some(name)
        };
        self.by_id.values().find(is).map(|c| c.id)
    }

    fn add(&mut self, parent: u64, name: &str, id: u64) -> u64 {
        let (above, level) = self.by_id.get(&parent).map_or(("/", 0), |p| (p.path.as_str(), p.level));
        let path = format!("{}/{name}", above.trim_end_matches('/'));
        self.by_id.insert(id, Cgroup { id, path, level: level + 1, parent });
        id
    }

    /// A control group by its id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Cgroup> {
        self.by_id.get(&id)
    }

    /// A control group by its path.
    #[must_use]
    pub fn by_path(&self, path: &str) -> Option<&Cgroup> {
        let wanted = path.trim_matches('/');
        self.by_id.values().find(|c| c.path.trim_matches('/') == wanted)
    }

    /// The control group `level` steps below the root on the way to this one, itself included (`cgroup_ancestor`).
    #[must_use]
    pub fn ancestor(&self, id: u64, level: u32) -> Option<u64> {
        let mut at = self.get(id)?;
        if level > at.level {
            return None;
        }
        while at.level > level {
            at = self.get(at.parent)?;
        }
        Some(at.id)
    }

    /// Whether `id` is `of` or below it (`cgroup_is_descendant`).
    #[must_use]
    pub fn is_descendant(&self, id: u64, of: u64) -> bool {
        self.get(of).is_some_and(|c| self.ancestor(id, c.level) == Some(of))
    }

    /// The control group whose kernel object (`struct cgroup`) is at an address.
    #[must_use]
    pub fn by_object(&self, addr: u64) -> Option<&Cgroup> {
        self.get(*self.objects.get(&addr)?)
    }

    pub(crate) fn note_object(&mut self, addr: u64, id: u64) {
        self.objects.insert(addr, id);
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Cgroup> {
        self.by_id.values()
    }
}

#[cfg(test)]
mod tests {
    use super::{Cgroups, ROOT_CGROUP};

    #[test]
    fn paths_make_a_tree() {
        let mut c = Cgroups::default();
        let b = c.make("/a/b");
        assert_eq!(c.make("a/b/"), b);
        assert_eq!(c.make("/"), ROOT_CGROUP);
        let a = c.make("/a");
        assert_eq!((c.ancestor(b, 0), c.ancestor(b, 1), c.ancestor(b, 2)), (Some(1), Some(a), Some(b)));
        assert_eq!(c.ancestor(b, 3), None);
        assert!(c.is_descendant(b, a) && !c.is_descendant(a, b) && c.is_descendant(a, a));
        assert_eq!(c.make_with_id("/a/c", 4242), 4242);
        assert_eq!(c.by_path("a/c").map(|c| c.level), Some(2));
    }
}
