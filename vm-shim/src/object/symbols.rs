//! Names of a kernel's functions and symbols.

use std::sync::Arc;

use crate::btf::{Btf, Kind};

/// A sorted set of names, as many as a kernel has; cheap to clone.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SymbolNames {
    names: Arc<Vec<Box<str>>>,
}

impl SymbolNames {
    /// The functions that BTF describes, and more. Here rather than at its only user, because this crate is optimised in
    /// debug builds too: there are fifty thousand of them, and every test process that reads a kernel's types pays.
    #[must_use]
    pub fn functions_of(btf: &Btf, more: Vec<String>) -> Self {
        let described = btf.iter().filter(|(_, ty)| ty.kind() == Kind::Func).map(|(_, ty)| ty.name().into());
        Self::sorted(described.chain(more.into_iter().map(Into::into)).collect())
    }

    fn sorted(mut names: Vec<Box<str>>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self { names: Arc::new(names) }
    }

    /// Whether a name is in it.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// The place of a name in the sorted order.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|n| (**n).cmp(name)).ok()
    }

    /// The name at a place of the sorted order.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<&str> {
        self.names.get(position).map(|n| &**n)
    }

    /// Adds a name. Collect many at once instead.
    pub fn insert(&mut self, name: impl Into<Box<str>>) {
        let name = name.into();
        if let Err(at) = self.names.binary_search(&name) {
            Arc::make_mut(&mut self.names).insert(at, name);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none, which means that nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|n| &**n)
    }
}

impl<T: Into<Box<str>>> FromIterator<T> for SymbolNames {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> Self {
        Self::sorted(names.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Box<str>>, const N: usize> From<[T; N]> for SymbolNames {
    fn from(names: [T; N]) -> Self {
        names.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::SymbolNames;

    #[test]
    fn names_are_sorted_and_unique() {
        let mut names: SymbolNames = ["b", "a", "b"].into_iter().collect();
        names.insert("aa");
        names.insert("a");
        assert_eq!(names.iter().collect::<Vec<_>>(), ["a", "aa", "b"]);
        assert_eq!((names.position("b"), names.get(1), names.contains("c")), (Some(2), Some("aa"), false));
    }
}
