//! Who is admitted, who is refused with which reason, and how a revoked device is cut.

use homing_certs::{ReasonCode, Role, SigningKey, UnixTime};
use homing_protocol::close::AfterClose;
use homing_protocol::gateway::{Hello, HelloOk};
use homing_protocol::{Document, alpn};
use homing_transport::Endpoint;
use homing_transport::clock::wall_clock;
use homing_transport::dial::{DialError, dial_agent};
use homing_transport::registry::MAX_CONNECTIONS_PER_DEVICE;

use crate::kit::{
    LIMIT, Network, TestAgent, answer_hello, device_endpoint, gateway_endpoint, key, node_id,
    within,
};

/// Sends a Hello made by hand and gives the reason of the close.
async fn refused_with(agent: &TestAgent, device: &Endpoint, hello: &Hello) -> ReasonCode {
    let reach = agent.endpoint.reach();
    let connection = device.connect(&reach, alpn::GATEWAY, LIMIT).await.unwrap();
    let mut stream = connection.open_frames().await.unwrap();
    stream.send(hello).await.unwrap();
    let verdict = stream.recv_within::<HelloOk>(LIMIT).await;
    assert!(verdict.is_err(), "admitted: {verdict:?}");
    let closed = within("the close", connection.closed()).await;
    closed
        .reason
        .unwrap_or_else(|| panic!("closed without a reason: {}", closed.text))
}

fn hello(certificate: Option<Vec<u8>>) -> Hello {
    Hello {
        versions: vec![1],
        certificate: certificate.map(Document),
        root_epoch: 1,
        log_head: None,
        program: "test".to_owned(),
    }
}

#[tokio::test]
async fn a_device_with_a_good_certificate_is_admitted_and_knows_the_agent_by_its_own() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let live = dial_agent(&device, &agent.endpoint.reach(), &credentials)
        .await
        .unwrap();
    assert_eq!(live.agent.agent, "home");
    assert_eq!(live.connection.peer(), node_id(&key(1)));
    assert_eq!(live.connection.path().unwrap().kind.as_str(), "direct");
    assert!(agent.registry.is_online(&node_id(&key(2))));
    live.connection.close_done();
    agent.stop().await;
}

#[tokio::test]
async fn every_bad_certificate_is_refused_with_its_own_reason() {
    let network = Network::new(10);
    let foreign = Network::new(40);
    let agent = TestAgent::start(&network, &key(1)).await;
    let device_key = key(2);
    let device = device_endpoint(&device_key).await;
    let now = wall_clock();
    let dated = |issued: u64, not_after: u64| {
        let mut draft = network.draft(&device_key, Role::Client);
        draft.issued_at = UnixTime(issued);
        draft.not_before = UnixTime(issued - 300);
        draft.not_after = UnixTime(not_after);
        draft.sign(&network.signer).unwrap()
    };
    let good = network.certificate(&device_key, Role::Client);
    let mut tampered = good.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    let cases: Vec<(&str, Option<Vec<u8>>, ReasonCode)> = vec![
        ("none", None, ReasonCode::CertMissing),
        ("empty", Some(Vec::new()), ReasonCode::CertInvalid),
        ("tampered", Some(tampered), ReasonCode::CertInvalid),
        (
            "cut short",
            Some(good[..good.len() - 1].to_vec()),
            ReasonCode::CertInvalid,
        ),
        (
            "expired",
            Some(dated(now.0 - 31 * 86_400, now.0 - 86_400)),
            ReasonCode::CertExpired,
        ),
        (
            "of the future",
            Some(dated(now.0 + 86_400, now.0 + 2 * 86_400)),
            ReasonCode::CertNotYetValid,
        ),
        (
            "of another device",
            Some(network.certificate(&key(3), Role::Client)),
            ReasonCode::WrongKey,
        ),
        (
            "of another network",
            Some(foreign.certificate(&device_key, Role::Client)),
            ReasonCode::WrongNetwork,
        ),
    ];
    for (name, certificate, reason) in cases {
        assert_eq!(
            refused_with(&agent, &device, &hello(certificate)).await,
            reason,
            "{name}"
        );
    }
    let mut old = hello(Some(good));
    old.versions = vec![0, 99];
    assert_eq!(
        refused_with(&agent, &device, &old).await,
        ReasonCode::UpgradeRequired
    );
    assert!(
        agent.registry.is_empty(),
        "a refused connection stays registered"
    );
    agent.stop().await;
}

