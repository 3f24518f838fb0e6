//! Names of Rust and C++ as their authors wrote them.

/// A linker's name as source code has it; the name itself if it is neither Rust's nor C++'s.
///
/// ```
/// use bpf_harness::symbols::demangle;
/// assert_eq!(demangle("_ZN4http7requestEi"), "http::request(int)");
/// assert_eq!(demangle("_ZN4http7request17h0123456789abcdefE"), "http::request");
/// assert_eq!(demangle("strlen"), "strlen");
/// ```
#[must_use]
pub fn demangle(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    if !name.starts_with("_Z") && !name.starts_with("___Z") {
        return name.to_owned();
    }
    let cpp = cpp_demangle::Symbol::new(name).ok().and_then(|s| s.demangle().ok());
    cpp.unwrap_or_else(|| name.to_owned())
}
