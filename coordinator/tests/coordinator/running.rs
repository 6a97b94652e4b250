//! A coordinator that serves on loopback, and raw peers that talk to it.

use std::sync::Arc;
use std::time::Duration;

use homing_certs::{LogHash, LogHead, NodeId, Role, SigningKey, Ticket, TrustState};
use homing_coordinator::authority::{EnrolledDevice, owner_scopes};
use homing_coordinator::{ALPNS, Coordinator, CoordinatorConfig, CoordinatorHandle, Moment};
use homing_protocol::control::{ControlReply, ControlRequest, InvitationInfo, InviteRequest};
use homing_protocol::gateway::{Head, Hello, Reach};
use homing_protocol::revocations::{AgentMessage, LogMessage};
use homing_protocol::{alpn, frame, version};
use homing_transport::credentials::Credentials;
use homing_transport::server::Ended;
use homing_transport::{
    Connection, Endpoint, EndpointConfig, FrameStream, Relay, ServerLimits, Trust,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Net, key, node, scopes};

/// Long enough for a busy machine; every wait in these tests is for an event.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Running {
    pub(crate) handle: CoordinatorHandle,
    pub(crate) reach: Reach,
    /// What the network's members trust before they have seen the log.
    pub(crate) trust: TrustState,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Ended>,
    pub(crate) endpoint: Endpoint,
    pub(crate) root: tempfile::TempDir,
}

/// A raw agent: it follows the log and says what the test tells it to say.
pub(crate) struct RawAgent {
    pub(crate) connection: Connection,
    pub(crate) stream: FrameStream,
    pub(crate) state: TrustState,
    _endpoint: Endpoint,
}

pub(crate) async fn endpoint(key: SigningKey, alpns: &[&[u8]]) -> Endpoint {
    let alpns = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    let bind = "127.0.0.1:0".parse().unwrap();
    Endpoint::bind(EndpointConfig {
        key,
        alpns,
        bind,
        relay: Relay::None,
    })
    .await
    .unwrap()
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .expect("it did not happen in time")
}

/// A network of now, with the owner's admin device 1.
pub(crate) fn network() -> Net {
    let now = Moment::system();
    let mut net = Net::made_at(now);
    net.authority
        .enrol_local(node(1), "laptop", Role::Admin, &owner_scopes(), None, now)
        .unwrap();
    net
}

/// An agent with a row, as `up` makes it.
pub(crate) fn add_agent(net: &mut Net, n: u16, name: &str) {
    let now = Moment::system();
    net.authority
        .enrol_local(
            node(n),
            name,
            Role::Agent,
            &scopes(&["devices.revoke"]),
            None,
            now,
        )
        .unwrap();
}

impl Running {
    pub(crate) async fn start(net: Net) -> Self {
        let Net { root, authority } = net;
        let trust = TrustState::new(authority.chain().clone());
        let endpoint = endpoint(authority.endpoint_key(), &ALPNS).await;
        let mut config = CoordinatorConfig::new(endpoint.clone(), authority);
        config.limits = ServerLimits {
            burst_per_address: 1_000,
            ..ServerLimits::default()
        };
        let coordinator = Coordinator::bind(config).unwrap();
        let handle = coordinator.handle();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(coordinator.run(shutdown.clone()));
        Self {
            reach: endpoint.reach(),
            handle,
            trust,
            shutdown,
            task,
            endpoint,
            root,
        }
    }

    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.shutdown.cancel();
        assert_eq!(soon(self.task).await.unwrap(), Ended::Shutdown);
        self.endpoint.close().await;
        self.root
    }

    pub(crate) async fn invite(&self, request: InviteRequest) -> (InvitationInfo, Ticket) {
        match self.handle.request(ControlRequest::Invite(request)).await {
            ControlReply::Invited(info) => {
                let ticket = Ticket::decode(&info.ticket).unwrap();
                (*info, ticket)
            }
            other => panic!("an invitation was expected, this is {other:?}"),
        }
    }

    /// What a member of the network holds.
    pub(crate) fn credentials(&self, enrolled: &EnrolledDevice) -> Arc<Credentials> {
        let verified = self
            .trust
            .verify_certificate(&enrolled.certificate)
            .unwrap();
        let floor = Moment::system().wall;
        let trust = Arc::new(Trust::new(self.trust.clone(), floor));
        Arc::new(Credentials::new(verified, trust, "test".to_owned()))
    }

    /// Opens a connection and says Hello, without waiting for an answer.
    pub(crate) async fn greet(
        &self,
        n: u16,
        alpn: &[u8],
        head: Option<Head>,
    ) -> (Endpoint, Connection, FrameStream) {
        let endpoint = endpoint(key(n), &[]).await;
        let connection = soon(endpoint.connect(&self.reach, alpn, SOON))
            .await
            .unwrap();
        let stream = connection.open_frames().await.unwrap();
        let mut stream = stream.with_limit(frame::MAX_SNAPSHOT_FRAME);
        stream.send(&hello(head)).await.unwrap();
        (endpoint, connection, stream)
    }

    pub(crate) async fn agent(&self, n: u16, state: TrustState) -> RawAgent {
        let head = Some(Head::from(state.head()));
        let (endpoint, connection, stream) = self.greet(n, alpn::REVOCATIONS, head).await;
        RawAgent {
            connection,
            stream,
            state,
            _endpoint: endpoint,
        }
    }
}

