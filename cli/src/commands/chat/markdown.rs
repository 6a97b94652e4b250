//! placeholder
#[derive(Debug, Default)]
pub(super) struct Markdown {}
impl Markdown { pub(super) fn push(&mut self, t: &str) -> String { t.to_owned() } pub(super) fn finish(&mut self) -> String { String::new() } }
