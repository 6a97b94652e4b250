//! A network of its own for each test: root, signer, an agent that serves, devices that dial.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use homing_certs::{
    DeviceCertificate, Handle, LogHead, NodeId, RevocationEntry, RevokeReason, Role, RootChain,
    RootDocument, Scopes, Serial, SignerRecord, SigningKey, TrustState, UnixTime, UserId,
    delta_hash,
};
use homing_protocol::alpn;
use homing_transport::admission::{Admission, ProofSource};
use homing_transport::clock::wall_clock;
use homing_transport::credentials::Credentials;
use homing_transport::http;
use homing_transport::{
    Connection, Endpoint, EndpointConfig, Protocol, Registry, Relay, Server, ServerLimits, Trust,
};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longest that anything here may take before the test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn node_id(key: &SigningKey) -> NodeId {
    NodeId::from(key.verifying_key().to_bytes())
}

/// Root, signer and the trust state that they make.
pub(crate) struct Network {
    pub(crate) signer: SigningKey,
    pub(crate) state: TrustState,
}

impl Network {
    pub(crate) fn new(seed: u8) -> Self {
        let (root, signer) = (key(seed), key(seed + 1));
        let now = wall_clock();
        let genesis = RootDocument {
            network_id: None,
            epoch: 1,
            signers: vec![SignerRecord {
                key: node_id(&signer),
                not_before: UnixTime(now.0 - 100 * 86_400),
                not_after: UnixTime(now.0 + 3_600 * 24 * 3_000),
            }],
            roots: vec![node_id(&root)],
            coordinators: vec![node_id(&key(seed + 2))],
        };
        let chain = RootChain::from_genesis(&genesis.sign(&[&root]).unwrap(), None).unwrap();
        Self {
            signer,
            state: TrustState::new(chain),
        }
    }

    pub(crate) fn draft(&self, device: &SigningKey, role: Role) -> DeviceCertificate {
        let now = wall_clock();
        DeviceCertificate {
            network_id: self.state.network_id(),
            serial: Serial::from([7; 16]),
            device: node_id(device),
            user_id: UserId::from([1; 16]),
            handle: "owner".parse::<Handle>().unwrap(),
            role,
            scopes: Scopes::new(["chat", "status.read"]).unwrap(),
            issued_at: now,
            not_before: UnixTime(now.0 - 300),
            not_after: UnixTime(now.0 + 30 * 86_400),
            generation: 1,
            root_epoch: 1,
        }
    }

    pub(crate) fn certificate(&self, device: &SigningKey, role: Role) -> Vec<u8> {
        self.draft(device, role).sign(&self.signer).unwrap()
    }

    /// Credentials whose certificate is good in this network.
    pub(crate) fn credentials(&self, device: &SigningKey, role: Role) -> Arc<Credentials> {
        self.credentials_with(&self.certificate(device, role))
    }

    pub(crate) fn credentials_with(&self, wire: &[u8]) -> Arc<Credentials> {
        let certificate = self.state.verify_certificate(wire).unwrap();
        let trust = Arc::new(Trust::new(self.state.clone(), UnixTime(0)));
        Arc::new(Credentials::new(certificate, trust, "test".to_owned()))
    }

    pub(crate) fn revocation(&self, after: LogHead, device: NodeId) -> Vec<u8> {
        let entry = RevocationEntry {
            device,
            min_generation: u32::MAX,
            reason: RevokeReason::default(),
        };
        let delta = homing_certs::Delta {
            network_id: self.state.network_id(),
            root_epoch: 1,
            seq: after.seq + 1,
            previous: after.hash,
            time: wall_clock(),
            entries: vec![entry],
        };
        let wire = delta.sign(&self.signer).unwrap();
        assert_ne!(delta_hash(&wire), after.hash);
        wire
    }
}

/// Signed entries by the key that they revoke.
pub(crate) type Proofs = Arc<Mutex<HashMap<NodeId, Vec<u8>>>>;

/// An agent that answers every request with the path that it was asked for.
pub(crate) struct TestAgent {
    pub(crate) endpoint: Endpoint,
    pub(crate) registry: Registry,
    pub(crate) trust: Arc<Trust>,
    proofs: Proofs,
    shutdown: CancellationToken,
    running: JoinSet<()>,
}

struct Gateway {
    admission: Admission,
    panics: bool,
}

impl Protocol for Gateway {
    fn alpn(&self) -> &'static [u8] {
        alpn::GATEWAY
    }

    fn serve(
        self: Arc<Self>,
        connection: Connection,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            assert!(!self.panics, "a handler that panics, as a test");
            let Ok(mut admitted) = self.admission.admit(connection).await else {
                return;
            };
            let mut tasks = JoinSet::new();
            tasks.spawn(admitted.keeper(shutdown.clone()));
            loop {
                let stream = tokio::select! {
                    () = shutdown.cancelled() => break admitted.connection().close_done(),
                    stream = admitted.next_stream() => stream,
                };
                let Some(stream) = stream else { break };
                let peer = admitted.peer().clone();
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let verdict = peer.authorize();
                    async move {
                        let text = match verdict {
                            Ok(()) => request.uri().path().to_owned(),
                            Err(error) => error.code().as_str().to_owned(),
                        };
                        Ok(hyper::Response::new(Full::new(Bytes::from(text))))
                    }
                });
                tasks.spawn(http::serve(stream, service));
            }
        })
    }
}

