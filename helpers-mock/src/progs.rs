//! Loaded programs.

use std::collections::BTreeSet;
use std::sync::Arc;

use bpf_vm_shim::btf::Btf;
use bpf_vm_shim::exec::Code;
use bpf_vm_shim::object::{KfuncDecl, KsymDecl, LinkedProgram, MapDef, ProgType};

use crate::maps::MapId;
use crate::passes;

/// A program's number: its place among the machine's programs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProgId(pub u32);

/// The loads of a program that may go through typed kernel pointers, which may be read directly and read 0 where
/// nothing is mapped.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TypedLoads(BTreeSet<u32>);

impl TypedLoads {
    /// Whether a load, by its slot, is one of them.
    #[must_use]
    pub fn contains(&self, insn: u32) -> bool {
        self.0.contains(&insn)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<u32> for TypedLoads {
    fn from_iter<T: IntoIterator<Item = u32>>(insns: T) -> Self {
        Self(insns.into_iter().collect())
    }
}

/// What the programs of one object share.
#[derive(Debug)]
pub struct LoadedObject {
    /// The object's name.
    pub name: String,
    /// Its licence, which decides over `gpl_only` helpers.
    pub license: String,
    /// Its types.
    pub btf: Option<Btf>,
    /// The kernel functions that its programs call, by index.
    pub kfuncs: Vec<KfuncDecl>,
    /// Its maps, in the order of its definitions.
    pub maps: Vec<MapId>,
    /// The definitions, as they were linked.
    pub defs: Vec<MapDef>,
    /// The kernel symbols that its programs refer to, by index, with their addresses.
    pub ksyms: Vec<(KsymDecl, u64)>,
    /// How its programs are rewritten.
    pub passes: Option<passes::Options>,
}

/// A program in the machine.
#[derive(Debug)]
pub struct LoadedProg {
    /// Its number.
    pub id: ProgId,
    /// Its object.
    pub object: Arc<LoadedObject>,
    /// The linked program: attach target, source lines, subprograms.
    pub linked: LinkedProgram,
    /// Its type (the caller may have set another one than its section says).
    pub prog_type: ProgType,
    /// What runs.
    pub code: Arc<Code>,
    /// The loads that may go through typed kernel pointers.
    pub typed_loads: TypedLoads,
    /// The arena that it works on: the verifier allows one.
    pub arena: Option<MapId>,
}

/// All programs of a machine.
#[derive(Clone, Default, Debug)]
pub struct Progs {
    progs: Vec<Arc<LoadedProg>>,
}

impl Progs {
    /// The number that the next program gets.
    #[must_use]
    pub fn next_id(&self) -> ProgId {
        ProgId(self.progs.len() as u32)
    }

    /// Adds a program, whose id must be [`Progs::next_id`].
    pub fn push(&mut self, prog: LoadedProg) -> ProgId {
        let id = prog.id;
        self.progs.push(Arc::new(prog));
        id
    }

    /// A program by its number.
    #[must_use]
    pub fn get(&self, id: ProgId) -> Option<&Arc<LoadedProg>> {
        self.progs.get(id.0 as usize)
    }

    /// Puts another program in the place of one.
    pub(crate) fn replace(&mut self, prog: LoadedProg) {
        if let Some(slot) = self.progs.get_mut(prog.id.0 as usize) {
            *slot = Arc::new(prog);
        }
    }

    /// The first program of this name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<LoadedProg>> {
        self.progs.iter().find(|p| p.linked.name == name)
    }

    /// All programs in the order of loading.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LoadedProg>> {
        self.progs.iter()
    }
}
