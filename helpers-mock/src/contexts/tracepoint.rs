//! Tracepoint records by field name: from a tracefs `format` file or from BTF (`include/trace/stages/`).

use bpf_vm_shim::btf::{Btf, Kind, TypeId};
use bpf_vm_shim::mem::Perm;
use bpf_vm_shim::object::AttachPoint;

use super::error::ContextError;
use super::place;
use crate::machine::Machine;
use crate::objects::Value;
use crate::progs::LoadedProg;
use crate::run::RunInput;

/// One field of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Its name, without `__data_loc`.
    pub name: String,
    /// Bytes from the record's start.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// The field is 32 bits that say where its data is behind the record: length above, offset below.
    pub data_loc: bool,
}

/// What a record looks like.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TracepointLayout {
    /// The event's name.
    pub event: String,
    /// Its fields, by offset.
    pub fields: Vec<Field>,
    /// The size of the fixed part.
    pub size: u32,
}

/// A tracepoint fires.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tracepoint {
    /// What its record looks like.
    pub layout: TracepointLayout,
    /// The fields' values; the others are zero.
    pub values: Vec<(String, Value)>,
    /// The value given at attaching.
    pub cookie: u64,
    /// Zero bytes behind the record, where the layout is not known.
    pub room: u32,
}

/// The common fields that programs may not read: the kernel keeps a pointer there.
const COMMON: u64 = 8;
/// The most bytes of a record (`PERF_MAX_TRACE_SIZE`).
const MAX_RECORD: u32 = 8192;

impl TracepointLayout {
    /// Reads a `format` file of tracefs.
    ///
    /// # Errors
    /// The first line that is malformed.
    pub fn from_format(text: &str) -> Result<Self, ContextError> {
        let mut layout = Self::default();
        for (i, line) in text.lines().enumerate() {
            let wrong = |why: &str| ContextError::Format { line: i + 1, why: why.to_owned() };
            let line = line.trim();
            if let Some(name) = line.strip_prefix("name:") {
                name.trim().clone_into(&mut layout.event);
            }
            let Some(rest) = line.strip_prefix("field:") else { continue };
            let mut parts = rest.split(';').map(str::trim);
            let decl = parts.next().unwrap_or_default();
            let (mut offset, mut size) = (None, None);
            for part in parts {
                match part.split_once(':') {
                    Some(("offset", n)) => offset = n.trim().parse().ok(),
                    Some(("size", n)) => size = n.trim().parse().ok(),
                    _ => {}
                }
            }
            let offset = offset.filter(|n| *n < MAX_RECORD).ok_or_else(|| wrong("no 'offset:'"))?;
            let size = size.filter(|n| *n <= MAX_RECORD).ok_or_else(|| wrong("no 'size:'"))?;
            let declared = decl.split('[').next().unwrap_or_default();
            // `__data_loc char[] name` has its brackets in the type.
            let data_loc = decl.starts_with("__data_loc");
            let declared = if data_loc { decl } else { declared };
            let name = declared.rsplit([' ', '*']).next().unwrap_or_default();
            if name.is_empty() {
                return Err(wrong("a field has no name"));
            }
            layout.fields.push(Field { name: name.to_owned(), offset, size, data_loc });
        }
        layout.finish();
        Ok(layout)
    }

    /// Takes the record's structure, `trace_event_raw_<class>`, from the kernel's BTF. Most events are their own class;
    /// for the others (`sched_process_exit` is of `sched_process_template`) name the class.
    ///
    /// # Errors
    /// If there is no such structure.
    pub fn from_btf(btf: &Btf, class: &str) -> Result<Self, ContextError> {
        let name = format!("trace_event_raw_{class}");
        let id = btf.find(Kind::Struct, &name);
        let id = id.or_else(|| btf.find(Kind::Struct, class));
        let id = id.ok_or_else(|| ContextError::NoLayout(name.clone()))?;
        Self::from_struct(btf, id, class).ok_or(ContextError::NoLayout(name))
    }

    fn from_struct(btf: &Btf, id: TypeId, event: &str) -> Option<Self> {
        let composite = btf.resolve(id).ok()?.1.as_composite()?;
        let mut layout = Self { event: event.to_owned(), ..Self::default() };
        for m in composite.members() {
            let size = u32::try_from(btf.size_of(m.type_id).ok()?).ok()?;
            let (name, data_loc) = match m.name.strip_prefix("__data_loc_") {
                Some(name) => (name, true),
                None => (m.name, false),
            };
            if m.name != "__data" {
                layout.fields.push(Field { name: name.to_owned(), offset: m.bit_offset / 8, size, data_loc });
            }
        }
        layout.finish();
        layout.size = layout.size.max(composite.size).min(MAX_RECORD);
        Some(layout)
    }

