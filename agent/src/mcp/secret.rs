//! What an MCP server is given in secret, as it is held in memory: shown nowhere, found in texts.

use std::fmt;

use zeroize::Zeroize;

/// Shown in place of a secret, and taken as "keep what is stored".
pub const MASK: &str = "****";
/// Shorter values are not searched for in texts: they would be found by chance everywhere.
const MIN_REDACTED: usize = 6;

/// A value that no output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A text in which no secret of the list stands.
#[must_use]
pub(super) fn redact<'a>(text: String, secrets: impl Iterator<Item = &'a Secret>) -> String {
    secrets
        .map(Secret::reveal)
        .filter(|value| value.len() >= MIN_REDACTED)
        .fold(text, |text, value| {
            if text.contains(value) {
                text.replace(value, MASK)
            } else {
                text
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_nowhere_and_found_in_texts() {
        let secret = Secret::new("sk-123456".into());
        assert_eq!(format!("{secret:?}"), "****");
        let text = redact("key sk-123456!".into(), [&secret].into_iter());
        assert_eq!(text, "key ****!");
    }
}
