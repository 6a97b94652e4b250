//! How a model says nothing: with one word, which nobody is shown.

/// The word. An answer that is this and nothing else is no answer.
pub const NO_REPLY: &str = "NO_REPLY";

/// Whether a whole text says nothing.
pub(super) fn is(text: &str) -> bool {
    text.trim() == NO_REPLY
}

/// Whether a text may still become one that says nothing.
pub(super) fn may_become(text: &str) -> bool {
    let begun = text.trim_start();
    NO_REPLY.starts_with(begun) || is(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_alone_says_nothing_and_only_its_beginning_may_become_it() {
        for text in ["NO_REPLY", " NO_REPLY\n"] {
            assert!(is(text) && may_become(text), "{text:?}");
        }
        for text in ["", "\n", "N", "NO_REP"] {
            assert!(!is(text) && may_become(text), "{text:?}");
        }
        for text in [
            "No",
            "NO_REPLY.",
            "I say NO_REPLY",
            "NO_REPLY NO_REPLY",
            "x",
        ] {
            assert!(!is(text) && !may_become(text), "{text:?}");
        }
    }
}