impl RawAgent {
    pub(crate) async fn next(&mut self) -> LogMessage {
        soon(self.stream.recv())
            .await
            .unwrap()
            .expect("the stream ended")
    }

    /// Takes documents until a heartbeat has said that there are no more.
    pub(crate) async fn settle(&mut self) {
        loop {
            match self.next().await {
                LogMessage::Delta { document } | LogMessage::Snapshot { document } => {
                    self.state.apply(document.as_ref()).unwrap();
                }
                LogMessage::Heartbeat { document } => {
                    self.state.apply(document.as_ref()).unwrap();
                    return;
                }
                other => panic!("a log document was expected, this is {other:?}"),
            }
        }
    }

    /// The next delta, applied; heartbeats in between are applied too.
    pub(crate) async fn delta(&mut self) {
        loop {
            match self.next().await {
                LogMessage::Delta { document } => {
                    self.state.apply(document.as_ref()).unwrap();
                    return;
                }
                LogMessage::Heartbeat { document } => {
                    self.state.apply(document.as_ref()).unwrap();
                }
                other => panic!("a delta was expected, this is {other:?}"),
            }
        }
    }

    /// Acknowledges the next delta and applies it then: without optimisation fifty signatures take
    /// longer to verify than the coordinator waits.
    pub(crate) async fn confirm_delta(&mut self) {
        let document = loop {
            match self.next().await {
                LogMessage::Delta { document } => break document,
                LogMessage::Heartbeat { .. } => {}
                other => panic!("a delta was expected, this is {other:?}"),
            }
        };
        let delta = homing_certs::Delta::decode_unverified(document.as_ref()).unwrap();
        let hash = homing_certs::delta_hash(document.as_ref());
        let head = LogHead {
            root_epoch: delta.root_epoch,
            seq: delta.seq,
            hash,
        };
        self.stream
            .send(&AgentMessage::Ack { head: head.into() })
            .await
            .unwrap();
        self.state.apply(document.as_ref()).unwrap();
    }

    pub(crate) async fn acknowledge(&mut self) {
        let head = Head::from(self.state.head());
        self.stream.send(&AgentMessage::Ack { head }).await.unwrap();
    }
}

pub(crate) fn hello(log_head: Option<Head>) -> Hello {
    Hello {
        versions: version::SPOKEN.to_vec(),
        certificate: None,
        root_epoch: 1,
        log_head,
        program: "test".to_owned(),
    }
}

pub(crate) fn invented_head(seq: u64) -> LogHead {
    LogHead {
        root_epoch: 1,
        seq,
        hash: LogHash::from([7; 32]),
    }
}

pub(crate) fn row_of<'l>(
    list: &'l ControlReply,
    node_id: &NodeId,
) -> &'l homing_protocol::control::DeviceInfo {
    let ControlReply::Devices(list) = list else {
        panic!("{list:?}")
    };
    list.iter()
        .find(|row| row.node_id == *node_id)
        .expect("the device is not listed")
}
