//! What libbpf says while it works, kept for errors.

use std::cell::RefCell;
use std::sync::Once;

use libbpf_rs::PrintLevel;

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

static ONCE: Once = Once::new();

/// The warnings that this thread has got from libbpf while `f` ran.
pub(super) fn of<R>(f: impl FnOnce() -> R) -> (R, String) {
    ONCE.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Warn, keep)));
    });
    SAID.with(|said| said.borrow_mut().clear());
    let result = f();
    let text = SAID.with(|said| std::mem::take(&mut *said.borrow_mut()));
    let lines: Vec<&str> =
        text.lines().map(|l| l.trim().trim_start_matches("libbpf: ")).filter(|l| !l.is_empty()).collect();
    (result, lines.join("\nlibbpf: "))
}

fn keep(_: PrintLevel, text: String) {
    // Threads of others that end while they print have nobody to keep it for.
    let _ = SAID.try_with(|said| said.borrow_mut().push_str(&text));
}
