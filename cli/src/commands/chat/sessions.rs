//! Sessions as the chat needs them: which one was last used here, and where its log ends.

use std::path::PathBuf;

use serde_json::Value;

use super::frames::random_id;
use crate::agent_api::AgentApi;
use crate::data_dir::DataDir;
use crate::files;
use crate::output::{self, rfc3339};
use crate::terminal_text::clean_line;

/// The session of a directory in which nobody has chatted yet.
const FIRST: &str = "chat";
/// Sessions that are asked for at once, the most that the agent gives.
const PAGE: usize = 200;
/// Pages that are looked through: one user has no more sessions than a hundred pages.
const MAX_PAGES: usize = 100;

/// A session of the agent.
#[derive(Debug, Clone, Default)]
pub(in crate::commands) struct SessionState {
    /// Number of its newest event; 0 when there is none yet.
    pub(in crate::commands) last_seq: u64,
    pub(in crate::commands) running: bool,
    pub(in crate::commands) messages: u64,
}

/// Where the directory keeps which session was used last.
#[derive(Debug, Clone)]
pub(super) struct LastSession {
    folder: PathBuf,
}

impl LastSession {
    pub(super) fn of(dir: &DataDir) -> Self {
        Self { folder: dir.chat() }
    }

    pub(super) fn read(&self) -> String {
        let read = files::read(&self.folder.join("session")).ok().flatten();
        read.and_then(|bytes| String::from_utf8(bytes).ok())
            .map(|text| text.trim().to_owned())
            .filter(|session| !session.is_empty())
            .unwrap_or_else(|| FIRST.to_owned())
    }

    pub(super) fn write(&self, session: &str) -> anyhow::Result<()> {
        if self.read() == session {
            return Ok(());
        }
        files::make_folder(&self.folder)?;
        files::write(&self.folder.join("session"), session.as_bytes())
    }
}

/// An id for a new session.
pub(super) fn new_id() -> anyhow::Result<String> {
    Ok(format!("chat-{}", random_id()?))
}

/// All sessions, as the agent lists them.
pub(in crate::commands) async fn list(api: &AgentApi) -> anyhow::Result<Vec<Value>> {
    let mut sessions = Vec::new();
    let mut path = format!("/api/sessions?limit={PAGE}");
    for _ in 0..MAX_PAGES {
        let page = api.get(&path).await?;
        sessions.extend(page["sessions"].as_array().cloned().unwrap_or_default());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/sessions?limit={PAGE}&cursor={}", percent(cursor));
    }
    Ok(sessions)
}

/// What the agent knows of a session; nothing of one that is new.
pub(in crate::commands) async fn find(
    api: &AgentApi,
    session: &str,
) -> anyhow::Result<SessionState> {
    let sessions = list(api).await?;
    let found = sessions.iter().find(|row| row["session_id"] == session);
    Ok(
        found.map_or_else(SessionState::default, |row| SessionState {
            last_seq: row["last_seq"].as_u64().unwrap_or(0),
            running: row["running"].as_bool().unwrap_or(false),
            messages: row["messages"].as_u64().unwrap_or(0),
        }),
    )
}

/// Sessions for people, the one that was used last at the end.
pub(in crate::commands) fn table(sessions: &[Value]) -> String {
    let mut sessions: Vec<&Value> = sessions.iter().collect();
    sessions.sort_by_key(|row| row["updated_ms"].as_i64().unwrap_or(0));
    let rows: Vec<Vec<String>> = sessions
        .iter()
        .map(|row| {
            let updated = row["updated_ms"].as_u64().unwrap_or(0) / 1000;
            let running = if row["running"] == true { "yes" } else { "no" };
            vec![
                clean_line(row["session_id"].as_str().unwrap_or_default()),
                row["messages"].to_string(),
                rfc3339(updated),
                running.to_owned(),
            ]
        })
        .collect();
    output::table(&["SESSION", "MESSAGES", "LAST USED", "RUNNING"], &rows)
}

/// A text as one part of a URL.
pub(in crate::commands) fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
