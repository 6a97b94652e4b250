//! `<dir>/agent/network`: which network an agent belongs to and where its coordinator is.

use anyhow::Context;
use homing_certs::RootChain;
use homing_protocol::Document;
use homing_protocol::gateway::Reach;
use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::files;

/// What an agent starts from; its database may hold newer root documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgentFile {
    /// Its name when it was enrolled.
    pub(crate) agent: String,
    /// Root documents, genesis first.
    pub(crate) root_chain: Vec<Document>,
    /// Where the coordinator is.
    pub(crate) coordinator: Reach,
}

impl AgentFile {
    pub(crate) fn load(dir: &DataDir) -> anyhow::Result<Option<Self>> {
        let path = dir.agent_network();
        let Some(bytes) = files::read(&path)? else {
            return Ok(None);
        };
        let file = serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{} is damaged; restore it from a backup, or enrol the agent again",
                path.display()
            )
        })?;
        Ok(Some(file))
    }

    pub(crate) fn save(&self, dir: &DataDir) -> anyhow::Result<()> {
        files::write(&dir.agent_network(), &serde_json::to_vec_pretty(self)?)
    }

    pub(crate) fn chain(&self) -> anyhow::Result<RootChain> {
        RootChain::from_chain(&self.root_chain, None)
            .context("the root documents of the agent's network are damaged")
    }
}