    /// The record of a `syscalls/sys_enter_*` or `sys_exit_*` event (`kernel/trace/trace_syscalls.c`): the number, then
    /// words: the arguments, or `ret`.
    #[must_use]
    pub fn syscall(event: &str) -> Self {
        let field = |name: String, offset, size| Field { name, offset, size, data_loc: false };
        let mut fields = vec![field("__syscall_nr".to_owned(), 8, 4)];
        if event.starts_with("sys_exit") {
            fields.push(field("ret".to_owned(), 16, 8));
        } else {
            fields.extend((0..6).map(|i| field(format!("args[{i}]"), 16 + 8 * i, 8)));
        }
        let mut layout = Self { event: event.to_owned(), fields, size: 0 };
        layout.finish();
        layout
    }

    fn finish(&mut self) {
        self.fields.sort_by_key(|f| f.offset);
        self.size = self.fields.iter().map(|f| f.offset + f.size).max().unwrap_or(COMMON as u32);
    }
}

impl Tracepoint {
    /// A tracepoint with this record and no values yet.
    #[must_use]
    pub fn new(layout: TracepointLayout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// Sets a field.
    #[must_use]
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.values.push((field.to_owned(), value.into()));
        self
    }

    /// The record of what the program's section names, zeroed: from BTF if that has it, else as large as can be.
    ///
    /// # Errors
    /// None yet.
    pub fn default_for(machine: &Machine, prog: &LoadedProg) -> Result<Self, ContextError> {
        let AttachPoint::Tracepoint { category, name } = &prog.linked.attach.point else {
            return Ok(Self { room: MAX_RECORD, ..Self::default() });
        };
        // Without a kernel of its own, the types that the object was compiled against.
        let types = machine.kernel.profile.btf.as_ref().or(prog.object.btf.as_ref());
        let layout = match types.map(|btf| TracepointLayout::from_btf(btf, name)) {
            Some(Ok(layout)) => layout,
            _ if category == "syscalls" => TracepointLayout::syscall(name),
            _ => TracepointLayout { event: name.clone(), ..TracepointLayout::default() },
        };
        Ok(Self { layout, room: MAX_RECORD, ..Self::default() })
    }

    /// The context, readable to the program but for the common fields.
    ///
    /// # Errors
    /// If a value does not fit its field, or there is no memory.
    pub fn build(&self, machine: &mut Machine) -> Result<RunInput, ContextError> {
        let mut bytes = self.encode()?;
        let room = bytes.len().max((self.room.min(MAX_RECORD)) as usize).max(COMMON as usize);
        bytes.resize(room, 0);
        let mut input = place(machine, &bytes, Perm::ReadOnly)?;
        machine.mem.protect(input.args[0], COMMON, Perm::ProbeOnly);
        input.cookie = self.cookie;
        Ok(input)
    }

    fn encode(&self) -> Result<Vec<u8>, ContextError> {
        let mut bytes = vec![0; self.layout.size as usize];
        for (name, value) in &self.values {
            let wrong = |why: String| ContextError::FieldValue {
                event: self.layout.event.clone(),
                field: name.clone(),
                why,
            };
            let field = self.layout.fields.iter().find(|f| f.name == *name);
            let field = field.ok_or_else(|| self.no_field(name))?;
            let data = match value {
                Value::Int(v) => v.to_le_bytes()[..16.min(field.size as usize)].to_vec(),
                Value::Text(t) => [t.as_bytes(), &[0]].concat(),
                Value::Bytes(b) => b.clone(),
            };
            let at = field.offset as usize;
            let fixed = if field.data_loc && !matches!(value, Value::Int(_)) {
                let here = bytes.len();
                if here + data.len() > MAX_RECORD as usize {
                    return Err(wrong(format!("the record would have more than {MAX_RECORD} bytes")));
                }
                bytes.extend(&data);
                ((data.len() as u32) << 16 | here as u32).to_le_bytes().to_vec()
            } else {
                // Text may fill its array to the last byte, without an end.
                match value {
                    Value::Text(t) if t.len() == field.size as usize => t.clone().into_bytes(),
                    _ => data,
                }
            };
            if let Value::Int(v) = value {
                let bits = field.size.min(15) * 8;
                if field.size == 0 || *v >= 1 << bits || *v < -(1 << (bits - 1)) {
                    return Err(wrong(format!("{v} does not fit {} bytes", field.size)));
                }
            }
            if fixed.len() > field.size as usize {
                return Err(wrong(format!("{} bytes do not go into {}", fixed.len(), field.size)));
            }
            match bytes.get_mut(at..at + fixed.len()) {
                Some(to) => to.copy_from_slice(&fixed),
                None => return Err(wrong("the field lies outside the record".to_owned())),
            }
        }
        Ok(bytes)
    }

    fn no_field(&self, name: &str) -> ContextError {
        let has: Vec<&str> = self.layout.fields.iter().map(|f| f.name.as_str()).collect();
        ContextError::NoField {
            event: self.layout.event.clone(),
            field: name.to_owned(),
            has: has.join(", "),
        }
    }
}
