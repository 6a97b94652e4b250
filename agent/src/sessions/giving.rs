//! The answer of a running turn as people see it: its text without markers, and the files that it gives.
//!
//! What was shown as pieces is, joined, exactly the text of the answer.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Attachment, MAX_ATTACHMENTS};
use crate::approvals::Origin;
use crate::attachments::{Attachments, Kind, Piece, Scanner};
use crate::tools::{Permission, Tools};
use crate::turn::ToolCall;

/// What stands in place of a file that is not given. It says nothing of why.
const NOT_AVAILABLE: &str = "[file not available]";
/// The tool as whose call it is judged whether a file of the workspace may be given.
const READ: &str = "read_file";
/// Where a user's own stored files are.
const STORED: &str = "/api/files/";
/// Files that are looked for in one answer; a model that names more is guessing.
const MAX_LOOKED_FOR: usize = 64;

/// An answer so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) files: Vec<Attachment>,
}

impl Given {
    /// Whether nothing was said and nothing given.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.files.is_empty()
    }
}

/// Takes what a model says.
pub(super) struct Giving {
    attachments: Attachments,
    tools: Tools,
    origin: Origin,
    cancel: CancellationToken,
    scanner: Scanner,
    given: Given,
    /// Files that were looked for in this round, and whether they are given.
    known: HashMap<String, bool>,
    /// In all rounds.
    looked_for: usize,
}

impl Giving {
    /// Goes on with what was given before.
    pub(super) fn new(
        attachments: Attachments,
        tools: Tools,
        origin: Origin,
        cancel: CancellationToken,
        given: Given,
    ) -> Self {
        Self {
            attachments,
            tools,
            origin,
            cancel,
            scanner: Scanner::default(),
            given,
            known: HashMap::new(),
            looked_for: 0,
        }
    }

    /// The next piece of what is said; gives what is to be shown of it now.
    pub(super) async fn take(&mut self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        for piece in self.scanner.push(text) {
            match piece {
                Piece::Text(text) => shown.push_str(&text),
                Piece::Marker { kind, path } => {
                    if !self.give(kind, path).await {
                        shown.push_str(NOT_AVAILABLE);
                    }
                }
            }
        }
        self.given.text.push_str(&shown);
        shown
    }

    /// Nothing more of this round is said; gives what is still to be shown.
    pub(super) fn pause(&mut self) -> String {
        let rest = self.scanner.finish();
        // A tool may make or change what was looked for.
        self.known.clear();
        self.given.text.push_str(&rest);
        rest
    }

    /// What was said and given so far.
    pub(super) fn given(&self) -> &Given {
        &self.given
    }

    /// What lies in the workspace is given only where the policy lets it be read without asking.
    async fn may_read(&self, path: &str) -> bool {
        if path.starts_with(STORED) {
            return true;
        }
        let call = ToolCall {
            id: String::new(),
            name: READ.to_owned(),
            arguments: serde_json::json!({ "path": path }),
        };
        tokio::select! {
            judged = self.tools.judge(&self.origin, &call) => judged == Ok(Permission::Run),
            () = self.cancel.cancelled() => false,
        }
    }

    async fn give(&mut self, kind: Kind, path: String) -> bool {
        if let Some(known) = self.known.get(&path) {
            return *known;
        }
        if self.given.files.len() >= MAX_ATTACHMENTS || self.looked_for >= MAX_LOOKED_FOR {
            return false;
        }
        self.looked_for += 1;
        if !self.may_read(&path).await {
            self.known.insert(path, false);
            return false;
        }
        let found = self
            .attachments
            .give(&self.origin.speaker, kind, &path, &self.cancel)
            .await;
        self.known.insert(path, found.is_some());
        let Some(file) = found else { return false };
        // Two names of one file are one file.
        if !self.given.files.iter().any(|known| known.path == file.path) {
            self.given.files.push(file);
        }
        true
    }
}
