//! `homing backup`: everything of this directory but the root and signer keys, while it runs or not.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use homing_coordinator::authority::{AUDIT_FILE, COORDINATOR_KEY_FILE, DATABASE_FILE};
use serde_json::json;

use crate::archive::{self, Content, Member};
use crate::args::BackupArgs;
use crate::data_dir::DataDir;
use crate::device::NetworkFile;
use crate::failure::Failure;
use crate::host::{self, AgentFile};
use crate::output::{Output, rfc3339};
use crate::{files, passphrase};

/// Name of the agent's database.
const AGENT_DATABASE: &str = "agent.db";
/// Names in the agent's folder that are copied in another way, or not at all: the database and its
/// companions. Logs are not state.
const AGENT_SKIPPED: &[&str] = &["agent.db", "agent.db-wal", "agent.db-shm", "logs"];

pub(super) async fn run(dir: &DataDir, args: &BackupArgs, output: Output) -> anyhow::Result<()> {
    let passphrase = passphrase::new(args.passphrase_file.as_deref())?;
    let (dir, file) = (dir.clone(), args.file.clone());
    output.progress("writing the backup");
    let made = tokio::task::spawn_blocking(move || make(&dir, &file, &passphrase)).await;
    let (content, bytes) = made.context("the backup was interrupted")??;
    let document = json!({
        "file": args.file.display().to_string(),
        "network_id": content.network_id,
        "parts": content.parts,
        "made_at": content.made_at,
        "bytes": bytes,
    });
    output.result(&document, || {
        let kit = if content.parts.iter().any(|part| part == "coordinator") {
            " It holds no root and no signer key: homing restore asks for the recovery kit."
        } else {
            ""
        };
        format!(
            "{} holds {} ({bytes} bytes).{kit}",
            args.file.display(),
            content.parts.join(", ")
        )
    });
    Ok(())
}

fn make(
    dir: &DataDir,
    file: &Path,
    passphrase: &zeroize::Zeroizing<String>,
) -> anyhow::Result<(Content, u64)> {
    let copies = Copies::new(dir)?;
    let mut members = Vec::new();
    let mut parts = Vec::new();
    // The coordinator first: an agent that is a little newer is a good witness, the other way round
    // it would know less than the coordinator had promised.
    if dir.has_coordinator() {
        parts.push("coordinator".to_owned());
        let authority = host::offline::open(dir)?;
        let copy = copies.path("coordinator.db");
        authority.copy_database(&copy)?;
        members.push(member(Path::new("coordinator").join(DATABASE_FILE), copy));
        // After the database, which knows how long it is at least.
        for name in [COORDINATOR_KEY_FILE, AUDIT_FILE] {
            push_file(&mut members, dir, &Path::new("coordinator").join(name));
        }
    }
    if dir.has_agent() {
        parts.push("agent".to_owned());
        let source = dir.agent().join(AGENT_DATABASE);
        if source.exists() {
            let copy = copies.path("agent.db");
            homing_agent::store::copy_database(&source, &copy)
                .context("the agent's database could not be copied")?;
            members.push(member(Path::new("agent").join(AGENT_DATABASE), copy));
        }
        push_folder(&mut members, dir, Path::new("agent"), AGENT_SKIPPED)?;
    }
    if dir.has_device() {
        parts.push("device".to_owned());
        push_folder(&mut members, dir, Path::new("device"), &[])?;
    }
    if parts.is_empty() {
        return Err(Failure::new(
            "no_network",
            "there is nothing here to back up",
            "choose a data directory with --dir",
        )
        .into());
    }
    push_file(&mut members, dir, Path::new("homing.toml"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let made_at = rfc3339(now.unwrap_or_default().as_secs());
    let content = Content::new(network_id(dir)?, parts, made_at);
    let bytes = archive::write(file, passphrase, &content, &members)?;
    Ok((content, bytes))
}

fn network_id(dir: &DataDir) -> anyhow::Result<String> {
    if dir.has_coordinator() {
        return Ok(host::offline::open(dir)?.network_id().to_string());
    }
    if let Some(agent) = AgentFile::load(dir)? {
        return Ok(agent.chain()?.network_id().to_string());
    }
    match NetworkFile::load(dir)? {
        Some(network) => Ok(network.trust_state()?.network_id().to_string()),
        None => Ok(String::new()),
    }
}

fn member(name: PathBuf, source: PathBuf) -> Member {
    Member { name, source }
}

fn push_file(members: &mut Vec<Member>, dir: &DataDir, name: &Path) {
    let source = dir.root().join(name);
    if source.is_file() && archive::is_allowed(name) {
        members.push(member(name.to_owned(), source));
    }
}

// Names that begin with a dot are files that are being written.
fn push_folder(
    members: &mut Vec<Member>,
    dir: &DataDir,
    name: &Path,
    skipped: &[&str],
) -> anyhow::Result<()> {
    let folder = dir.root().join(name);
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("{} could not be read", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let text = file_name.to_string_lossy();
        if text.starts_with('.') || skipped.iter().any(|skip| *skip == text) {
            continue;
        }
        let inner = name.join(&file_name);
        // A link would lead out of the directory; there is none that we made.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            push_folder(members, dir, &inner, &[])?;
        } else if kind.is_file() {
            push_file(members, dir, &inner);
        }
    }
    Ok(())
}

/// Copies of databases on their way into the archive, gone when it is dropped. In the data directory,
/// because they are as secret as what they are copies of.
struct Copies {
    folder: PathBuf,
}

impl Copies {
    fn new(dir: &DataDir) -> anyhow::Result<Self> {
        let folder = dir.run().join(format!("backup-{}", std::process::id()));
        files::make_folder(&dir.run())?;
        files::make_folder(&folder)?;
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
