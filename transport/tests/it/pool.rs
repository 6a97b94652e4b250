//! The pool: one connection for all, redialed when it is lost, stopped when trying is useless.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use homing_certs::{NodeId, Role};
use homing_protocol::ErrorBody;
use homing_protocol::gateway::Reach;
use homing_transport::PathReport;
use homing_transport::dial::DialError;
use homing_transport::pool::{Home, Link, Pool};
use tokio_util::sync::CancellationToken;

use crate::kit::{Network, TestAgent, device_endpoint, get, key, node_id, within};

/// A device whose coordinator never answers.
pub(crate) struct AloneAtHome;

impl Home for AloneAtHome {
    fn renew(&self) -> BoxFuture<'_, Result<(), ErrorBody>> {
        Box::pin(async {
            Err(ErrorBody::new(
                "not_reachable",
                "no coordinator in this test",
                "",
            ))
        })
    }
    fn locate(&self, _agent: NodeId) -> BoxFuture<'_, Result<Option<Reach>, DialError>> {
        Box::pin(async { Ok(None) })
    }
    fn reached(&self, _agent: NodeId, _path: Option<PathReport>) {}
    fn proof(&self, _node_id: NodeId) -> BoxFuture<'_, Result<Option<Vec<u8>>, DialError>> {
        Box::pin(async { Ok(None) })
    }
}

#[tokio::test]
async fn all_requests_share_one_connection() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let (pool, driver) = Pool::new(
        device,
        agent.endpoint.reach(),
        credentials,
        Arc::new(AloneAtHome),
    );
    let shutdown = CancellationToken::new();
    let driving = tokio::spawn(driver.run(shutdown.clone()));
    let streams = (0..50).map(|n| {
        let pool = pool.clone();
        async move {
            get(pool.open().await.unwrap(), &format!("/{n}"))
                .await
                .unwrap()
        }
    });
    let answers = within("the answers", futures_util::future::join_all(streams)).await;
    assert_eq!(answers[49], "/49");
    assert_eq!(agent.registry.len(), 1);
    shutdown.cancel();
    driving.await.unwrap();
    agent.stop().await;
}

#[tokio::test]
async fn a_connection_that_was_lost_is_made_again_when_the_agent_is_back() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let reach = agent.endpoint.reach();
    let bind = agent.endpoint.bound_sockets()[0];
    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let (pool, driver) = Pool::new(device, reach, credentials, Arc::new(AloneAtHome));
    let shutdown = CancellationToken::new();
    let driving = tokio::spawn(driver.run(shutdown.clone()));
    assert_eq!(
        get(pool.open().await.unwrap(), "/before").await.unwrap(),
        "/before"
    );
    agent.stop().await;

    let agent = TestAgent::start_at(&network, &key(1), bind, false).await;
    within("the agent to be reached again", async {
        loop {
            if let Ok(stream) = pool.open().await
                && get(stream, "/after")
                    .await
                    .is_ok_and(|body| body == "/after")
            {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    shutdown.cancel();
    driving.await.unwrap();
    agent.stop().await;
}

#[tokio::test]
async fn a_revoked_device_stops_dialing_and_says_why() {
    let network = Network::new(10);
    let agent = TestAgent::start(&network, &key(1)).await;
    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let (pool, driver) = Pool::new(
        device,
        agent.endpoint.reach(),
        credentials,
        Arc::new(AloneAtHome),
    );
    let shutdown = CancellationToken::new();
    let driving = tokio::spawn(driver.run(shutdown.clone()));
    pool.connected().await.unwrap();
    agent.revoke(&network, node_id(&key(2)));
    let error = within("the refusal", async {
        loop {
            match pool.open().await {
                Err(error) if error.code == "revoked" => break error,
                _ => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    assert!(error.hint.contains("invitation"), "{error:?}");
    assert!(matches!(pool.link(), Link::Stopped(_)));
    shutdown.cancel();
    driving.await.unwrap();
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_reported_as_not_reachable() {
    let network = Network::new(10);
    let device = device_endpoint(&key(2)).await;
    let credentials = network.credentials(&key(2), Role::Client);
    let nobody = Reach {
        node_id: node_id(&key(1)),
        relay: None,
        addresses: Vec::new(),
    };
    let (pool, driver) = Pool::new(device, nobody, credentials, Arc::new(AloneAtHome));
    let shutdown = CancellationToken::new();
    let driving = tokio::spawn(driver.run(shutdown.clone()));
    let error = within("the error", pool.open())
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(error.code, "not_reachable");
    shutdown.cancel();
    driving.await.unwrap();
}
