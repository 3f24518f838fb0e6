//! Why an object was refused. One error per cause, naming section, symbol and offset.

/// Reading an object file failed. Depends on the file's bytes only.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are no ELF file.
    #[error("not an ELF file: {0}")]
    NotElf(String),
    /// The file is of the 32-bit class; BPF objects are ELF64.
    #[error("a 32-bit ELF file; BPF objects are ELF64")]
    Not64Bit,
    /// The file is big-endian (`bpfeb`).
    #[error("a big-endian object; build it for the little-endian target (clang -target bpfel)")]
    BigEndian,
    /// The file is for another machine.
    #[error("an ELF file for {machine} (e_machine {number}), not for BPF (247)")]
    NotBpf {
        /// The machine's usual name.
        machine: &'static str,
        /// `e_machine`.
        number: u16,
    },
    /// The file is linked or a core dump, not a relocatable object.
    #[error("an ELF file of type {0}, not a relocatable object (1)")]
    NotRelocatable(u16),
    /// The ELF structures contradict each other or end early.
    #[error("malformed ELF: {what}: {reason}")]
    Malformed {
        /// The part that was being read.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no symbol table, so neither programs nor maps have names or extents.
    #[error("no symbol table: is the object stripped?")]
    NoSymbols,
    /// A code section is no whole number of instructions.
    #[error("section '{section}' has {size} bytes, no whole number of 8-byte instructions")]
    RaggedCode {
        /// Section name.
        section: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A function symbol lies outside its section or off an instruction boundary.
    #[error(
        "function '{function}' at {offset:#x}+{size:#x} does not fit section '{section}' of {section_size:#x} bytes"
    )]
    BadFunction {
        /// Symbol name.
        function: String,
        /// Section name.
        section: String,
        /// Offset in bytes.
        offset: u64,
        /// Size in bytes.
        size: u64,
        /// Size of the section in bytes.
        section_size: u64,
    },
    /// A relocation cannot be applied.
    #[error("section '{section}' offset {offset:#x}: relocation against '{symbol}': {reason}")]
    BadRelocation {
        /// The section that is patched.
        section: String,
        /// Where in it, in bytes.
        offset: u64,
        /// The symbol referred to.
        symbol: String,
        /// What is wrong.
        reason: String,
    },
    /// A map definition cannot be understood.
    #[error("map '{map}': {reason}")]
    BadMap {
        /// Map name.
        map: String,
        /// What is wrong.
        reason: String,
    },
    /// The object needs type information that is missing or damaged.
    #[error("the object needs BTF for {needed_by}, but {reason}")]
    NoBtf {
        /// What cannot be understood without it.
        needed_by: String,
        /// Why there is none.
        reason: String,
    },
    /// An extern cannot be understood.
    #[error("extern '{name}': {reason}")]
    BadExtern {
        /// Symbol name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A section of fixed form has another size.
    #[error("section '{section}' has {size} bytes instead of {expected}")]
    BadSection {
        /// Section name.
        section: String,
        /// Its size in bytes.
        size: u64,
        /// The size it should have.
        expected: u64,
    },
    /// Something is larger than this library takes on, or than the kernel would.
    #[error("{what}: {size} exceeds the limit of {limit}")]
    Limit {
        /// What is too large.
        what: String,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
}

impl LoadError {
    pub(super) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed { what: what.into(), reason: reason.to_string() }
    }

    pub(super) fn map(map: &str, reason: impl Into<String>) -> Self {
        Self::BadMap { map: map.to_owned(), reason: reason.into() }
    }

    pub(super) fn check(what: impl Into<String>, size: u64, limit: u64) -> Result<(), Self> {
        if size <= limit { Ok(()) } else { Err(Self::Limit { what: what.into(), size, limit }) }
    }
}

/// Linking an object against a kernel failed as a whole.
///
/// What concerns one instruction only (an unresolvable CO-RE relocation, a missing kernel function) is no
/// error: it poisons that instruction.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A CO-RE relocation record is damaged.
    #[error("program section '{section}' instruction {insn}: {reason}")]
    BadCoreRelo {
        /// Section name.
        section: String,
        /// Instruction slot in the section.
        insn: usize,
        /// What is wrong.
        reason: String,
    },
    /// A call or function reference leads nowhere.
    #[error("program '{program}': instruction {insn} of section '{section}' refers to {reason}")]
    BadCall {
        /// The program being linked.
        program: String,
        /// Section of the reference.
        section: String,
        /// Instruction slot in the section.
        insn: usize,
        /// Where it leads.
        reason: String,
    },
    /// A program or all of them are larger than this library takes on, or than the kernel would.
    #[error("{what}: {size} exceeds the limit of {limit}")]
    Limit {
        /// What is too large.
        what: String,
        /// How large it is.
        size: u64,
        /// How large it may be.
        limit: u64,
    },
}

/// Sizes beyond which an object is refused, so that no file can exhaust memory.
pub(super) mod limit {
    /// Bytes of one data section: the kernel's largest array value.
    pub(in crate::object) const DATA_SECTION: u64 = i32::MAX as u64;
    /// Bytes copied out of the file in all, however sections overlap.
    pub(in crate::object) const COPIED_BYTES: u64 = 256 << 20;
    /// Relocations in all, however relocation sections overlap.
    pub(in crate::object) const RELOCATIONS: u64 = 4 << 20;
    /// Instruction slots of one program after linking (the kernel's `BPF_COMPLEXITY_LIMIT_INSNS`).
    pub(in crate::object) const PROGRAM_INSNS: u64 = 1_000_000;
    /// Instruction slots of all programs after linking.
    pub(in crate::object) const LINKED_INSNS: u64 = 4 << 20;
    /// Bytes of all names, however symbols share them.
    pub(in crate::object) const NAMES: u64 = 64 << 20;
    /// Instruction slots of all functions, however they overlap.
    pub(in crate::object) const FUNCTION_INSNS: u64 = 4 << 20;
    /// Bytes of all `.kconfig` values.
    pub(in crate::object) const KCONFIG: u64 = 1 << 20;
    /// Bytes of all jump tables.
    pub(in crate::object) const JUMP_TABLES: u64 = 8 << 20;
    /// Functions in all.
    pub(in crate::object) const FUNCTIONS: u64 = 1 << 16;
    /// Maps in all.
    pub(in crate::object) const MAPS: u64 = 1 << 16;
}
