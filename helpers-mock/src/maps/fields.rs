//! Special fields of map values, found through BTF (`btf_parse_fields` in `kernel/bpf/btf.c`).

use bpf_vm_shim::btf::{Btf, Type, TypeId};
use bpf_vm_shim::object::{MapDef, MapType};

use super::attr::flag;

/// What a special field is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum FieldKind {
    /// `struct bpf_spin_lock`.
    SpinLock,
    /// `struct bpf_res_spin_lock`.
    ResSpinLock,
    /// `struct bpf_timer`.
    Timer,
    /// `struct bpf_wq`.
    Workqueue,
    /// A pointer tagged `kptr_untrusted`.
    KptrUntrusted,
    /// A pointer tagged `kptr`.
    Kptr,
    /// A pointer tagged `percpu_kptr`.
    KptrPercpu,
    /// A pointer tagged `uptr`.
    Uptr,
    /// `struct bpf_list_head`.
    ListHead,
    /// `struct bpf_list_node`.
    ListNode,
    /// `struct bpf_rb_root`.
    RbRoot,
    /// `struct bpf_rb_node`.
    RbNode,
    /// `struct bpf_refcount`.
    Refcount,
    /// `struct bpf_task_work`.
    TaskWork,
}

impl FieldKind {
    /// Whether what it holds is dropped when the value goes or is overwritten (`bpf_obj_free_fields`).
    #[must_use]
    pub const fn is_dropped(self) -> bool {
        !matches!(self, Self::SpinLock | Self::ResSpinLock | Self::Refcount | Self::ListNode | Self::RbNode)
    }

    /// Whether values of this map type may have it (`map_check_btf`).
    const fn allowed_in(self, map_type: MapType) -> bool {
        use MapType as T;
        let storage = matches!(map_type, T::SkStorage | T::InodeStorage | T::TaskStorage | T::CgrpStorage);
        let plain = matches!(map_type, T::Hash | T::Array);
        match self {
            Self::SpinLock | Self::ResSpinLock => plain || storage || matches!(map_type, T::CgroupStorage),
            Self::Timer | Self::Workqueue | Self::TaskWork | Self::ListHead | Self::RbRoot => {
                plain || matches!(map_type, T::LruHash)
            }
            Self::Uptr => matches!(map_type, T::TaskStorage),
            _ => {
                let hash = matches!(map_type, T::PercpuHash | T::LruHash | T::LruPercpuHash | T::PercpuArray);
                plain || storage || hash
            }
        }
    }

    fn of_struct(name: &str) -> Option<Self> {
        Some(match name {
            "bpf_spin_lock" => Self::SpinLock,
            "bpf_res_spin_lock" => Self::ResSpinLock,
            "bpf_timer" => Self::Timer,
            "bpf_wq" => Self::Workqueue,
            "bpf_list_head" => Self::ListHead,
            "bpf_list_node" => Self::ListNode,
            "bpf_rb_root" => Self::RbRoot,
            "bpf_rb_node" => Self::RbNode,
            "bpf_refcount" => Self::Refcount,
            "bpf_task_work" => Self::TaskWork,
            _ => return None,
        })
    }

    fn of_tag(tag: &str) -> Option<Self> {
        Some(match tag {
            "kptr_untrusted" => Self::KptrUntrusted,
            "kptr" => Self::Kptr,
            "percpu_kptr" => Self::KptrPercpu,
            "uptr" => Self::Uptr,
            _ => return None,
        })
    }
}

/// A special field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// What it is.
    pub kind: FieldKind,
    /// Where it begins in the value.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// For a kptr: the type that it points to.
    pub target: Option<TypeId>,
}

/// The special fields of a value, by offset.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Fields(Vec<Field>);

/// The kernel's `BTF_FIELDS_MAX` bounds what is of use; a value may nest this deep (`MAX_RESOLVE_DEPTH`).
const MAX_FIELDS: usize = 64;
const MAX_DEPTH: u32 = 32;

