//! bcc text is compiled, loaded and run. Skipped, with a remark, where there is no clang.

mod cache;
mod diagnostics;
mod dialect;
mod fixes;
mod programs;
mod support;
mod text;
mod usdt;
