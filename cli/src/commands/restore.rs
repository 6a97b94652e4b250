//! `homing restore`: a backup into an empty directory. A coordinator comes back with a new signer,
//! which the recovery kit's root signs for, and signs nothing until it is resumed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use homing_coordinator::authority::{RestoreError, RootKit};
use homing_coordinator::{Authority, Moment};
use serde_json::json;
use zeroize::Zeroizing;

use super::kit;
use crate::archive::{self, Content};
use crate::args::RestoreArgs;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::files;
use crate::output::Output;
use crate::passphrase;

pub(super) async fn run(dir: &DataDir, args: &RestoreArgs, output: Output) -> anyhow::Result<()> {
    refuse_occupied(dir)?;
    let kit = match &args.kit {
        Some(kit) => Some(kit::read(kit)?),
        None => None,
    };
    let passphrase = passphrase::existing(args.passphrase_file.as_deref())?;
    let (root, file) = (dir.root().to_owned(), args.file.clone());
    let restored =
        tokio::task::spawn_blocking(move || unpack(&root, &file, &passphrase, kit.as_ref())).await;
    let content = restored.context("the restore was interrupted")??;
    let recovering = content.parts.iter().any(|part| part == "coordinator");
    let document = json!({
        "network_id": content.network_id,
        "parts": content.parts,
        "made_at": content.made_at,
        "recovering": recovering,
    });
    output.result(&document, || text(&content, recovering));
    Ok(())
}

fn text(content: &Content, recovering: bool) -> String {
    let next = if recovering {
        "Make sure that the old host never starts again. Then:\n\n  homing up                    # or: homing coordinator run\n  homing devices               # revoke what you do not know after the next step\n  homing coordinator resume    # from then on it signs, with a new signer\n"
    } else {
        "Make sure that the old copy never starts again, then start this one as before."
    };
    format!(
        "{} of {} is back, as of {}.\n\n{next}",
        content.parts.join(", "),
        content.network_id,
        content.made_at
    )
}

// In a folder beside, which takes the directory's place by one rename when all is well.
fn unpack(
    root: &Path,
    file: &Path,
    passphrase: &Zeroizing<String>,
    kit: Option<&RootKit>,
) -> anyhow::Result<Content> {
    let draft = Draft::new(root)?;
    let content = archive::read(file, passphrase, &draft.folder)?;
    let coordinator = draft.folder.join("coordinator");
    if coordinator.exists() {
        let kit = kit.ok_or_else(|| {
            Failure::new(
                "kit_needed",
                "this backup holds a coordinator, whose signer key no backup holds",
                "give the recovery kit: homing restore <file> --kit FILE",
            )
        })?;
        Authority::restore(&coordinator, kit, Moment::system()).map_err(failed)?;
    }
    draft.take_place(root)?;
    Ok(content)
}

fn failed(error: RestoreError) -> anyhow::Error {
    match error {
        RestoreError::WrongKit => Failure::new(
            "wrong_kit",
            "the kit is not the root of the network in this backup",
            "look for the kit of this network",
        )
        .into(),
        error => anyhow::Error::new(error).context("the coordinator could not be restored"),
    }
}

fn refuse_occupied(dir: &DataDir) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(dir.root())
        .with_context(|| format!("{} could not be read", dir.root().display()))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Failure::new(
            "not_empty",
            format!("{} is not empty", dir.root().display()),
            "choose a new directory with --dir, or move this one away",
        )
        .into()),
    }
}

struct Draft {
    folder: PathBuf,
}

impl Draft {
    fn new(root: &Path) -> anyhow::Result<Self> {
        let mut name = root.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".restoring-{}", std::process::id()));
        let folder = root.with_file_name(name);
        files::make_folder(&folder)?;
        Ok(Self { folder })
    }

    fn take_place(&self, root: &Path) -> anyhow::Result<()> {
        fs::File::open(&self.folder)?.sync_all()?;
        // Over an empty directory only; anything in it makes this fail.
        fs::rename(&self.folder, root)
            .with_context(|| format!("{} could not be put in place", root.display()))?;
        let parent = root.parent().unwrap_or(Path::new("/"));
        Ok(fs::File::open(parent)?.sync_all()?)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
