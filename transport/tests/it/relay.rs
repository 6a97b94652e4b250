//! Two endpoints that know nothing of each other but a NodeId and the URL of a relay.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use homing_certs::Role;
use homing_protocol::alpn;
use homing_protocol::gateway::Reach;
use homing_transport::admission::Admission;
use homing_transport::dial::dial_agent;
use homing_transport::{Endpoint, EndpointConfig, Relay};
use iroh_relay::server::{RelayConfig, Server, ServerConfig};

use crate::kit::{LIMIT, Network, admission, key, within};

/// A relay of the test's own, plain HTTP on loopback.
async fn relay() -> (Server, String) {
    let mut config = ServerConfig::default();
    config.relay = Some(RelayConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
    let server = Server::spawn(config).await.unwrap();
    let url = format!("http://{}", server.http_addr().unwrap());
    (server, url)
}

async fn endpoint(seed: u8, alpns: &[&[u8]], url: &str) -> Endpoint {
    Endpoint::bind(EndpointConfig {
        key: key(seed),
        alpns: alpns.iter().map(|alpn| alpn.to_vec()).collect(),
        bind: "127.0.0.1:0".parse().unwrap(),
        relay: Relay::Own(vec![url.to_owned()]),
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn an_agent_is_dialed_by_node_id_and_relay_url_alone() {
    let network = Network::new(10);
    let (relay, url) = relay().await;
    let agent = endpoint(1, &[alpn::GATEWAY], &url).await;
    assert!(
        agent.relayed(LIMIT).await,
        "the agent did not find its relay"
    );
    assert_eq!(
        agent
            .reach()
            .relay
            .as_deref()
            .map(|found| found.trim_end_matches('/')),
        Some(url.as_str())
    );
    let (admission, _): (Admission, _) = admission(&network, &key(1));
    let serving = tokio::spawn(crate::kit::admit_one(agent.clone(), admission));

    let device = endpoint(2, &[], &url).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let known = Reach {
        node_id: agent.id(),
        relay: Some(url),
        addresses: Vec::new(),
    };
    let live = within("the dial", dial_agent(&device, &known, &credentials))
        .await
        .unwrap();
    assert_eq!(live.agent.agent, "home");
    live.connection.close_done();
    serving.abort();
    device.close().await;
    agent.close().await;
    relay.shutdown().await.unwrap();
}

#[tokio::test]
async fn without_a_relay_nothing_is_waited_for_and_nobody_is_found_by_key_alone() {
    let network = Network::new(10);
    let device = crate::kit::device_endpoint(&key(2)).await;
    assert!(!device.relayed(Duration::from_secs(3_600)).await);
    let credentials = network.credentials(&key(2), Role::Client);
    let nobody = Reach {
        node_id: crate::kit::node_id(&key(1)),
        relay: None,
        addresses: Vec::new(),
    };
    let error = within("the refusal", dial_agent(&device, &nobody, &credentials))
        .await
        .unwrap_err();
    assert_eq!(error.body().code, "not_reachable");
    device.close().await;
}
