//! The kernel that comes with the crate.

use std::io::Read;
use std::sync::OnceLock;

use bpf_vm_shim::btf::Btf;

use super::Profile;
use crate::error::Error;

/// BTF of Debian's kernel 6.12.107 (cloud, amd64), compressed with zstd.
const BTF: &[u8] = include_bytes!("../../data/vmlinux-6.12-x86_64.btf.zst");
/// Its length when it is unpacked.
const BTF_LEN: usize = 4_729_418;

/// Unpacked once per process.
pub(super) fn profile() -> Result<Profile, Error> {
    static PROFILE: OnceLock<Result<Profile, String>> = OnceLock::new();
    PROFILE
        .get_or_init(unpack)
        .clone()
        .map_err(|why| Error::Invalid(format!("the bundled kernel's types: {why}")))
}

fn unpack() -> Result<Profile, String> {
    let mut bytes = Vec::with_capacity(BTF_LEN);
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(BTF).map_err(|e| e.to_string())?;
    decoder.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    let btf = Btf::parse(bytes).map_err(|e| e.to_string())?;
    Ok(Profile::from_btf(btf).with_version(6, 12, 107))
}