#[tokio::test]
async fn a_client_refuses_an_agent_whose_certificate_is_not_an_agents() {
    let network = Network::new(10);
    // The key that answers is enrolled as a client only.
    let impostor = network.credentials(&key(1), Role::Client);
    let endpoint = gateway_endpoint(&key(1), "127.0.0.1:0".parse().unwrap()).await;
    let server = answer_hello(endpoint.clone(), impostor);
    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let error = dial_agent(&device, &endpoint.reach(), &credentials)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            DialError::NotAnAgent {
                role: Role::Client,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.after(), AfterClose::Stop);
    server.abort();
}

#[tokio::test]
async fn a_revoked_device_is_cut_with_the_signed_entry_and_stays_out() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let device = device_endpoint(&key(2)).await;
    let other = device_endpoint(&key(3)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let live = dial_agent(&device, &agent.endpoint.reach(), &credentials)
        .await
        .unwrap();
    let untouched = dial_agent(
        &other,
        &agent.endpoint.reach(),
        &network.credentials(&key(3), Role::Client),
    )
    .await
    .unwrap();

    agent.revoke(&network, node_id(&key(2)));

    let closed = within("the cut", live.connection.closed()).await;
    assert_eq!(closed.reason, Some(ReasonCode::Revoked));
    let proof = closed.proof.expect("the signed entry comes with the close");
    let state = credentials.trust().state();
    assert!(
        state
            .verify_revocation_proof(&node_id(&key(2)), &proof)
            .is_ok()
    );
    assert!(
        state
            .verify_revocation_proof(&node_id(&key(3)), &proof)
            .is_err()
    );

    let again = dial_agent(&device, &agent.endpoint.reach(), &credentials)
        .await
        .unwrap_err();
    assert!(
        matches!(
            again,
            DialError::Refused {
                reason: ReasonCode::Revoked,
                proved: true
            }
        ),
        "{again:?}"
    );
    assert_eq!(again.after(), AfterClose::Stop);
    assert!(
        untouched.connection.close_reason().is_none(),
        "the other device was cut too"
    );
    agent.stop().await;
}

#[tokio::test]
async fn a_revocation_that_nobody_signed_is_not_believed() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let live = dial_agent(&device, &agent.endpoint.reach(), &credentials)
        .await
        .unwrap();
    // A rogue agent closes with an entry that its own key has signed.
    let forged = Network::new(40).revocation(agent.trust.head(), node_id(&key(2)));
    agent.registry.close(&node_id(&key(2)), Some(&forged));
    let closed = within("the close", live.connection.closed()).await;
    let error = homing_transport::dial::refusal(closed, device.id(), &credentials);
    assert!(
        matches!(error, DialError::Refused { proved: false, .. }),
        "{error:?}"
    );
    assert_eq!(error.after(), AfterClose::Retry);
    agent.stop().await;
}

