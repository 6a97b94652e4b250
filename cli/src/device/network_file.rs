//! `<dir>/device/network`: root documents, agents and addresses that this device knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use homing_certs::{LogError, NodeId, RootChain, TrustState};
use homing_protocol::Document;
use homing_protocol::control::AgentInfo;
use homing_protocol::gateway::{MAX_ADDRESSES, Reach};
use homing_protocol::text::Text;
use serde::{Deserialize, Serialize};

use super::damaged;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::files;

/// What a device knows of its network. Every document in it is checked again when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct NetworkFile {
    /// This device's name when it was enrolled.
    pub(crate) device: String,
    /// All root documents, genesis first.
    pub(crate) root_chain: Vec<Document>,
    /// Snapshot of the revocation log at enrolment.
    pub(crate) snapshot: Document,
    /// The newest signed time that was believed.
    #[serde(default)]
    pub(crate) floor: u64,
    /// Where the coordinator is.
    pub(crate) coordinator: Reach,
    /// Agents by the coordinator's directory.
    pub(crate) agents: Vec<AgentInfo>,
    /// The key that an agent's name stood for when this device first used it.
    #[serde(default)]
    pub(crate) pins: BTreeMap<String, Text<NodeId>>,
    /// Where agents answered last, tried first.
    #[serde(default)]
    pub(crate) last_addresses: BTreeMap<Text<NodeId>, SocketAddr>,
}

