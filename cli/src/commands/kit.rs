//! `homing kit export` and `homing kit verify`: the root key leaves this host. Its secret is never
//! printed.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use homing_certs::{NodeId, RootChain};
use homing_coordinator::authority::{ROOT_KIT_FILE, RootKit};
use serde_json::json;
use zeroize::Zeroizing;

use crate::data_dir::DataDir;
use crate::device::NetworkFile;
use crate::failure::Failure;
use crate::host;
use crate::output::Output;

/// A kit is a few lines; a larger file is not one.
const MAX_KIT: u64 = 16 * 1024;

/// Copies the kit out. The one on this host stays until a copy is verified.
pub(super) fn export(dir: &DataDir, file: &Path, output: Output) -> anyhow::Result<()> {
    let kept = dir.coordinator().join(ROOT_KIT_FILE);
    if !kept.exists() {
        return Err(Failure::new(
            "no_kit",
            "there is no recovery kit on this host: it was exported before, or this is not the coordinator's host",
            "homing kit verify <file> checks a copy that you have",
        )
        .into());
    }
    let text = read_text(&kept)?;
    // Never a damaged one out of the house.
    parse(&text, &kept)?;
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(|error| {
            Failure::new(
                "not_written",
                format!("{} could not be made: {error}", file.display()),
                "choose a file that does not exist, in a folder that you may write to",
            )
        })?;
    copy.write_all(text.as_bytes())
        .and_then(|()| copy.sync_all())
        .with_context(|| format!("{} could not be written", file.display()))?;
    output.result(&json!({ "file": file.display().to_string() }), || {
        format!(
            "The recovery kit is in {}. Next, with the medium that you will take away:\n\n  homing kit verify {}\n",
            file.display(),
            file.display()
        )
    });
    Ok(())
}

/// Reads a copy back and proves it; then the kit on this host goes.
pub(super) fn verify(dir: &DataDir, file: &Path, output: Output) -> anyhow::Result<()> {
    let kit = read(file)?;
    let chain = known_chain(dir)?;
    prove(&kit, &chain)?;
    let kept = dir.coordinator().join(ROOT_KIT_FILE);
    let deleted = kept.exists();
    if deleted {
        refuse_the_same_place(dir, file, &kept)?;
        std::fs::remove_file(&kept)
            .and_then(|()| std::fs::File::open(dir.coordinator())?.sync_all())
            .with_context(|| format!("{} could not be deleted", kept.display()))?;
    }
    let document = json!({
        "network_id": kit.network_id.to_string(),
        "root_key": NodeId::from(kit.root.verifying_key().to_bytes()).to_string(),
        "deleted_here": deleted,
    });
    output.result(&document, || {
        let gone = if deleted {
            "The kit on this host is deleted: what you hold is the only one. Make a second copy and keep both offline."
        } else {
            "This host keeps no kit."
        };
        format!(
            "{} is the root key of this network and reads back well. {gone}",
            file.display()
        )
    });
    Ok(())
}

/// Reads a kit.
pub(super) fn read(file: &Path) -> anyhow::Result<RootKit> {
    parse(&read_text(file)?, file)
}

/// Whether a kit is the root of the network that a chain describes.
pub(super) fn prove(kit: &RootKit, chain: &RootChain) -> anyhow::Result<()> {
    let root = NodeId::from(kit.root.verifying_key().to_bytes());
    if kit.network_id == chain.network_id() && chain.current().roots.contains(&root) {
        return Ok(());
    }
    Err(Failure::new(
        "wrong_kit",
        format!(
            "this kit is the root of network {}, not of {}",
            kit.network_id,
            chain.network_id()
        ),
        "look for the kit of this network",
    )
    .into())
}

fn known_chain(dir: &DataDir) -> anyhow::Result<RootChain> {
    if dir.has_coordinator() {
        return Ok(host::offline::open(dir)?.chain().clone());
    }
    if let Some(network) = NetworkFile::load(dir)? {
        return Ok(network.trust_state()?.chain().clone());
    }
    Err(Failure::new(
        "no_network",
        "this directory knows no network to compare the kit with",
        "run it on the coordinator's host, or on a device that has joined",
    )
    .into())
}

fn refuse_the_same_place(dir: &DataDir, file: &Path, kept: &Path) -> anyhow::Result<()> {
    let copy = std::fs::metadata(file)?;
    let here = std::fs::metadata(kept)?;
    let same = (copy.dev(), copy.ino()) == (here.dev(), here.ino());
    let inside = file
        .canonicalize()
        .is_ok_and(|file| file.starts_with(dir.root()));
    if !same && !inside {
        return Ok(());
    }
    Err(Failure::new(
        "kit_not_moved",
        format!("{} lies in the data directory", file.display()),
        "homing kit export <file> to another medium, then verify that file",
    )
    .into())
}

fn read_text(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let opened = std::fs::File::open(file).map_err(|error| {
        Failure::new(
            "not_read",
            format!("{} could not be opened: {error}", file.display()),
            "check the path, and that the medium is there",
        )
    })?;
    opened
        .take(MAX_KIT)
        .read_to_string(&mut text)
        .map_err(|_| not_a_kit(file, "it is not text"))?;
    Ok(text)
}

fn parse(text: &str, file: &Path) -> anyhow::Result<RootKit> {
    Ok(RootKit::parse(text).map_err(|error| not_a_kit(file, &error.to_string()))?)
}

fn not_a_kit(file: &Path, why: &str) -> Failure {
    Failure::new(
        "kit_unreadable",
        format!("{} is not a good recovery kit: {why}", file.display()),
        "take another copy; while coordinator/root.kit exists, homing kit export makes one",
    )
}
