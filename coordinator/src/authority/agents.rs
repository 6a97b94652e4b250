//! The directory: the agents of the network and where they said that they are.

use homing_certs::{NodeId, Role};
use homing_protocol::control::AgentInfo;
use homing_protocol::enroll::Enrollment;
use homing_protocol::gateway::{MAX_ADDRESSES, Reach};
use homing_protocol::{Document, control::DeviceStatus};
use rusqlite::{OptionalExtension, params};

use super::Authority;
use super::database::int;
use super::devices::{DeviceRow, active, actor, all};
use super::redemption::EnrolledDevice;
use super::refusal::{AuthorityError, Refusal};
use super::rights::Caller;
use crate::moment::Moment;

/// Longest relay URL that is kept, in bytes.
const MAX_RELAY_LEN: usize = 255;

impl Authority {
    /// The active agents of the network, by name. Every member may know them. Whether they are
    /// online is not known here.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn agents(&self, caller: Caller) -> Result<Vec<AgentInfo>, AuthorityError> {
        actor(&self.db, caller)?;
        self.list_agents()
    }

    /// The row of an agent's key: its name, when it is an agent that may act.
    ///
    /// # Errors
    /// [`Refusal`] for any other key.
    pub fn agent_name(&self, node_id: &NodeId) -> Result<String, AuthorityError> {
        let row = active(&self.db, node_id)?;
        if row.role == Role::Agent {
            return Ok(row.name);
        }
        Err(Refusal::Forbidden {
            what: format!(
                "the log stream is for agents, this is a device of role {}",
                row.role
            ),
            hint: "invite it with --role agent".to_owned(),
        }
        .into())
    }

    /// The name of a key that may act.
    ///
    /// # Errors
    /// [`Refusal`] for any other key.
    pub fn member_name(&self, node_id: &NodeId) -> Result<String, AuthorityError> {
        Ok(active(&self.db, node_id)?.name)
    }

    /// Notes where an agent can be dialed; replaces what it said before.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn agent_moved(
        &mut self,
        node_id: NodeId,
        reach: &Reach,
        now: Moment,
    ) -> Result<(), AuthorityError> {
        self.agent_name(&node_id)?;
        let relay = reach.relay.clone().filter(|url| {
            url.len() <= MAX_RELAY_LEN && url.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let addresses = reach
            .addresses
            .iter()
            .copied()
            .take(MAX_ADDRESSES)
            .collect();
        // The key is the one that TLS proved, whatever the message says.
        let kept = Reach {
            node_id,
            relay,
            addresses,
        };
        let text = serde_json::to_string(&kept)
            .map_err(|_| AuthorityError::Corrupt { what: "address" })?;
        self.db
            .prepare_cached(
                "INSERT INTO agents (node_id, reach, updated_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (node_id) DO UPDATE SET reach = excluded.reach, updated_at = excluded.updated_at",
            )?
            .execute(params![node_id.as_bytes(), text, int(now.wall.0)])?;
        Ok(())
    }

    /// Everything that a device needs to know of its network.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn enrollment(
        &mut self,
        enrolled: EnrolledDevice,
        coordinator: Reach,
        now: Moment,
    ) -> Result<Enrollment, AuthorityError> {
        let snapshot = self.snapshot(now)?;
        Ok(Enrollment {
            root_chain: self.root_chain_after(0),
            certificate: Document(enrolled.certificate),
            device: enrolled.device.device,
            snapshot: Document(snapshot.to_vec()),
            coordinator,
            agents: self.list_agents()?,
        })
    }

    pub(crate) fn list_agents(&self) -> Result<Vec<AgentInfo>, AuthorityError> {
        let rows = all(&self.db)?;
        rows.iter()
            .filter(|row| is_agent(row))
            .map(|row| self.agent_info(row))
            .collect()
    }

    fn agent_info(&self, row: &DeviceRow) -> Result<AgentInfo, AuthorityError> {
        let text: Option<String> = self
            .db
            .prepare_cached("SELECT reach FROM agents WHERE node_id = ?1")?
            .query_row(params![row.node_id.as_bytes()], |row| row.get(0))
            .optional()?;
        let nowhere = || Reach {
            node_id: row.node_id,
            relay: None,
            addresses: Vec::new(),
        };
        let reach = text
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_else(nowhere);
        Ok(AgentInfo {
            agent: row.name.clone(),
            reach,
            online: false,
        })
    }
}

fn is_agent(row: &DeviceRow) -> bool {
    row.role == Role::Agent && row.status == DeviceStatus::Active
}
