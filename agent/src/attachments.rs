//! Files that go with what is said, in both directions: what a model is told of the files of a person,
//! and which files it may give to that person.
//!
//! A file that is given is always one of the user's own stored files: what lies in the agent's workspace
//! is copied there first. Anything else is the same as not there. Who may attach which file to a message
//! is checked by the gateway, when the message comes.

mod images;
mod markers;
mod told;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use homing_certs::UserId;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

pub use images::{Image, Images, MAX_IMAGE, MAX_IMAGES, MAX_IMAGES_BYTES, media_type};
pub use markers::{Kind, MAX_MARKER, MAX_PATH, Piece, Scanner};
pub use told::{MAX_INLINE, MAX_INLINE_FILE, with_markers};

use told::Seen;

use crate::feed::Feeds;
use crate::files::{Files, StoredFile, Target};
use crate::models::Choice;
use crate::sessions::{Attachment, Speaker};
use crate::turn::{IMAGE, Said};

/// The scope without which nobody is given a file.
const SCOPE: &str = "files";
/// Bytes that are read from the disk at once.
const READ_CHUNK: usize = 128 << 10;
/// Bytes of a file's name for people: what file systems take.
const MAX_FILENAME: usize = 255;
/// Messages of people, the newest, whose pictures a model sees again; of older ones it knows that there
/// were some. A picture costs as much as some pages of text, in each round anew.
const PICTURED: usize = 3;

/// What the models of a turn can take of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Bytes of conversation that fit into the smallest context.
    room: usize,
    /// Pictures that may still be shown.
    pictures: usize,
    /// Those that are shown: each of them once, however often it was sent.
    shown: Vec<String>,
}

impl Sight {
    /// Of models that may answer. Whichever of them does, it fits. Who may not read files has no model
    /// see them either.
    #[must_use]
    pub fn of(choices: &[Choice], speaker: &Speaker) -> Self {
        let room = choices.iter().map(Choice::room).min().unwrap_or(0);
        let sees = choices.iter().any(|choice| choice.images) && speaker.scopes().contains(SCOPE);
        Self {
            room,
            pictures: if sees {
                MAX_IMAGES.min(room / 2 / IMAGE)
            } else {
                0
            },
            shown: Vec::new(),
        }
    }

    /// Whether this picture is to be shown here.
    fn shows(&mut self, name: &str) -> bool {
        if self.pictures == 0 || self.shown.iter().any(|shown| shown == name) {
            return false;
        }
        self.pictures -= 1;
        self.shown.push(name.to_owned());
        true
    }
}

/// The files of conversations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Attachments {
    files: Arc<Files>,
    workspace: PathBuf,
    feeds: Feeds,
}

impl Attachments {
    /// With the stored files of all users and the agent's workspace.
    #[must_use]
    pub fn new(files: Arc<Files>, workspace: PathBuf, feeds: Feeds) -> Self {
        Self {
            files,
            workspace,
            feeds,
        }
    }

