//! Lines of `trace_pipe` taken apart and put together, as bcc's `trace_fields` and `trace_print` do.

mod fields;
mod format;

pub use fields::TraceFields;
pub(crate) use format::{Format, FormatError};
