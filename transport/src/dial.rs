//! Dialing an agent: the client's side of admission.

use std::time::Duration;

use homing_certs::{CertificateError, NodeId, ReasonCode, Role};
use homing_protocol::ErrorBody;
use homing_protocol::alpn;
use homing_protocol::close::{self, AfterClose};
use homing_protocol::gateway::{HelloOk, Reach};

use crate::connection::{Closed, Connection};
use crate::credentials::Credentials;
use crate::endpoint::{ConnectError, Endpoint};
use crate::frames::{FrameIoError, FrameStream};

/// From the first packet to the end of the handshake.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// From the Hello to the verdict.
pub const VERDICT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a close reason may trail behind a failed stream.
const CLOSE_REASON_WAIT: Duration = Duration::from_millis(500);

/// A connection that an agent has admitted, and whose agent we have admitted.
#[derive(Debug)]
pub struct AgentConnection {
    /// The connection.
    pub connection: Connection,
    /// What the agent said of itself.
    pub agent: HelloOk,
    /// Stream 0, for pings, renewals and notices.
    pub control: FrameStream,
}

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No connection came about.
    #[error("{} could not be reached", .node_id.short())]
    Unreachable {
        /// Who was dialed.
        node_id: NodeId,
        /// The cause.
        #[source]
        source: ConnectError,
    },
    /// The other side refused this device.
    #[error("refused: {}", .reason.as_str())]
    Refused {
        /// Why.
        reason: ReasonCode,
        /// Whether a signed log entry proved it, where there is one to prove.
        proved: bool,
    },
    /// This device is revoked, by a signed entry that it holds itself.
    #[error("this device is revoked")]
    SelfRevoked,
    /// The connection ended before the verdict.
    #[error("the connection ended before the verdict ({0})")]
    Ended(String),
    /// The agent's answer was not understood.
    #[error("the agent's answer was not understood")]
    Protocol(#[source] FrameIoError),
    /// The agent's own certificate is not good.
    #[error("the agent's certificate was refused")]
    AgentCertificate(#[source] CertificateError),
    /// The key that answered is enrolled, but not as an agent.
    #[error("{} is enrolled as {role}, not as an agent", .node_id.short())]
    NotAnAgent {
        /// Who was dialed.
        node_id: NodeId,
        /// What it is.
        role: Role,
    },
    /// The agent is itself revoked.
    #[error("{} is revoked; this device does not dial it", .0.short())]
    AgentRevoked(NodeId),
}

impl DialError {
    /// What to do about it.
    #[must_use]
    pub fn after(&self) -> AfterClose {
        match self {
            // Believed only with proof; without one it may be a lie, so it is tried again.
            Self::Refused {
                reason: ReasonCode::Revoked,
                proved: false,
            } => AfterClose::Retry,
            Self::Refused { reason, .. } => close::after(*reason),
            Self::Unreachable { .. } | Self::Ended(_) => AfterClose::Retry,
            // In a new root epoch the agent needs a moment to renew its own.
            Self::AgentCertificate(error) if error.code() == ReasonCode::UnknownSigner => {
                AfterClose::Retry
            }
            // A clock that is put right makes it good.
            Self::AgentCertificate(error) if is_of_time(error) => AfterClose::Retry,
            _ => AfterClose::Stop,
        }
    }

    /// Whether asking the coordinator helps: for a new certificate, or for root documents that one
    /// of the two sides does not have.
    #[must_use]
    pub fn wants_renewal(&self) -> bool {
        match self {
            Self::Refused { reason, .. } => {
                matches!(reason, ReasonCode::CertExpired | ReasonCode::UnknownSigner)
            }
            Self::AgentCertificate(error) => error.code() == ReasonCode::UnknownSigner,
            _ => false,
        }
    }

    /// Code, sentence and next step.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        let (code, hint) = match self {
            Self::Unreachable { .. } => ("not_reachable", NOT_REACHABLE_HINT),
            Self::Ended(_) => ("not_reachable", NOT_REACHABLE_HINT),
            Self::Refused { reason, .. } => (reason.as_str(), refusal_hint(*reason)),
            Self::SelfRevoked => (
                ReasonCode::Revoked.as_str(),
                refusal_hint(ReasonCode::Revoked),
            ),
            Self::Protocol(_) => (
                "protocol",
                "check that both sides run the same version: homing --version",
            ),
            Self::AgentCertificate(error) if is_of_time(error) => (
                "agent_certificate",
                "check the clock of this device; if it is right, ask the network's owner",
            ),
            Self::AgentCertificate(_) | Self::NotAnAgent { .. } => (
                "agent_certificate",
                "ask the network's owner: homing agents lists the agents",
            ),
            Self::AgentRevoked(_) => (
                "agent_revoked",
                "ask the network's owner which agent to use",
            ),
        };
        let mut message = self.to_string();
        if let Some(source) = std::error::Error::source(self) {
            message = format!("{message}: {source}");
        }
        ErrorBody::new(code, message, hint)
    }
}

