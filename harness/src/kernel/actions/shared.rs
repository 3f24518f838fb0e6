//! What a child has to tell before it ends: an exit status says too little, and a pipe would be seen by the programs of a
//! test.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::error::Error;

/// As many children as there are bits may have something to tell at a time.
const WORDS: usize = u64::BITS as usize;

/// A page that children share with this process, made once, so that later actions do not begin with it.
static PAGE: OnceLock<Result<&'static [AtomicI64; WORDS], Error>> = OnceLock::new();
/// Which of its words are in use.
static USED: AtomicU64 = AtomicU64::new(0);

/// A word that one child writes and this process reads.
#[derive(Debug)]
pub(super) struct Told {
    word: &'static AtomicI64,
    bit: u64,
}

impl Told {
    /// A word that is 0.
    pub(super) fn new() -> Result<Self, Error> {
        let page = PAGE.get_or_init(map).clone()?;
        loop {
            let used = USED.load(Ordering::Relaxed);
            let free = used.trailing_ones();
            let Some(word) = page.get(free as usize) else {
                // All are in use; their children end soon.
                std::thread::yield_now();
                continue;
            };
            let bit = 1 << free;
            if USED.compare_exchange(used, used | bit, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                word.store(0, Ordering::Relaxed);
                return Ok(Self { word, bit });
            }
        }
    }

    /// In the child: no call, no allocation.
    pub(super) fn tell(&self, what: i64) {
        self.word.store(what, Ordering::Release);
    }

    /// In the parent, when the child has ended: what it has told, or 0.
    pub(super) fn told(&self) -> i64 {
        self.word.load(Ordering::Acquire)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        USED.fetch_and(!self.bit, Ordering::Release);
    }
}

fn map() -> Result<&'static [AtomicI64; WORDS], Error> {
    let size = size_of::<[AtomicI64; WORDS]>();
    // SAFETY: a new mapping, where there is none.
    let at = unsafe {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        libc::mmap(std::ptr::null_mut(), size, access, flags, -1, 0)
    };
    if at == libc::MAP_FAILED {
        let e = std::io::Error::last_os_error();
        return Err(Error::Invalid(format!("memory to share with a child: {e}")));
    }
    // SAFETY: the mapping has room for the words, is aligned to a page, zero, and is never unmapped. All use of it is atomic.
    Ok(unsafe { &*at.cast::<[AtomicI64; WORDS]>() })
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn words_are_given_to_one_at_a_time_and_begin_with_nothing() {
        let (one, two) = (Told::new().unwrap(), Told::new().unwrap());
        one.tell(-13);
        assert_eq!((one.told(), two.told()), (-13, 0));
        drop(one);
        assert!((0..200).all(|_| Told::new().unwrap().told() == 0));
        assert_eq!(two.told(), 0);
    }
}
