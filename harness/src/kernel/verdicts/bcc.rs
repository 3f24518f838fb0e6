//! Objects made from texts in bcc's dialect: their programs have no types in their sections, and count on rewrites.

use bpf_helpers_mock::passes::Options;
use bpf_vm_shim::object::{AttachTarget, KernelProfile, Object, ProgType};
use libbpf_rs::{AsRawLibbpf, OpenObject, OpenProgramMut};

use crate::compile::bcc::assign_programs;
use crate::error::Error;
use crate::kernel::load::{is_called, prepare, set_type};
use crate::kernel::{messages, rewrite};
use crate::profile::Profile;

/// What is done to such an object.
#[derive(Debug)]
pub(super) struct Bcc {
    object: Object,
    passes: Options,
}

impl Bcc {
    /// `None` for an object that libbpf takes as it is. bcc's dialect has each function in a section of its own, and none
    /// of them says what kind of program it is.
    pub(super) fn of(mut object: Object) -> Option<Self> {
        let bare = |p: &bpf_vm_shim::object::ProgramDef| {
            p.prog_type == ProgType::Unspec && p.section.strip_prefix(".text.") == Some(p.name.as_str())
        };
        if !object.programs.iter().any(bare) {
            return None;
        }
        assign_programs(&mut object);
        let mut kernel = KernelProfile::default();
        kernel.version = Profile::running_version().unwrap_or(kernel.version);
        // What still reads memory directly is the kernel's to refuse.
        let mut passes = Options::for_kernel(&kernel);
        passes.refuse = false;
        Some(Self { object, passes })
    }

    /// What a program is: what its name or its context says, else one for a kprobe, as in bcc most are.
    fn kind(&self, program: &str) -> (ProgType, AttachTarget) {
        match self.object.programs.iter().find(|p| p.name == program) {
            Some(p) if p.prog_type != ProgType::Unspec => (p.prog_type, p.attach.clone()),
            _ => (ProgType::Kprobe, AttachTarget::default()),
        }
    }

    pub(super) fn set_type(&self, program: &mut OpenProgramMut<'_>) {
        let (prog_type, target) = self.kind(&program.name().to_string_lossy());
        set_type(program, prog_type, &target);
    }

    /// Applies bcc's rewrites, as they are applied to what a test loads.
    pub(super) fn rewrite(&self, opened: &OpenObject, programs: &[&str]) -> Result<(), Error> {
        let (prepared, said) = messages::of(|| prepare(opened));
        prepared
            .map_err(|e| Error::Invalid(super::attempt::reason(&said).unwrap_or_else(|| format!("{e:#}"))))?;
        let mut maps = Vec::new();
        for map in opened.maps() {
            let name = map.name().to_string_lossy().into_owned();
            if let Some(def) = self.object.maps.iter().find(|def| is_called(def, &name)) {
                // SAFETY: the map is alive as long as the object.
                maps.push((def.clone(), unsafe { libbpf_sys::bpf_map__fd(map.as_libbpf_object().as_ptr()) }));
            }
        }
        for program in opened.progs() {
            let name = program.name().to_string_lossy().into_owned();
            if programs.contains(&name.as_str()) {
                let (prog_type, _) = self.kind(&name);
                let raw = program.as_libbpf_object().as_ptr();
                rewrite::rewrite(raw, &name, prog_type, &self.object, &maps, &self.passes)?;
            }
        }
        Ok(())
    }
}
