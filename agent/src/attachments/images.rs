//! Pictures as models see them: which of them, of which kind, and how large they may be. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE64;

use crate::turn::Said;

/// Bytes of one picture. In base64 that is the least that any of the providers takes (5 MB).
pub const MAX_IMAGE: usize = 3_750_000;
/// Pictures of one request: more cost more than they tell.
pub const MAX_IMAGES: usize = 8;
/// Bytes of all pictures of one request; with the rest it stays below the providers' 32 MB.
pub const MAX_IMAGES_BYTES: usize = 12_000_000;
/// Bytes from the beginning of a file that tell what it is.
pub(super) const SAMPLE: usize = 12;

/// One picture, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Its kind.
    pub media_type: &'static str,
    /// Its bytes in base64.
    pub base64: Arc<str>,
    size: usize,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}, {} bytes)", self.media_type, self.size)
    }
}

impl Image {
    /// `None` when it is not a picture that models take.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            media_type: media_type(bytes)?,
            base64: BASE64.encode(bytes).into(),
            size: bytes.len(),
        })
    }
}

/// Pictures by the names under which they are stored.
#[derive(Debug, Clone, Default)]
pub struct Images {
    /// `None` for one that cannot be shown.
    by_name: BTreeMap<String, Option<Image>>,
    size: usize,
}

impl Images {
    /// A picture, if it can be shown.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Image> {
        self.by_name.get(name)?.as_ref()
    }

    /// Those of these that can be shown.
    pub fn of<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a Image> {
        names.iter().filter_map(|name| self.get(name))
    }

    /// Adds a picture, or that it cannot be shown.
    pub fn add(&mut self, name: String, image: Option<Image>) {
        self.size += image.as_ref().map_or(0, |image| image.size);
        self.by_name.insert(name, image);
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Bytes that may still be added.
    pub(super) fn left(&self) -> usize {
        MAX_IMAGES_BYTES.saturating_sub(self.size)
    }
}

/// Of the newest messages of people, the pictures that a model sees: the newest messages first.
pub(super) fn wanted(said: &[Said], messages: usize) -> Vec<String> {
    let people = said.iter().rev().filter(|one| one.by_person().is_some());
    let mut wanted: Vec<String> = Vec::new();
    for one in people.take(messages) {
        let Said::Pictured { images, .. } = one else {
            continue;
        };
        for name in images {
            if wanted.len() < MAX_IMAGES && !wanted.contains(name) {
                wanted.push(name.clone());
            }
        }
    }
    wanted
}

/// The kind of a picture by its first bytes; `None` for anything that providers do not all take.
#[must_use]
pub fn media_type(bytes: &[u8]) -> Option<&'static str> {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    match bytes {
        _ if bytes.starts_with(PNG) => Some("image/png"),
        _ if bytes.starts_with(b"\xff\xd8\xff") => Some("image/jpeg"),
        _ if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") => Some("image/gif"),
        _ if webp => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_by_its_first_bytes_and_nothing_else() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\n0000"[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF0000WEBP", Some("image/webp")),
            (b"RIFF0000WAVE", None),
            (b"RIFF", None),
            (b"<svg", None),
            (b"", None),
        ] {
            assert_eq!(media_type(bytes), kind, "{bytes:?}");
        }
    }

    #[test]
    fn the_newest_messages_pictures_are_wanted_and_not_too_many() {
        let shows = |names: &[&str]| Said::Pictured {
            text: "look".to_owned(),
            images: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let said = [
            shows(&["old"]),
            Said::User("words".to_owned()),
            shows(&["b", "a"]),
            shows(&["c", "a"]),
        ];
        assert_eq!(wanted(&said, 3), ["c", "a", "b"]);
        let names: Vec<String> = (0..20).map(|at| at.to_string()).collect();
        let many = Said::Pictured {
            text: String::new(),
            images: names,
        };
        assert_eq!(wanted(&[many], 3).len(), MAX_IMAGES);
    }
}
