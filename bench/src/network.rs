//! A network without a coordinator: root, signer and certificates made here, so that a thousand
//! devices cost nothing but their keys. Every process of a run makes the same one from its start time.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use homing_agent::{Agent, AgentConfig, AgentSettings};
use homing_certs::{
    DeviceCertificate, Handle, NodeId, Role, RootChain, RootDocument, Scopes, Serial, SignerRecord,
    SigningKey, TrustState, UnixTime, UserId,
};
use homing_protocol::gateway::Reach;
use homing_transport::credentials::Credentials;
use homing_transport::{Endpoint, EndpointConfig, Relay, ServerLimits, Trust};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const DAY: u64 = 86_400;
const ROOT: u32 = 1;
const SIGNER: u32 = 2;
const COORDINATOR: u32 = 3;
const AGENT: u32 = 4;
/// Devices are numbered from here.
const FIRST_DEVICE: u32 = 1_000;

/// Root, signer and the trust state that they make.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) signer: SigningKey,
    pub(crate) state: TrustState,
    pub(crate) now: UnixTime,
}

impl Network {
    pub(crate) fn new(now: UnixTime) -> Result<Self> {
        let (root, signer) = (key(ROOT), key(SIGNER));
        let genesis = RootDocument {
            network_id: None,
            epoch: 1,
            signers: vec![SignerRecord {
                key: node_id(&signer),
                not_before: now.saturating_sub(100 * DAY),
                not_after: now.saturating_add(3_000 * DAY),
            }],
            roots: vec![node_id(&root)],
            coordinators: vec![node_id(&key(COORDINATOR))],
        };
        let wire = genesis.sign(&[&root]).context("the root document")?;
        let chain = RootChain::from_genesis(&wire, None).context("the root document")?;
        Ok(Self {
            signer,
            state: TrustState::new(chain),
            now,
        })
    }

    /// A certificate of the device with this key.
    pub(crate) fn certificate(&self, device: &SigningKey, role: Role) -> Result<Vec<u8>> {
        let scopes: &[&str] = match role {
            Role::Agent => &["status.read"],
            _ => &["chat", "files", "status.read"],
        };
        let certificate = DeviceCertificate {
            network_id: self.state.network_id(),
            serial: Serial::from([7; 16]),
            device: node_id(device),
            user_id: UserId::from([1; 16]),
            handle: "owner".parse::<Handle>().context("a handle")?,
            role,
            scopes: Scopes::new(scopes.iter().copied())?,
            issued_at: self.now,
            not_before: self.now.saturating_sub(300),
            not_after: self.now.saturating_add(30 * DAY),
            generation: 1,
            root_epoch: 1,
        };
        certificate.sign(&self.signer).context("a certificate")
    }

    /// What the device shows at admission.
    pub(crate) fn credentials(&self, device: &SigningKey) -> Result<Credentials> {
        let certificate = self
            .state
            .verify_certificate(&self.certificate(device, Role::Client)?)?;
        let trust = Arc::new(Trust::new(self.state.clone(), UnixTime(0)));
        Ok(Credentials::new(certificate, trust, "bench".to_owned()))
    }
}

/// This machine's time.
pub(crate) fn wall_clock() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(since.unwrap_or_default().as_secs())
}

/// The key of a device of this network.
pub(crate) fn device(number: u32) -> SigningKey {
    key(FIRST_DEVICE + number)
}

pub(crate) fn node_id(key: &SigningKey) -> NodeId {
    NodeId::from(key.verifying_key().to_bytes())
}

/// An endpoint for dialing, on loopback.
pub(crate) async fn endpoint(key: SigningKey) -> Result<Endpoint> {
    let config = EndpointConfig {
        key,
        alpns: Vec::new(),
        bind: loopback(),
        relay: Relay::None,
    };
    Endpoint::bind(config)
        .await
        .context("binding a device's endpoint")
}

/// Serves the product's agent in this network; its coordinator never answers.
pub(crate) async fn serve_agent(dir: &Path, now: UnixTime) -> Result<()> {
    let network = Network::new(now)?;
    let key = key(AGENT);
    let id = node_id(&key);
    let nobody = Reach {
        node_id: node_id(&self::key(COORDINATOR)),
        relay: None,
        addresses: Vec::new(),
    };
    let settings = AgentSettings::new(
        dir.to_owned(),
        "bench".to_owned(),
        id,
        network.state.network_id(),
    );
    let agent = Agent::bind(AgentConfig {
        settings,
        certificate: network.certificate(&key, Role::Agent)?,
        key,
        keep: Arc::new(|_| Ok(())),
        root_chain: network.state.chain().wires().to_vec(),
        coordinator: nobody,
        bind: loopback(),
        relay: Relay::None,
        limits: unlimited(),
        program: "bench".to_owned(),
    })
    .await?;
    let reach = agent.endpoint().reach();
    let (serving, mut is_serving) = watch::channel(false);
    let announced = async {
        // Ends only with the agent itself.
        if is_serving.wait_for(|serving| *serving).await.is_ok() {
            crate::role::ready(&json!({ "reach": reach }))?;
        }
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        ended = agent.run(serving, CancellationToken::new()) => Ok(ended?),
        failed = announced => failed,
    }
}

/// What may be started before admission, so that a thousand dials are not held back.
fn unlimited() -> ServerLimits {
    ServerLimits {
        burst_per_address: 1_000_000,
        rate_per_address: 1e6,
        burst: 1_000_000,
        rate: 1e6,
        ..ServerLimits::default()
    }
}

fn key(number: u32) -> SigningKey {
    let mut seed = [0x42; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&seed)
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
