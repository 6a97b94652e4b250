//! Names: of servers, and of their tools as a model sees them.
//!
//! Pure. A tool of a server always gets the same name, whatever other tools there are, so that a
//! model's habit and an owner's rule outlive a restart.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Longest name of a server, in bytes.
pub(super) const MAX_SERVER_NAME: usize = 32;
/// Longest name that models' interfaces take.
pub(super) const MAX_TOOL_NAME: usize = 64;
/// Bytes of a hash that tell two tools of a server apart: chance is no concern, and a server that
/// makes its own tools collide only hides its own.
const HASH_BYTES: usize = 4;

/// Whether a server may be called this: 1 to 32 of a-z, 0-9 and -, not at the ends.
#[must_use]
pub fn is_server_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_SERVER_NAME).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// What models call the tool of a server: `mcp_<server>_<tool>`. Where characters had to be replaced
/// or left out, a hash of the true name is at its end.
#[must_use]
pub fn tool_name(server: &str, tool: &str) -> String {
    // No server's name has an underscore, so no two servers share a prefix.
    let mut name = format!("mcp_{server}_");
    let fits = name.len() + tool.len() <= MAX_TOOL_NAME;
    if fits && !tool.is_empty() && tool.bytes().all(is_plain) {
        name.push_str(tool);
        return name;
    }
    let hash = Sha256::digest(tool.as_bytes());
    let hash = HEXLOWER.encode(hash.get(..HASH_BYTES).unwrap_or_default());
    let room = MAX_TOOL_NAME - name.len() - hash.len() - 1;
    let plain = tool.chars().map(|letter| match u8::try_from(letter) {
        Ok(byte) if is_plain(byte) => letter,
        _ => '_',
    });
    name.extend(plain.take(room));
    name.push('_');
    name.push_str(&hash);
    name
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_kept_and_any_other_gets_a_hash_of_the_true_one() {
        assert_eq!(tool_name("git-hub", "get_issue"), "mcp_git-hub_get_issue");
        assert!(tool_name("x", "a.b").starts_with("mcp_x_a_b_"));
        assert_ne!(tool_name("x", "a.b"), tool_name("x", "a/b"));
        assert_ne!(tool_name("x", ""), tool_name("x", " "));
        let long = "t".repeat(200);
        assert_ne!(tool_name("x", &long), tool_name("x", &format!("{long}t")));
    }

    #[test]
    fn every_name_is_one_that_models_take() {
        let server = "s".repeat(MAX_SERVER_NAME);
        for tool in [
            "",
            "a",
            "ä€🦀",
            "a b",
            "..",
            "\0",
            &"x".repeat(500),
            &"€".repeat(90),
        ] {
            let name = tool_name(&server, tool);
            assert!(name.len() <= MAX_TOOL_NAME, "{name}");
            assert!(name.bytes().all(is_plain), "{name}");
            assert_eq!(name, tool_name(&server, tool));
        }
    }

    #[test]
    fn names_of_servers_are_short_and_plain() {
        for name in ["a", "git-hub2", &"x".repeat(32)] {
            assert!(is_server_name(name), "{name}");
        }
        for name in [
            "",
            "-a",
            "a-",
            "A",
            "a_b",
            "a.b",
            "ä",
            "a b",
            &"x".repeat(33),
        ] {
            assert!(!is_server_name(name), "{name}");
        }
    }
}
