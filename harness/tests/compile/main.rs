//! bcc text is compiled, loaded and run. Skipped, with a remark, where there is no clang.

mod support;
mod text;