impl TestAgent {
    pub(crate) async fn start(network: &Network, agent: &SigningKey) -> Self {
        Self::start_at(network, agent, "127.0.0.1:0".parse().unwrap(), false).await
    }

    pub(crate) async fn start_at(
        network: &Network,
        agent: &SigningKey,
        bind: SocketAddr,
        panics: bool,
    ) -> Self {
        let endpoint = gateway_endpoint(agent, bind).await;
        let (admission, proofs) = admission(network, agent);
        let registry = admission.registry.clone();
        let trust = admission.credentials.trust().clone();
        let shutdown = CancellationToken::new();
        let gateway = Arc::new(Gateway { admission, panics });
        let limits = ServerLimits {
            burst_per_address: 10_000,
            ..ServerLimits::default()
        };
        let server = Server::new(endpoint.clone(), vec![gateway], limits);
        let mut running = JoinSet::new();
        let token = shutdown.clone();
        running.spawn(async move {
            server.run(token).await;
        });
        Self {
            endpoint,
            registry,
            trust,
            proofs,
            shutdown,
            running,
        }
    }

    /// What an agent does with a new entry: swap the set, cut, close.
    pub(crate) fn revoke(&self, network: &Network, device: NodeId) {
        let wire = network.revocation(self.trust.head(), device);
        self.trust.apply(&wire).unwrap();
        self.proofs.lock().unwrap().insert(device, wire.clone());
        self.registry.cut(&device);
        self.registry.close(&device, Some(&wire));
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while self.running.join_next().await.is_some() {}
        self.endpoint.close().await;
    }
}

/// A doorkeeper with an agent's certificate, and the proofs that it will show.
pub(crate) fn admission(network: &Network, agent: &SigningKey) -> (Admission, Proofs) {
    let proofs = Proofs::default();
    let known = proofs.clone();
    let source: ProofSource = Arc::new(move |id| {
        let proof = known.lock().unwrap().get(&id).cloned();
        Box::pin(std::future::ready(proof))
    });
    let admission = Admission {
        credentials: network.credentials(agent, Role::Agent),
        agent: "home".to_owned(),
        program: "test".to_owned(),
        registry: Registry::default(),
        proofs: source,
    };
    (admission, proofs)
}

pub(crate) async fn gateway_endpoint(agent: &SigningKey, bind: SocketAddr) -> Endpoint {
    let config = EndpointConfig {
        key: agent.clone(),
        alpns: vec![alpn::GATEWAY.to_vec()],
        bind,
        relay: Relay::None,
    };
    within("the bind", async {
        loop {
            match Endpoint::bind(config.clone()).await {
                Ok(endpoint) => return endpoint,
                // A port that is bound again may be another test's for a moment.
                Err(error) => assert!(bind.port() != 0, "{error}"),
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

pub(crate) async fn device_endpoint(device: &SigningKey) -> Endpoint {
    Endpoint::bind(EndpointConfig {
        key: device.clone(),
        alpns: Vec::new(),
        bind: "127.0.0.1:0".parse().unwrap(),
        relay: Relay::None,
    })
    .await
    .unwrap()
}

/// Asks for `path` on a new stream and gives the body of the answer.
pub(crate) async fn get(
    stream: homing_transport::ByteStream,
    path: &str,
) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = stream;
    let head = format!("GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer
        .rsplit("\r\n\r\n")
        .next()
        .unwrap_or_default()
        .to_owned())
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("{what} took too long"))
}

/// Admits whoever asks, with these credentials, and nothing else.
pub(crate) fn answer_hello(
    endpoint: Endpoint,
    credentials: Arc<Credentials>,
) -> tokio::task::AbortHandle {
    struct Impostor(Arc<Credentials>);
    impl Protocol for Impostor {
        fn alpn(&self) -> &'static [u8] {
            alpn::GATEWAY
        }
        fn serve(
            self: Arc<Self>,
            connection: Connection,
            _shutdown: CancellationToken,
        ) -> BoxFuture<'static, ()> {
            Box::pin(async move {
                let mut stream = connection.accept_frames().await.unwrap();
                let _: homing_protocol::gateway::Hello = stream.recv_within(LIMIT).await.unwrap();
                let ok = homing_protocol::gateway::HelloOk {
                    version: 1,
                    agent: "home".to_owned(),
                    program: "test".to_owned(),
                    certificate: self.0.certificate().wire().into(),
                    root_epoch: 1,
                    log_seq: 0,
                };
                stream.send(&ok).await.unwrap();
                connection.closed().await;
            })
        }
    }
    let server = Server::new(
        endpoint,
        vec![Arc::new(Impostor(credentials))],
        ServerLimits::default(),
    );
    tokio::spawn(async move {
        server.run(CancellationToken::new()).await;
    })
    .abort_handle()
}

/// Serves an endpoint with this doorkeeper: admits and holds connections, nothing more.
pub(crate) async fn admit_one(endpoint: Endpoint, admission: Admission) {
    struct Holding(Admission);
    impl Protocol for Holding {
        fn alpn(&self) -> &'static [u8] {
            alpn::GATEWAY
        }
        fn serve(
            self: Arc<Self>,
            connection: Connection,
            _shutdown: CancellationToken,
        ) -> BoxFuture<'static, ()> {
            Box::pin(async move {
                let admitted = self.0.admit(connection).await.unwrap();
                admitted.connection().closed().await;
            })
        }
    }
    let server = Server::new(
        endpoint,
        vec![Arc::new(Holding(admission))],
        ServerLimits::default(),
    );
    server.run(CancellationToken::new()).await;
}
