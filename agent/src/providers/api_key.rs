//! The text of a provider's API key: checked once, wiped when it goes, shown only masked.

use zeroize::Zeroizing;

/// Longest key; the longest known ones are service accounts' tokens of about 2 KiB.
const MAX_LEN: usize = 4096;
/// Shortest key of which the last letters are shown: of a shorter one they would be too much.
const SHOWN_FROM: usize = 12;
/// Letters shown.
const SHOWN: usize = 4;

/// Why a text is no key. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadApiKey {
    /// Nothing is left of it.
    #[error("the key is empty")]
    Empty,
    /// It could not be sent as a header, or would become a second one.
    #[error("the key holds a line break or another character that no key has")]
    Character,
    /// Far too long.
    #[error("the key is longer than {MAX_LEN} characters")]
    TooLong,
}

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// Takes over a key as somebody pasted it: white space around it is cut off.
    ///
    /// # Errors
    /// When it cannot be a key.
    pub fn new(text: &str) -> Result<Self, BadApiKey> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadApiKey::Empty);
        }
        if text.len() > MAX_LEN {
            return Err(BadApiKey::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadApiKey::Character);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text, for the header of a request and for sealing.
    #[must_use]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// As people see it: `****` and the last letters of a long one.
    #[must_use]
    pub fn masked(&self) -> String {
        let shown = (self.0.len() >= SHOWN_FROM)
            .then(|| self.0.get(self.0.len() - SHOWN..))
            .flatten();
        format!("****{}", shown.unwrap_or_default())
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_and_one_that_would_break_a_header_is_refused() {
        assert_eq!(ApiKey::new(" sk-1\r\n").unwrap().reveal(), "sk-1");
        for (text, error) in [
            ("", BadApiKey::Empty),
            (" \n", BadApiKey::Empty),
            ("sk-1\nhost: evil", BadApiKey::Character),
            ("sk 1", BadApiKey::Character),
            ("sk-\u{7f}1", BadApiKey::Character),
            ("sk-\u{e9}", BadApiKey::Character),
        ] {
            assert_eq!(ApiKey::new(text).unwrap_err(), error, "{text:?}");
        }
        assert_eq!(
            ApiKey::new(&"k".repeat(MAX_LEN + 1)).unwrap_err(),
            BadApiKey::TooLong
        );
    }

    #[test]
    fn little_or_nothing_of_a_key_is_shown() {
        let long = ApiKey::new("sk-0123456789abcd").unwrap();
        assert_eq!(long.masked(), "****abcd");
        assert_eq!(ApiKey::new("sk-23456789").unwrap().masked(), "****");
        assert_eq!(format!("{long:?}"), "ApiKey(..)");
    }
}
