//! `homing dial`: a connection of its own, and a report of what happened.

use homing_certs::{NodeId, ReasonCode};
use homing_protocol::local::DialReport;
use homing_transport::dial::{AgentConnection, DialError, dial_agent};
use homing_transport::pool::Home;

use super::Device;
use crate::failure::Failure;

impl Device {
    /// Dials an agent by name or NodeId. A certificate that has ended is renewed once on the way.
    pub(crate) async fn dial(&self, selector: Option<&str>) -> anyhow::Result<DialReport> {
        let agent = self.find_agent(selector).await?;
        let mut report = DialReport {
            node_id: agent.reach.node_id.to_string(),
            agent: Some(agent.agent.clone()),
            version: None,
            path: None,
            rtt_ms: None,
            certificate: "ok".to_owned(),
            remote_addr: None,
            error: None,
        };
        let mut dialed = dial_agent(&self.endpoint, &agent.reach, &self.credentials).await;
        dialed = match dialed {
            Err(error) if error.wants_renewal() => match self.renew().await {
                Ok(()) => dial_agent(&self.endpoint, &agent.reach, &self.credentials).await,
                Err(_) => Err(error),
            },
            Err(DialError::Unreachable { node_id, source }) => match self.locate(node_id).await {
                Ok(Some(reach)) if reach != agent.reach => {
                    dial_agent(&self.endpoint, &reach, &self.credentials).await
                }
                // The coordinator knows better than an address that is silent.
                Err(refused @ DialError::Refused { .. }) => Err(refused),
                _ => Err(DialError::Unreachable { node_id, source }),
            },
            dialed => dialed,
        };
        match dialed {
            Ok(live) => {
                self.describe(&mut report, &live);
                if let Some(Ok(named)) = selector.map(str::parse::<NodeId>) {
                    self.trust_name(named);
                }
                live.connection.close_done();
            }
            Err(error) => {
                if let DialError::Refused { reason, .. } = &error {
                    report.certificate = reason.as_str().to_owned();
                } else if matches!(error, DialError::SelfRevoked) {
                    report.certificate = ReasonCode::Revoked.as_str().to_owned();
                }
                report.error = Some(error.body());
            }
        }
        Ok(report)
    }

    fn describe(&self, report: &mut DialReport, live: &AgentConnection) {
        report.agent = Some(live.agent.agent.clone());
        report.version = Some(live.agent.program.clone());
        let path = live.connection.path();
        if let Some(path) = &path {
            report.path = Some(path.kind.as_str().to_owned());
            report.rtt_ms = Some(path.rtt.as_secs_f64() * 1_000.0);
            report.remote_addr = Some(path.remote.clone());
        }
        self.reached(live.connection.peer(), path);
    }
}

/// The failure that a report stands for, if it stands for one.
pub(crate) fn failure(report: &DialReport) -> Option<Failure> {
    report.error.clone().map(Failure)
}
