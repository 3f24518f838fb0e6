//! What the kernel's selftests expect of a program, from the declaration tags on its function (`bpf_misc.h` and
//! `test_loader.c` in `tools/testing/selftests/bpf`).

mod driver;
mod number;

pub use driver::{fill_maps, kernel_version};
pub use number::parse_number;

use bpf_vm_shim::btf::{Btf, Kind};

/// What `__retval(POINTER_VALUE)` stands for: any value.
pub const POINTER_VALUE: i64 = 0x0bad_cafe;

/// What a program's tags say.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Annotations {
    /// The program must return this, compared in 32 bits.
    pub retval: Option<i64>,
    /// The program must load (`Some(true)`) or must be refused (`Some(false)`).
    pub success: Option<bool>,
    /// What it is about.
    pub description: Option<String>,
    /// Loaded for others' sake, not run by itself.
    pub auxiliary: bool,
    /// Architectures that it is for; all if empty.
    pub archs: Vec<String>,
    /// Loaded only where programs are interpreted.
    pub no_jit_only: bool,
    /// How many bytes of the packet lie in the linear part of its socket buffer.
    pub linear_size: Option<usize>,
    /// Tags that could not be understood.
    pub problems: Vec<String>,
    /// Whether there is any tag.
    pub any: bool,
}

impl Annotations {
    /// Reads the tags of a function.
    #[must_use]
    pub fn of(btf: &Btf, function: &str) -> Self {
        let mut out = Self::default();
        let Some(main) = btf.find(Kind::Func, function) else { return out };
        for tag in btf.decl_tags(main).filter(|t| t.component == -1) {
            if let Some(text) = tag.tag.strip_prefix("comment:") {
                out.read(strip_counter(text));
            }
        }
        out
    }

    /// What is expected, as the command line prints it: a number, `success` or `failure`.
    #[must_use]
    pub fn expected(&self) -> Option<Expected> {
        match (self.success, self.retval) {
            (Some(false), _) => Some(Expected::Failure),
            (_, Some(POINTER_VALUE)) => Some(Expected::Success),
            (_, Some(v)) => Some(Expected::Retval(v as u32 as i32)),
            (Some(true), None) => Some(Expected::Success),
            (None, None) => None,
        }
    }

    fn read(&mut self, tag: &str) {
        self.any = true;
        let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
        match name {
            "test_expect_success" => self.success = Some(true),
            "test_expect_failure" => self.success = Some(false),
            "test_description" => self.description = Some(value.to_owned()),
            "test_auxiliary" => self.auxiliary = true,
            "test_arch" => self.archs.push(value.to_owned()),
            "test_load_mode" if value == "no_jited" => self.no_jit_only = true,
            "test_linear_size" => match value.parse() {
                Ok(size) => self.linear_size = Some(size),
                Err(_) => self.problems.push(format!("cannot read the number in '{tag}'")),
            },
            "test_retval" => match parse_number(value) {
                Some(v) => self.retval = Some(v),
                None => self.problems.push(format!("cannot read the number in '{tag}'")),
            },
            // Log levels, messages, unprivileged variants, flags: nothing that the simulator could check.
            _ => {}
        }
    }
}

/// What is expected of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// This result, in 32 bits.
    Retval(i32),
    /// To load, and to run without a fault.
    Success,
    /// To be refused.
    Failure,
}

/// Newer kernels number their tags to keep their order: `12:test_retval=0`.
fn strip_counter(tag: &str) -> &str {
    match tag.split_once(':') {
        Some((n, rest)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => tag,
    }
}

#[cfg(test)]
mod tests {
    use super::{Annotations, Expected, strip_counter};

    fn read(tags: &[&str]) -> Annotations {
        let mut a = Annotations::default();
        tags.iter().for_each(|t| a.read(strip_counter(t)));
        a
    }

    #[test]
    fn tags_say_what_is_expected() {
        let table: [(&[&str], Option<Expected>); 7] = [
            (&[], None),
            (&["test_description=x"], None),
            (&["test_expect_success", "test_retval=(1 << 4)"], Some(Expected::Retval(16))),
            (&["1:test_expect_success", "2:test_retval=0xffffffff"], Some(Expected::Retval(-1))),
            (&["test_retval=0xbadcafe"], Some(Expected::Success)),
            (&["test_expect_failure", "test_expect_msg=R1 !read_ok"], Some(Expected::Failure)),
            (&["test_retval_unpriv=1", "test_expect_success_unpriv"], None),
        ];
        for (tags, expected) in table {
            assert_eq!(read(tags).expected(), expected, "{tags:?}");
        }
    }

    #[test]
    fn a_number_that_cannot_be_read_is_a_problem() {
        assert_eq!(read(&["test_retval=NO_SUCH"]).problems.len(), 1);
    }
}