impl NetworkFile {
    pub(crate) fn load(dir: &DataDir) -> anyhow::Result<Option<Self>> {
        let path = dir.device().join("network");
        let Some(bytes) = files::read(&path)? else {
            return Ok(None);
        };
        let file = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(&format!("{}: {error}", path.display())))?;
        Ok(Some(file))
    }

    pub(crate) fn save(&self, dir: &DataDir) -> anyhow::Result<()> {
        files::write(
            &dir.device().join("network"),
            &serde_json::to_vec_pretty(self)?,
        )
    }

    /// The trust state that the documents make.
    pub(crate) fn trust_state(&self) -> anyhow::Result<TrustState> {
        let chain = RootChain::from_chain(&self.root_chain, None)
            .map_err(|error| damaged(&format!("its root documents: {error}")))?;
        let mut state = TrustState::new(chain);
        match state.apply(self.snapshot.as_ref()) {
            // Signed in an older root epoch; the coordinator has the log of this one.
            Err(LogError::UnknownSigner { .. }) if self.root_chain.len() > 1 => {}
            applied => {
                applied.map_err(|error| damaged(&format!("its revocation log: {error}")))?;
            }
        }
        Ok(state)
    }

    /// The agent that a name, a NodeId or nothing stands for. A name whose key has changed since its
    /// first use is refused: the coordinator may not hand a name on silently.
    pub(crate) fn find(&self, selector: Option<&str>) -> anyhow::Result<Option<AgentInfo>> {
        let found = match selector {
            None => match self.agents.as_slice() {
                [] => None,
                [only] => Some(only),
                several => {
                    let names: Vec<&str> =
                        several.iter().map(|agent| agent.agent.as_str()).collect();
                    return Err(Failure::new(
                        "several_agents",
                        format!("this network has several agents: {}", names.join(", ")),
                        "say which one: its name or its NodeId",
                    )
                    .into());
                }
            },
            Some(text) => match text.parse::<NodeId>() {
                Ok(node_id) => self
                    .agents
                    .iter()
                    .find(|agent| agent.reach.node_id == node_id),
                Err(_) => self.agents.iter().find(|agent| agent.agent == text),
            },
        };
        let Some(found) = found else { return Ok(None) };
        if let Some(Text(pinned)) = self.pins.get(&found.agent)
            && *pinned != found.reach.node_id
            && selector.is_none_or(|text| text == found.agent)
        {
            return Err(Failure::new(
                "name_changed",
                format!(
                    "the agent {} was {pinned} when this device first used it, and the coordinator now says {}",
                    found.agent, found.reach.node_id
                ),
                "ask the network's owner; if the change is right, dial the new NodeId once by its full text",
            )
            .into());
        }
        Ok(Some(self.with_last_address(found)))
    }

    /// The user has named this key in full: from now on its name stands for it.
    pub(crate) fn trust_name(&mut self, agent: NodeId) {
        let listed = self
            .agents
            .iter()
            .find(|known| known.reach.node_id == agent);
        if let Some(name) = listed.map(|known| known.agent.clone()) {
            self.pins.insert(name, Text(agent));
        }
    }

    /// Remembers where an agent answered, and which key its name stood for: the name by which the
    /// directory lists it, not the one that it gives itself.
    pub(crate) fn remember(&mut self, agent: NodeId, address: Option<SocketAddr>) {
        let listed = self
            .agents
            .iter()
            .find(|known| known.reach.node_id == agent);
        if let Some(name) = listed.map(|known| known.agent.clone()) {
            self.pins.entry(name).or_insert(Text(agent));
        }
        if let Some(address) = address {
            self.last_addresses.insert(Text(agent), address);
        }
    }

    fn with_last_address(&self, agent: &AgentInfo) -> AgentInfo {
        let mut agent = agent.clone();
        if let Some(last) = self.last_addresses.get(&Text(agent.reach.node_id)) {
            agent.reach.addresses.retain(|address| address != last);
            agent.reach.addresses.insert(0, *last);
            agent.reach.addresses.truncate(MAX_ADDRESSES);
        }
        agent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, key: u8) -> AgentInfo {
        let reach = Reach {
            node_id: NodeId::from([key; 32]),
            relay: None,
            addresses: Vec::new(),
        };
        AgentInfo {
            agent: name.to_owned(),
            reach,
            online: true,
        }
    }

    fn network(agents: Vec<AgentInfo>) -> NetworkFile {
        NetworkFile {
            device: "laptop".to_owned(),
            root_chain: Vec::new(),
            snapshot: Document::default(),
            floor: 0,
            coordinator: agent("coordinator", 9).reach,
            agents,
            pins: BTreeMap::new(),
            last_addresses: BTreeMap::new(),
        }
    }

    #[test]
    fn a_name_whose_key_the_coordinator_has_changed_is_refused_with_both_keys() {
        let mut network = network(vec![agent("home", 1)]);
        network.remember(NodeId::from([1; 32]), None);
        assert!(network.find(Some("home")).unwrap().is_some());
        network.agents = vec![agent("home", 2)];
        let error = network.find(Some("home")).unwrap_err().to_string();
        assert!(
            error.contains(&"01".repeat(32)) && error.contains(&"02".repeat(32)),
            "{error}"
        );
        assert!(network.find(None).is_err());
        let by_key = network.find(Some(&"02".repeat(32))).unwrap().unwrap();
        assert_eq!(by_key.reach.node_id, NodeId::from([2; 32]));
        // Dialed by its full key on purpose: the name is believed again.
        network.trust_name(NodeId::from([2; 32]));
        assert_eq!(
            network.find(Some("home")).unwrap().unwrap().reach.node_id,
            NodeId::from([2; 32])
        );
    }

    #[test]
    fn without_a_name_the_only_agent_is_meant_and_never_one_of_several() {
        assert_eq!(
            network(vec![agent("home", 1)])
                .find(None)
                .unwrap()
                .unwrap()
                .agent,
            "home"
        );
        assert!(
            network(vec![agent("a", 1), agent("b", 2)])
                .find(None)
                .is_err()
        );
        assert!(network(Vec::new()).find(None).unwrap().is_none());
    }

    #[test]
    fn the_address_that_answered_last_is_tried_first_and_the_file_reads_back() {
        let mut network = network(vec![agent("home", 1)]);
        let address: SocketAddr = "192.0.2.1:7071".parse().unwrap();
        network.remember(NodeId::from([1; 32]), Some(address));
        assert_eq!(
            network.find(None).unwrap().unwrap().reach.addresses,
            [address]
        );
        let json = serde_json::to_vec(&network).unwrap();
        assert_eq!(
            serde_json::from_slice::<NetworkFile>(&json).unwrap(),
            network
        );
    }
}