impl Fields {
    /// The special fields of a type: of a structure, of its nested structures, unions and arrays, or, for a data
    /// section, of its variables.
    #[must_use]
    pub fn of(btf: &Btf, value: TypeId) -> Self {
        let mut fields = Vec::new();
        collect(btf, value, 0, 0, &mut fields);
        fields.sort_by_key(|f| f.offset);
        fields.dedup_by_key(|f| f.offset);
        Self(fields)
    }

    /// The special fields of a map's values. None if the kernel would not take the map with its types, for which
    /// loaders then create it without (`map_check_btf`, libbpf's `bpf_object__create_map`).
    #[must_use]
    pub fn of_map(btf: &Btf, def: &MapDef) -> Self {
        let Some(value) = def.value_type else { return Self::default() };
        if btf.size_of(value).ok() != Some(def.value_size.into()) {
            return Self::default();
        }
        let fields = Self::of(btf, value);
        let access = def.map_flags & (flag::RDONLY_PROG | flag::WRONLY_PROG) != 0;
        if access || !fields.iter().all(|f| f.kind.allowed_in(def.map_type)) {
            return Self::default();
        }
        fields
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by offset.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    /// The field that begins at an offset.
    #[must_use]
    pub fn at(&self, offset: u32) -> Option<&Field> {
        self.0.iter().find(|f| f.offset == offset)
    }

    /// Whether there is a spin lock, as `BPF_F_LOCK` wants.
    #[must_use]
    pub fn has_lock(&self) -> bool {
        self.0.iter().any(|f| matches!(f.kind, FieldKind::SpinLock | FieldKind::ResSpinLock))
    }

    /// The ranges of a value of `size` bytes that are not special.
    pub(super) fn plain_ranges(&self, size: u32) -> impl Iterator<Item = (u32, u32)> {
        let mut from = 0;
        let starts = self.0.iter().map(|f| (f.offset, f.offset + f.size)).chain([(size, size)]);
        starts.filter_map(move |(start, end)| {
            let range = (from, start.min(size));
            from = end;
            (range.0 < range.1).then_some(range)
        })
    }
}

fn collect(btf: &Btf, id: TypeId, base: u64, depth: u32, out: &mut Vec<Field>) {
    if depth > MAX_DEPTH || out.len() >= MAX_FIELDS {
        return;
    }
    let Ok((id, ty)) = btf.resolve(id) else { return };
    let mut add = |kind, size: u64, target| {
        if let (Ok(offset), Ok(size)) = (u32::try_from(base), u32::try_from(size)) {
            out.push(Field { kind, offset, size, target });
        }
    };
    match ty {
        Type::Ptr(target) => {
            if let Some(kind) = tags(btf, target).find_map(FieldKind::of_tag) {
                add(kind, 8, Some(target));
            }
        }
        Type::Struct(s) | Type::Union(s) => match FieldKind::of_struct(s.name) {
            Some(kind) => add(kind, s.size.into(), Some(id)),
            None => {
                for m in s.members().filter(|m| m.bitfield_size == 0) {
                    collect(btf, m.type_id, base + u64::from(m.bit_offset / 8), depth + 1, out);
                }
            }
        },
        Type::Array(a) => {
            let Ok(size) = btf.size_of(a.element) else { return };
            for i in 0..u64::from(a.len).min(MAX_FIELDS as u64) {
                let before = out.len();
                collect(btf, a.element, base + i * size, depth + 1, out);
                if out.len() == before {
                    break;
                }
            }
        }
        Type::DataSec(section) => {
            for var in section.vars() {
                if let Ok(Type::Var { target, .. }) = btf.get(var.type_id) {
                    collect(btf, target, base + u64::from(var.offset), depth + 1, out);
                }
            }
        }
        _ => {}
    }
}

/// The type tags in front of a type.
fn tags(btf: &Btf, mut id: TypeId) -> impl Iterator<Item = &str> {
    let mut left = MAX_DEPTH;
    std::iter::from_fn(move || {
        while left > 0 {
            left -= 1;
            match btf.get(id).ok()? {
                Type::TypeTag { tag, target, .. } => {
                    id = target;
                    return Some(tag);
                }
                Type::Const(target) | Type::Volatile(target) | Type::Restrict(target) => id = target,
                _ => return None,
            }
        }
        None
    })
}
