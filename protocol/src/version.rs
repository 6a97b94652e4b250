//! Protocol versions inside an ALPN's major version.

/// The newest message version that this build speaks. History: 1, first release.
pub const CURRENT: u16 = 1;

/// All versions that this build speaks, newest first.
pub const SPOKEN: &[u16] = &[CURRENT];

/// The newest version that both sides speak, if any.
#[must_use]
pub fn agree(theirs: &[u16]) -> Option<u16> {
    SPOKEN
        .iter()
        .copied()
        .find(|version| theirs.contains(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_builds_agree_on_the_newest_version_that_both_speak() {
        assert_eq!(agree(&[7, 1]), Some(1));
        assert_eq!(agree(&[7]), None);
        assert_eq!(agree(&[]), None);
    }
}