    /// The file that a model means, as an attachment. `None` when this speaker is not given it, for
    /// whatever reason: nothing is told of files that are not theirs.
    pub async fn give(
        &self,
        speaker: &Speaker,
        kind: Kind,
        path: &str,
        cancel: &CancellationToken,
    ) -> Option<Attachment> {
        if !speaker.scopes().contains(SCOPE) {
            return None;
        }
        let asked = Attachment {
            path: path.to_owned(),
            filename: String::new(),
            kind: kind.as_str().to_owned(),
        };
        let name = asked.stored();
        if !name.is_empty() {
            self.files.open_file(speaker.user_id, name).await.ok()?;
            let filename = name.to_owned();
            return Some(Attachment { filename, ..asked });
        }
        let (file, filename) = self.open_own(path).await?;
        let stored = self
            .copy(speaker.user_id, file, &filename, cancel)
            .await
            .inspect_err(|error| {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "a file of the workspace was not given"
                );
            })
            .ok()?;
        let name = &stored.filename;
        Some(Attachment::of_stored(name, &filename, kind.as_str()))
    }

    /// A file of the workspace that is not larger than an upload may be, and its name.
    async fn open_own(&self, path: &str) -> Option<(File, String)> {
        let filename = Path::new(path).file_name()?.to_str()?;
        let filename = Some(filename).filter(|name| name.len() <= MAX_FILENAME)?;
        let (workspace, wanted) = (self.workspace.clone(), path.to_owned());
        let open = move || open_inside(&workspace, &wanted);
        let file = tokio::task::spawn_blocking(open).await.ok()??;
        let length = file.metadata().ok()?.len();
        (length <= self.files.sizes().upload).then(|| (File::from_std(file), filename.to_owned()))
    }

    async fn copy(
        &self,
        user: UserId,
        file: File,
        filename: &str,
        cancel: &CancellationToken,
    ) -> Result<StoredFile, crate::files::FileError> {
        let body = stream::try_unfold(file, |mut file| async move {
            let mut chunk = BytesMut::with_capacity(READ_CHUNK);
            let count = file.read_buf(&mut chunk).await?;
            Ok::<_, std::io::Error>((count > 0).then(|| (chunk.freeze(), file)))
        });
        let body: std::pin::Pin<
            Box<dyn futures_util::Stream<Item = std::io::Result<Bytes>> + Send>,
        > = Box::pin(body);
        let target = Target::Shared(filename.to_owned());
        // It may have grown since it was looked at.
        let limit = self.files.sizes().upload;
        let stored = self.files.store(user, target, body, limit, cancel).await?;
        let name = stored.filename.clone();
        self.feeds.of(user).publish("file", "updated", name);
        Ok(stored)
    }

    /// What a model is told of a person's message that comes now. Texts among its files are told too,
    /// as long as all of them fit into a part of the room.
    pub async fn told(
        &self,
        user: UserId,
        text: &str,
        of: &[Attachment],
        sight: &mut Sight,
    ) -> Said {
        let mut left = MAX_INLINE.min(sight.room / 4);
        let most = MAX_INLINE_FILE.min(sight.room / 8);
        let mut seen = Vec::with_capacity(of.len());
        for attachment in of {
            let one = self.look(user, attachment, most.min(left)).await;
            if let Seen::Text { text, .. } = &one {
                left = left.saturating_sub(told::weight(text));
            }
            seen.push(one);
        }
        told::message(text, of, &seen, |name| sight.shows(name))
    }

    /// What a model is told of a person's earlier message. Its pictures are seen again only when it is
    /// one of the newest; `age` is 0 for the one that comes now.
    pub async fn told_again(
        &self,
        user: UserId,
        text: &str,
        of: &[Attachment],
        age: usize,
        sight: &mut Sight,
    ) -> Said {
        let mut seen = Vec::new();
        if age < PICTURED {
            for attachment in of {
                seen.push(self.look(user, attachment, 0).await);
            }
        }
        told::message(text, of, &seen, |name| sight.shows(name))
    }

    async fn look(&self, user: UserId, attachment: &Attachment, most: usize) -> Seen {
        let Ok((file, size)) = self.files.open_file(user, attachment.stored()).await else {
            return Seen::Gone;
        };
        let mut bytes = Vec::new();
        let limit = most.max(images::SAMPLE) as u64;
        if let Err(error) = file.take(limit).read_to_end(&mut bytes).await {
            tracing::warn!(%error, "a stored file could not be read");
            return Seen::Gone;
        }
        told::see(&bytes, size, most)
    }

    /// Adds the pictures of what was said that a model sees, as far as they are still there.
    pub async fn load(&self, user: UserId, said: &[Said], images: &mut Images) {
        for name in images::wanted(said, PICTURED) {
            if images.knows(&name) {
                continue;
            }
            let image = self.load_one(user, &name, images.left()).await;
            images.add(name, image);
        }
    }

    async fn load_one(&self, user: UserId, name: &str, left: usize) -> Option<Image> {
        let (file, size) = self.files.open_file(user, name).await.ok()?;
        let limit = MAX_IMAGE.min(left) as u64;
        if size > limit {
            return None;
        }
        let mut bytes = Vec::new();
        // It may have been replaced by a longer one.
        file.take(limit + 1).read_to_end(&mut bytes).await.ok()?;
        (bytes.len() as u64 <= limit).then(|| Image::new(&bytes))?
    }
}

/// Nothing outside of the workspace is given: the kernel keeps the path inside of it.
#[cfg(target_os = "linux")]
fn open_inside(workspace: &Path, path: &str) -> Option<std::fs::File> {
    let settings = crate::tools::settings::FileSettings::default();
    let folders = crate::tools::FileFolders::new(&settings, workspace.to_owned(), vec![]);
    folders.open(path).ok()
}

/// Only Linux keeps a path inside a folder.
#[cfg(not(target_os = "linux"))]
fn open_inside(_: &Path, _: &str) -> Option<std::fs::File> {
    None
}
