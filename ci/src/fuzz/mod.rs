//! stub
pub(crate) fn run(_: Option<&str>, _: u64, _: u64, _: bool) -> Result<(), String> {
    Ok(())
}