#[tokio::test]
async fn admission_and_revocation_may_race_but_the_device_never_stays() {
    let network = Network::new(10);
    for round in 0..20u8 {
        let agent = TestAgent::start(&network, &key(1)).await;
        let device_key = SigningKey::from_bytes(&[100 + round; 32]);
        let device = device_endpoint(&device_key).await;
        let credentials = network.credentials(&device_key, Role::Client);
        let reach = agent.endpoint.reach();
        let dial = dial_agent(&device, &reach, &credentials);
        let revoke = async {
            for _ in 0..u32::from(round) * 40 {
                tokio::task::yield_now().await;
            }
            agent.revoke(&network, node_id(&device_key));
        };
        let (dialed, ()) = tokio::join!(dial, revoke);
        if let Ok(live) = dialed {
            let closed = within("the cut", live.connection.closed()).await;
            assert_eq!(
                closed.reason,
                Some(ReasonCode::Revoked),
                "round {round}: {}",
                closed.text
            );
        }
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_device_has_at_most_eight_connections_and_its_dead_ones_do_not_count() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let reach = agent.endpoint.reach();
    let mut live = Vec::new();
    for _ in 0..MAX_CONNECTIONS_PER_DEVICE {
        live.push(dial_agent(&device, &reach, &credentials).await.unwrap());
    }
    let busy = dial_agent(&device, &reach, &credentials).await.unwrap_err();
    assert!(
        matches!(
            busy,
            DialError::Refused {
                reason: ReasonCode::Busy,
                ..
            }
        ),
        "{busy:?}"
    );
    live.pop().unwrap().connection.close_done();
    within("a place for one more", async {
        while dial_agent(&device, &reach, &credentials).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    agent.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_and_costs_no_place() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let device = device_endpoint(&key(2)).await;
    let silent = device
        .connect(&agent.endpoint.reach(), alpn::GATEWAY, LIMIT)
        .await
        .unwrap();
    let closed = within("the close", silent.closed()).await;
    assert_eq!(closed.reason, Some(ReasonCode::Busy));
    assert!(agent.registry.is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_loses_its_own_connection_only() {
    let network = Network::new(10);
    let bind = "127.0.0.1:0".parse().unwrap();
    let agent = TestAgent::start_at(&network, &key(1), bind, true).await;
    let device = device_endpoint(&key(2)).await;
    for _ in 0..3 {
        let connection = device
            .connect(&agent.endpoint.reach(), alpn::GATEWAY, LIMIT)
            .await
            .unwrap();
        within("the end of the connection", connection.closed()).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_certificate_that_ends_closes_its_connection_unless_a_renewed_one_came() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let device = device_endpoint(&key(2)).await;
    // Ends, with the leeway of five minutes, two seconds from now.
    let ending = |generation: u32, lives: u64| {
        let mut draft = network.draft(&key(2), Role::Client);
        draft.issued_at = UnixTime(draft.issued_at.0 - 86_400);
        draft.not_before = UnixTime(draft.issued_at.0 - 300);
        draft.not_after = UnixTime(wall_clock().0 - 300 + lives);
        draft.generation = generation;
        draft.sign(&network.signer).unwrap()
    };
    let credentials = network.credentials_with(&ending(1, 2));
    let live = dial_agent(&device, &agent.endpoint.reach(), &credentials)
        .await
        .unwrap();
    let closed = within("the expiry", live.connection.closed()).await;
    assert_eq!(closed.reason, Some(ReasonCode::CertExpired));

    let credentials = network.credentials_with(&ending(1, 3));
    let mut live = dial_agent(&device, &agent.endpoint.reach(), &credentials)
        .await
        .unwrap();
    let renewed = network.certificate(&key(2), Role::Client);
    let message = homing_protocol::gateway::ConnectionMessage::Certificate {
        certificate: renewed.into(),
    };
    live.control.send(&message).await.unwrap();
    let answer: homing_protocol::gateway::ConnectionMessage =
        live.control.recv_within(LIMIT).await.unwrap();
    assert!(
        matches!(
            answer,
            homing_protocol::gateway::ConnectionMessage::CertificateAccepted { .. }
        ),
        "{answer:?}"
    );
    let ended =
        tokio::time::timeout(std::time::Duration::from_secs(5), live.connection.closed()).await;
    assert!(ended.is_err(), "closed although it was renewed: {ended:?}");
    agent.stop().await;
}
