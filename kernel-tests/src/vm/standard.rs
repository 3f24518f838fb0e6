//! What every machine of a known kernel is given, so that BPF programs of all kinds can be attached without a word about
//! it: modules that distributions do not build in, and the security module `bpf`.

use std::path::PathBuf;

use crate::kernels::KernelImage;

/// Modules that attaching takes: `veth` for a network of the test's own, `sch_ingress` (which is `clsact` too) and
/// `cls_bpf`, `act_bpf` for traffic control. An emulated boot takes less than a tenth of a second longer with
/// them, a restored run no longer.
const MODULES: [&str; 4] = ["veth", "sch_ingress", "cls_bpf", "act_bpf"];

/// Those of them that this kernel's package has as files, after what they depend on. None is missed: of a bare kernel
/// nothing is known, and what it has built in needs no loading.
pub(super) fn modules(image: &KernelImage) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for name in MODULES {
        for file in image.load_order(&[name]).unwrap_or_default() {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

/// `lsm=` for the command line, where the kernel has the security module `bpf` but does not start it: without it, LSM
/// programs are loaded and attached and never run. All that is on by default (`CONFIG_LSM`)
/// stays on.
pub(super) fn security_modules(image: &KernelImage) -> Option<String> {
    if !image.config.is_on("BPF_LSM") {
        return None;
    }
    let on = image.config.get("LSM")?;
    let missing = !on.split(',').any(|name| name == "bpf");
    missing.then(|| if on.is_empty() { "lsm=bpf".to_owned() } else { format!("lsm={on},bpf") })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A kernel with these modules, each with what it depends on, and this configuration.
    fn image(modules: &[(&str, &[&str])], config: Value) -> KernelImage {
        let modules: Vec<Value> = modules
            .iter()
            .map(|(name, depends)| json!({"name": name, "path": format!("/m/{name}.ko"), "depends": depends}))
            .collect();
        let image = json!({
            "version": "5.10.1", "release": "5.10.1-x", "arch": "amd64", "vmlinuz": "/k", "vmlinux": "/k", "modules": [],
            "available": modules, "builtin": ["cls_bpf"], "btf": null, "config": config, "origin": "a test",
        });
        serde_json::from_value(image).expect("an image")
    }

    #[test]
    fn modules_that_are_files_are_loaded_after_what_they_depend_on() {
        let of = |known: &[(&str, &[&str])]| {
            let files = modules(&image(known, json!({})));
            files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), Vec::<String>::new());
        let known: [(&str, &[&str]); 3] = [("sch_ingress", &["base"]), ("base", &[]), ("loop", &[])];
        assert_eq!(of(&known), ["/m/base.ko", "/m/sch_ingress.ko"]);
    }

    #[test]
    fn the_security_module_is_added_where_it_is_there_and_not_on() {
        for (config, expected) in [
            (json!({}), None),
            (json!({"CONFIG_LSM": "yama"}), None),
            (json!({"CONFIG_BPF_LSM": "y", "CONFIG_LSM": "yama,bpf,ipe"}), None),
            (json!({"CONFIG_BPF_LSM": "y", "CONFIG_LSM": "lockdown,yama"}), Some("lsm=lockdown,yama,bpf")),
            (json!({"CONFIG_BPF_LSM": "y", "CONFIG_LSM": ""}), Some("lsm=bpf")),
            (json!({"CONFIG_BPF_LSM": "y"}), None),
        ] {
            assert_eq!(security_modules(&image(&[], config.clone())).as_deref(), expected, "{config}");
        }
    }
}
