//! Redeeming a ticket: the device's side of `homing/enroll/1`.

use std::time::Duration;

use homing_certs::{
    CertificateError, LogError, RootChain, RootError, Ticket, TrustState, VerifiedCertificate,
    check_code,
};
use homing_protocol::enroll::{EnrollReply, EnrollRequest, Enrollment};
use homing_protocol::gateway::Reach;
use homing_protocol::{Document, ErrorBody, alpn, version};

use crate::clock::wall_clock;
use crate::connection::Connection;
use crate::endpoint::{ConnectError, Endpoint};
use crate::frames::{FrameIoError, FrameStream};

/// From the first packet to the end of the handshake.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// From the request to the first answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What the device says of itself.
#[derive(Debug, Clone, Default)]
pub struct Introduction {
    /// Name that it would like.
    pub name: Option<String>,
    /// Operating system.
    pub platform: Option<String>,
    /// Where it can be dialed; agents only.
    pub reach: Option<Reach>,
}

/// Why a ticket was not redeemed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// The coordinator could not be reached.
    #[error("the coordinator of the ticket could not be reached")]
    Unreachable(#[source] ConnectError),
    /// The coordinator refused.
    #[error("{}", .0.message)]
    Refused(ErrorBody),
    /// The conversation failed.
    #[error("the conversation with the coordinator failed")]
    Conversation(#[source] FrameIoError),
    /// The connection ended.
    #[error("the connection to the coordinator ended ({0})")]
    Ended(String),
    /// The root documents are not those of the ticket's network.
    #[error("the coordinator's root document is not that of the ticket's network")]
    Root(#[source] RootError),
    /// The snapshot of the revocation log is not good.
    #[error("the coordinator's revocation log was refused")]
    Log(#[source] LogError),
    /// The certificate is not good for this key.
    #[error("the coordinator's certificate was refused")]
    Certificate(#[source] CertificateError),
}

/// A conversation about one ticket.
#[derive(Debug)]
pub struct Enrolling {
    connection: Connection,
    stream: FrameStream,
    ticket: Ticket,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// Enrolled; everything has been verified against the ticket's network id.
    Enrolled(Box<Enrolled>),
    /// Somebody must approve with this code; wait again.
    Pending {
        /// To be compared or typed where the approval is given. Computed here, not believed.
        check_code: String,
    },
}

/// A verified enrolment.
#[derive(Debug)]
pub struct Enrolled {
    /// As received.
    pub enrollment: Enrollment,
    /// The trust state that it makes.
    pub trust: TrustState,
    /// The device's certificate.
    pub certificate: VerifiedCertificate,
}

impl Enrolling {
    /// Dials the ticket's coordinator and asks.
    ///
    /// # Errors
    /// [`EnrollError`].
    pub async fn start(
        endpoint: &Endpoint,
        ticket: Ticket,
        introduction: Introduction,
    ) -> Result<Self, EnrollError> {
        let coordinator = Reach {
            node_id: ticket.coordinator,
            relay: ticket.relay.clone(),
            addresses: ticket.addresses.clone(),
        };
        let connection = endpoint
            .connect(&coordinator, alpn::ENROLL, CONNECT_DEADLINE)
            .await
            .map_err(EnrollError::Unreachable)?;
        let mut stream = connection
            .open_frames()
            .await
            .map_err(|error| EnrollError::Ended(error.to_string()))?
            .with_limit(homing_protocol::frame::MAX_SNAPSHOT_FRAME);
        let request = EnrollRequest {
            versions: version::SPOKEN.to_vec(),
            invite_id: ticket.invite_id,
            secret: Document::from(&ticket.secret.expose()[..]),
            name: introduction.name,
            platform: introduction.platform,
            reach: introduction.reach,
        };
        stream
            .send(&request)
            .await
            .map_err(EnrollError::Conversation)?;
        Ok(Self {
            connection,
            stream,
            ticket,
        })
    }

    /// Waits for the next answer: bounded for the first, for as long as the coordinator keeps the
    /// conversation open after `Pending`.
    ///
    /// # Errors
    /// [`EnrollError`].
    pub async fn answer(
        &mut self,
        own: &Endpoint,
        was_pending: bool,
    ) -> Result<Outcome, EnrollError> {
        let reply = if was_pending {
            match self.stream.recv().await {
                Ok(Some(reply)) => Ok(reply),
                Ok(None) => Err(FrameIoError::Ended),
                Err(error) => Err(error),
            }
        } else {
            self.stream.recv_within(ANSWER_DEADLINE).await
        };
        match reply.map_err(EnrollError::Conversation)? {
            EnrollReply::Pending { .. } => Ok(Outcome::Pending {
                check_code: check_code(
                    self.ticket.network_id,
                    self.ticket.invite_id,
                    own.id(),
                    self.ticket.coordinator,
                ),
            }),
            EnrollReply::Refused { error } => {
                self.connection.close_done();
                Err(EnrollError::Refused(error))
            }
            EnrollReply::Enrolled(enrollment) => {
                self.connection.close_done();
                self.verify(*enrollment, own)
                    .map(|enrolled| Outcome::Enrolled(Box::new(enrolled)))
            }
        }
    }

    fn verify(&self, enrollment: Enrollment, own: &Endpoint) -> Result<Enrolled, EnrollError> {
        let chain = RootChain::from_chain(&enrollment.root_chain, Some(self.ticket.network_id))
            .map_err(EnrollError::Root)?;
        let mut trust = TrustState::new(chain);
        trust
            .apply(enrollment.snapshot.as_ref())
            .map_err(EnrollError::Log)?;
        let certificate = trust
            .verify_certificate(enrollment.certificate.as_ref())
            .map_err(EnrollError::Certificate)?;
        // The signer has just said what time it is.
        let now = wall_clock()
            .max(trust.newest_signed_time())
            .max(certificate.certificate().issued_at);
        trust
            .check(&certificate, &own.id(), now)
            .map_err(EnrollError::Certificate)?;
        Ok(Enrolled {
            enrollment,
            trust,
            certificate,
        })
    }
}