fn is_of_time(error: &CertificateError) -> bool {
    matches!(
        error.code(),
        ReasonCode::CertExpired | ReasonCode::CertNotYetValid
    )
}

const NOT_REACHABLE_HINT: &str = "check that the agent runs (homing status on its host) and that both sides share a network or a relay";

/// The next step for somebody whose device was refused.
#[must_use]
pub fn refusal_hint(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::Revoked => {
            "ask the network's owner for a new invitation: homing invite, then homing join here"
        }
        ReasonCode::CertExpired => {
            "the certificate could not be renewed; check that the coordinator runs"
        }
        ReasonCode::CertNotYetValid => "check the clocks of this device and of the agent's host",
        ReasonCode::UpgradeRequired => "update the older of the two programs: homing --version",
        ReasonCode::Busy => "close some connections of this device and try again",
        ReasonCode::StalePolicy => {
            "the agent has not heard from its coordinator; check that it runs"
        }
        ReasonCode::WrongNetwork | ReasonCode::UnknownSigner => {
            "this device belongs to another network; join this one with a ticket of its owner"
        }
        ReasonCode::Draining => "the agent is restarting; try again in a moment",
        ReasonCode::Forbidden => "ask the network's owner for the right",
        ReasonCode::CertMissing | ReasonCode::CertInvalid | ReasonCode::WrongKey => {
            "join the network again with a new ticket: homing join"
        }
    }
}

/// Dials an agent and waits for both verdicts: its on us, ours on it.
///
/// # Errors
/// [`DialError`].
pub async fn dial_agent(
    endpoint: &Endpoint,
    agent: &Reach,
    credentials: &Credentials,
) -> Result<AgentConnection, DialError> {
    let trust = credentials.trust();
    if trust.is_revoked(&endpoint.id()) {
        return Err(DialError::SelfRevoked);
    }
    if trust.is_revoked(&agent.node_id) {
        return Err(DialError::AgentRevoked(agent.node_id));
    }
    let connection = endpoint
        .connect(agent, alpn::GATEWAY, CONNECT_DEADLINE)
        .await
        .map_err(|source| DialError::Unreachable {
            node_id: agent.node_id,
            source,
        })?;
    let (hello_ok, control) = introduce(&connection, endpoint.id(), credentials).await?;
    check_agent(&hello_ok, agent.node_id, credentials).inspect_err(|_| connection.close_done())?;
    Ok(AgentConnection {
        connection,
        agent: hello_ok,
        control,
    })
}

/// Sends the Hello on a new stream 0 and waits for the verdict.
///
/// # Errors
/// [`DialError`]; a refusal's proof has been verified.
pub async fn introduce(
    connection: &Connection,
    own: NodeId,
    credentials: &Credentials,
) -> Result<(HelloOk, FrameStream), DialError> {
    let exchange = async {
        let mut control = connection
            .open_frames()
            .await
            .map_err(|error| error.to_string())?;
        control
            .send(&credentials.hello())
            .await
            .map_err(|error| error.to_string())?;
        Ok::<_, String>((
            control.recv_within::<HelloOk>(VERDICT_DEADLINE).await,
            control,
        ))
    };
    let text = match exchange.await {
        Ok((Ok(hello_ok), control)) => return Ok((hello_ok, control)),
        Ok((Err(error @ (FrameIoError::Frame(_) | FrameIoError::Truncated)), _)) => {
            connection.close_done();
            return Err(DialError::Protocol(error));
        }
        Ok((Err(error), _)) => error.to_string(),
        Err(text) => text,
    };
    // The stream fails first; the reason is in the connection's close frame.
    match tokio::time::timeout(CLOSE_REASON_WAIT, connection.closed()).await {
        Ok(closed) => Err(refusal(closed, own, credentials)),
        Err(_) => {
            connection.close_done();
            Err(DialError::Ended(text))
        }
    }
}

/// What a close means for this device. A proof of its own revocation is verified here.
#[must_use]
pub fn refusal(closed: Closed, own: NodeId, credentials: &Credentials) -> DialError {
    let Some(reason) = closed.reason else {
        return DialError::Ended(closed.text);
    };
    let proved = closed.proof.is_some_and(|proof| {
        let state = credentials.trust().state();
        state.verify_revocation_proof(&own, &proof).is_ok()
    });
    DialError::Refused { reason, proved }
}

fn check_agent(
    hello: &HelloOk,
    dialed: NodeId,
    credentials: &Credentials,
) -> Result<(), DialError> {
    let trust = credentials.trust();
    let certificate = trust
        .verify_certificate(hello.certificate.as_ref())
        .map_err(DialError::AgentCertificate)?;
    trust
        .check(&certificate, &dialed)
        .map_err(DialError::AgentCertificate)?;
    let role = certificate.certificate().role;
    if role != Role::Agent {
        return Err(DialError::NotAnAgent {
            node_id: dialed,
            role,
        });
    }
    Ok(())
}
