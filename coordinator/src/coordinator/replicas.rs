//! Which agents follow the log, and how far each has acknowledged it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use homing_certs::{LogHead, NodeId};
use homing_protocol::control::AgentAck;
use tokio::sync::watch;

/// The map, by the agent's key.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    agents: Mutex<HashMap<NodeId, Replica>>,
}

#[derive(Debug)]
struct Replica {
    acknowledged: watch::Sender<Option<Acknowledged>>,
    streams: usize,
}

/// A position that an agent enforces and has on disk.
#[derive(Debug, Clone, Copy)]
struct Acknowledged {
    head: LogHead,
    at: Instant,
}

/// An agent's open log stream; dropping it says that it is gone.
#[derive(Debug)]
pub(crate) struct Following<'r> {
    replicas: &'r Replicas,
    node_id: NodeId,
}

impl Replicas {
    pub(crate) fn follow(&self, node_id: NodeId) -> Following<'_> {
        let mut agents = self.lock();
        let replica = agents.entry(node_id).or_insert_with(|| Replica {
            acknowledged: watch::Sender::new(None),
            streams: 0,
        });
        replica.streams += 1;
        Following {
            replicas: self,
            node_id,
        }
    }

    pub(crate) fn online(&self) -> Vec<NodeId> {
        self.lock().keys().copied().collect()
    }

    pub(crate) fn is_online(&self, node_id: &NodeId) -> bool {
        self.lock().contains_key(node_id)
    }

    /// Waits until the agents that are online enforce `head`, at most `limit`. Those that are not
    /// get the entry before they admit anybody, so nobody waits for them.
    pub(crate) async fn confirmations(
        &self,
        agents: Vec<(NodeId, String)>,
        head: LogHead,
        committed: Instant,
        limit: Duration,
    ) -> Vec<AgentAck> {
        let waits = agents.into_iter().map(|(node_id, agent)| {
            let watched = self
                .lock()
                .get(&node_id)
                .map(|replica| replica.acknowledged.subscribe());
            async move {
                let Some(mut watched) = watched else {
                    return AgentAck {
                        agent,
                        confirmed: false,
                        ms: None,
                    };
                };
                let enforces =
                    |seen: &Option<Acknowledged>| seen.is_some_and(|seen| seen.covers(head));
                let at = match tokio::time::timeout(limit, watched.wait_for(enforces)).await {
                    Ok(Ok(seen)) => seen.map(|seen| seen.at),
                    // Too slow, or gone meanwhile.
                    Ok(Err(_)) | Err(_) => None,
                };
                let ms = at.map(|at| at.saturating_duration_since(committed).as_millis());
                let ms = ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
                AgentAck {
                    agent,
                    confirmed: at.is_some(),
                    ms,
                }
            }
        });
        join_all(waits).await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Replica>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acknowledged {
    fn covers(&self, head: LogHead) -> bool {
        (self.head.root_epoch, self.head.seq) >= (head.root_epoch, head.seq)
    }
}

impl Following<'_> {
    /// The agent enforces everything up to `head`.
    pub(crate) fn acknowledge(&self, head: LogHead) {
        let agents = self.replicas.lock();
        let Some(replica) = agents.get(&self.node_id) else {
            return;
        };
        let news = Acknowledged {
            head,
            at: Instant::now(),
        };
        replica.acknowledged.send_if_modified(|known| {
            // The first time counts: a repeated acknowledgement must not look slower.
            let later = known.is_none_or(|known| !known.covers(head));
            if later {
                *known = Some(news);
            }
            later
        });
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        let mut agents = self.replicas.lock();
        if let Some(replica) = agents.get_mut(&self.node_id) {
            replica.streams = replica.streams.saturating_sub(1);
            if replica.streams == 0 {
                agents.remove(&self.node_id);
            }
        }
    }
}
