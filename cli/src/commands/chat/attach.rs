//! Files that go with a message: uploaded first, named in the message afterwards.

use std::path::Path;

use anyhow::Context;

use super::frames::{Attachment, random_id};
use crate::agent_api::AgentApi;
use crate::failure::Failure;
use crate::output::Output;

/// Longest part of the file's own name that is kept in the stored one.
const MAX_KEPT: usize = 64;
/// Extensions of what the agent may want to look at or listen to.
const KINDS: &[(&str, &[&str])] = &[
    (
        "image",
        &["png", "jpg", "jpeg", "gif", "webp", "bmp", "heic"],
    ),
    (
        "voice",
        &["ogg", "oga", "opus", "mp3", "m4a", "wav", "flac"],
    ),
    ("video", &["mp4", "mov", "webm", "mkv"]),
];

/// Uploads the files in their order.
pub(super) async fn upload_all(
    api: &AgentApi,
    files: &[impl AsRef<Path>],
    output: Output,
) -> anyhow::Result<Vec<Attachment>> {
    let mut attachments = Vec::with_capacity(files.len());
    for file in files {
        output.progress(&format!("sending {}", file.as_ref().display()));
        attachments.push(upload(api, file.as_ref()).await?);
    }
    Ok(attachments)
}

/// Uploads a file under a name of its own, so that it replaces none that is there.
pub(super) async fn upload(api: &AgentApi, path: &Path) -> anyhow::Result<Attachment> {
    let not_read = |why: String| {
        Failure::new(
            "not_read",
            format!("{} could not be read: {why}", path.display()),
            "check the path of the file",
        )
    };
    let opened = tokio::fs::File::open(path).await;
    let file = opened.map_err(|error| not_read(error.to_string()))?;
    let meta = file.metadata().await.context("the file to send")?;
    if !meta.is_file() {
        return Err(not_read("it is not a file".to_owned()).into());
    }
    let filename = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let stored = stored_name(&filename, &random_id()?);
    let path = format!("/api/files/{stored}");
    api.put_file(&path, file, meta.len()).await?;
    Ok(Attachment {
        path,
        kind: kind_of(&filename).to_owned(),
        filename,
    })
}

fn stored_name(filename: &str, id: &str) -> String {
    let clean: String = filename
        .chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() || ".-_".contains(c) => c,
            _ => '_',
        })
        .collect();
    let from = clean.len().saturating_sub(MAX_KEPT);
    format!("chat-{id}-{}", &clean[from..])
}

fn kind_of(filename: &str) -> &'static str {
    let extension = filename
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase())
        .unwrap_or_default();
    KINDS
        .iter()
        .find(|(_, extensions)| extensions.contains(&extension.as_str()))
        .map_or("file", |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_are_clean_and_keep_the_extension() {
        assert_eq!(stored_name("näme 1.png", "ab"), "chat-ab-n_me_1.png");
        let long = format!("{}.pdf", "x".repeat(300));
        let stored = stored_name(&long, "ab");
        assert!(stored.len() < 100 && stored.ends_with(".pdf"));
        assert!(homing_agent::files::is_clean(&stored));
    }

    #[test]
    fn the_extension_says_what_a_file_is() {
        assert_eq!(kind_of("a.PNG"), "image");
        assert_eq!(kind_of("a.opus"), "voice");
        assert_eq!(kind_of("a.tar.gz"), "file");
        assert_eq!(kind_of("png"), "file");
    }
}
