//! Names of stored files, pure. A clean name is one path component that no shell, file system or
//! header reads as anything else: letters of ASCII, digits, dot, dash and underscore, no leading dot.

/// Longest clean name, in bytes: leaves room for a suffix below the 255 of file systems.
pub const MAX_NAME: usize = 128;
/// Longest part after the last dot that counts as an extension.
const MAX_EXTENSION: usize = 16;
/// What a name becomes of which nothing is left.
const FALLBACK: &str = "file";

/// Whether a file can be stored under exactly this name.
#[must_use]
pub fn is_clean(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

/// A clean name that resembles the given one: its last path component with everything else replaced.
#[must_use]
pub fn sanitise(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut clean = String::new();
    for c in last.chars() {
        let keeps = c.is_ascii_alphanumeric() || ".-_".contains(c);
        // A run of foreign characters becomes one underscore.
        if keeps {
            clean.push(c);
        } else if !clean.ends_with('_') {
            clean.push('_');
        }
    }
    let clean = clean.trim_start_matches(['.', '_']).trim_end_matches('_');
    let clean = shorten(clean, MAX_NAME);
    if clean.is_empty() {
        FALLBACK.to_owned()
    } else {
        clean
    }
}

/// The name with a suffix before its extension, still clean.
pub(super) fn with_suffix(name: &str, suffix: &str) -> String {
    let (stem, extension) = split(name);
    let stem = &stem[..stem
        .len()
        .min(MAX_NAME - extension.len() - suffix.len() - 1)];
    format!("{stem}-{suffix}{extension}")
}

fn shorten(name: &str, limit: usize) -> String {
    let (stem, extension) = split(name);
    let stem = &stem[..stem.len().min(limit - extension.len())];
    format!("{stem}{extension}")
}

/// Stem and extension with its dot. Only for ASCII names.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= MAX_EXTENSION => name.split_at(at),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_a_path_or_a_trick_becomes_a_plain_name() {
        for (given, wanted) in [
            ("photo.jpg", "photo.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\me\\notes.txt", "notes.txt"),
            (".bashrc", "bashrc"),
            ("...", "file"),
            ("", "file"),
            ("Ünïcode näme.pdf", "n_code_n_me.pdf"),
            ("a\r\nb: c.txt", "a_b_c.txt"),
            ("\0", "file"),
            ("名前", "file"),
        ] {
            assert_eq!(sanitise(given), wanted, "{given:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let name = sanitise(&format!("{}.tar.gz", "x".repeat(500)));
        assert_eq!(name.len(), MAX_NAME);
        assert!(name.ends_with(".gz"));
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_clean_one_and_a_clean_one_stays(name in "\\PC{0,300}|[.\\\\/\0\r\n_-]{0,40}") {
            let clean = sanitise(&name);
            prop_assert!(is_clean(&clean), "{clean:?}");
            prop_assert!(is_clean(&with_suffix(&clean, "0123abcd-99")));
        }

        #[test]
        fn a_name_that_is_clean_and_ends_in_a_letter_is_kept(name in "[a-z0-9][a-zA-Z0-9._-]{0,100}[a-z]") {
            prop_assert_eq!(sanitise(&name), name);
        }
    }
}
