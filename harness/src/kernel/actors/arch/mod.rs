//! What depends on the processor: system calls without libc, starting a task, points, and entering them.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod other;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod point;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as imp;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use other as imp;
#[cfg(target_arch = "x86_64")]
use x86_64 as imp;

pub(crate) use imp::{SP, STACK_TOP};
pub(super) use imp::{SUPPORTED, clone3, enter, point_address, syscall};

use super::error::ActorError;

/// How many points there are.
pub(super) const POINTS: usize = 1024;
/// How far apart they are.
pub(super) const POINT_STRIDE: usize = 8;
/// How many words the processor's registers are, in the order of the start of `struct pt_regs`.
const WORDS: usize = 31;
/// How many arguments may follow on the stack.
const STACK_WORDS: usize = 16;

/// The registers with which a point is entered, or left if the probe is on its return.
#[repr(C)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Registers {
    /// As in `struct pt_regs`: x86-64 has 15 (R15 first, RDI last), arm64 has 31 (X0 to X30). The rest is not used.
    words: [u64; WORDS],
    /// What is on the stack, on x86-64 after the return address: arguments that have no register.
    stack: [u64; STACK_WORDS],
}

impl Default for Registers {
    fn default() -> Self {
        Self { words: [0; WORDS], stack: [0; STACK_WORDS] }
    }
}

impl Registers {
    /// Those of a call with integer arguments: in the registers of the calling convention, then on the stack.
    ///
    /// # Errors
    /// If there are more arguments than fit.
    pub(crate) fn call(args: &[u64]) -> Result<Self, ActorError> {
        let mut out = Self::default();
        let mut stack = out.stack.iter_mut();
        for (i, arg) in args.iter().enumerate() {
            let word = match imp::ARGS.get(i) {
                Some(at) => out.words.get_mut(*at),
                None => stack.next(),
            };
            let max = imp::ARGS.len() + STACK_WORDS;
            *word.ok_or(ActorError::Arguments { given: args.len(), max })? = *arg;
        }
        Ok(out)
    }

    /// With a return value.
    #[must_use]
    pub(crate) fn returning(mut self, value: u64) -> Self {
        if let Some(word) = self.words.get_mut(imp::RET) {
            *word = value;
        }
        self
    }

    /// With words that are on the stack after [`STACK_TOP`], as far as there is room.
    #[must_use]
    pub(crate) fn with_stack(mut self, words: &[u64]) -> Self {
        for (to, from) in self.stack.iter_mut().zip(words) {
            *to = *from;
        }
        self
    }

    /// Those of a `struct pt_regs` in memory, as far as a point can be entered with them: not the instruction and stack
    /// pointers, which are the actor's own, and not flags and segments.
    #[must_use]
    pub(crate) fn from_pt_regs(bytes: &[u8]) -> Self {
        let mut out = Self::default();
        for (word, bytes) in out.words.iter_mut().zip(bytes.chunks_exact(8)).take(imp::USED) {
            *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Registers, STACK_WORDS, imp};

    #[test]
    fn arguments_beyond_the_registers_go_to_the_stack_and_too_many_are_an_error() {
        let n = imp::ARGS.len() + STACK_WORDS;
        let args: Vec<u64> = (1..=n as u64).collect();
        let regs = Registers::call(&args).unwrap();
        assert_eq!(regs.words[imp::ARGS[0]], 1);
        assert_eq!(regs.stack[0], imp::ARGS.len() as u64 + 1);
        assert_eq!(*regs.stack.last().unwrap(), n as u64);
        let error = Registers::call(&vec![0; n + 1]).unwrap_err().to_string();
        assert!(error.contains(&format!("at most {n}")), "{error}");
    }

    #[test]
    fn registers_come_from_the_bytes_that_the_simulated_kernel_makes() {
        let bytes: Vec<u8> = (100..142u64).flat_map(u64::to_ne_bytes).collect();
        let regs = Registers::from_pt_regs(&bytes);
        assert_eq!(regs.words[imp::ARGS[0]], 100 + imp::ARGS[0] as u64);
        assert_eq!(regs.words[imp::RET], 100 + imp::RET as u64);
        assert_eq!(
            regs.words[imp::USED..],
            [0; super::WORDS][imp::USED..],
            "ip, flags and the like are not taken"
        );
    }
}
