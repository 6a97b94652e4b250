use homing_certs::ReasonCode;
use homing_coordinator::Moment;
use homing_coordinator::authority::Caller;
use homing_protocol::alpn;
use homing_protocol::control::{AgentAck, ControlReply, ControlRequest, RevokedInfo};
use homing_protocol::gateway::Reach;
use homing_protocol::revocations::{AgentMessage, LogMessage};

use crate::running::{RawAgent, Running, add_agent, invented_head, network, soon};
use crate::support::{Net, copy_dir, node};

async fn revoke(running: &Running, device: &str) -> RevokedInfo {
    let request = ControlRequest::Revoke {
        device: device.to_owned(),
        with_invited: false,
        on_behalf_of: None,
    };
    match soon(running.handle.request(request)).await {
        ControlReply::Revoked(info) => info,
        other => panic!("a revocation was expected, this is {other:?}"),
    }
}

fn with_agents(agents: &[(u16, &str)], phones: u16) -> Net {
    let mut net = network();
    for (n, name) in agents {
        add_agent(&mut net, *n, name);
    }
    for n in 0..phones {
        net.add_named(20 + n, &format!("phone-{n}x"), Moment::system());
    }
    net
}

fn ack_of<'i>(info: &'i RevokedInfo, agent: &str) -> &'i AgentAck {
    info.agents
        .iter()
        .find(|ack| ack.agent == agent)
        .expect("the agent is not listed")
}

#[tokio::test]
async fn a_revocation_reaches_every_agent_and_says_who_confirmed_it() {
    let agents = [(5, "fast"), (6, "mute"), (7, "offline")];
    let running = Running::start(with_agents(&agents, 1)).await;
    let mut fast = running.agent(5, running.trust.clone()).await;
    let mut mute = running.agent(6, running.trust.clone()).await;
    fast.settle().await;
    mute.settle().await;
    let follow = async {
        fast.delta().await;
        assert!(fast.state.is_revoked(&node(20)));
        fast.acknowledge().await;
    };
    let (info, ()) = tokio::join!(revoke(&running, "phone-0x"), follow);
    mute.delta().await;
    assert!(
        mute.state.is_revoked(&node(20)),
        "it was pushed there as well"
    );
    assert!(ack_of(&info, "fast").confirmed);
    assert!(ack_of(&info, "fast").ms.is_some_and(|ms| ms < 3_000));
    assert_eq!(
        ack_of(&info, "mute"),
        &AgentAck {
            agent: "mute".to_owned(),
            confirmed: false,
            ms: None
        }
    );
    assert!(!ack_of(&info, "offline").confirmed);
    assert!(info.committed_at_us > 1_700_000_000_000_000);
    running.stop().await;
}

#[tokio::test]
async fn revocations_in_parallel_arrive_in_the_order_of_the_log() {
    let running = Running::start(with_agents(&[(5, "home")], 8)).await;
    let mut agent = running.agent(5, running.trust.clone()).await;
    agent.settle().await;
    let mut revocations = tokio::task::JoinSet::new();
    for n in 0..8 {
        let handle = running.handle.clone();
        let device = format!("phone-{n}x");
        revocations.spawn(async move {
            handle
                .request(ControlRequest::Revoke {
                    device,
                    with_invited: false,
                    on_behalf_of: None,
                })
                .await
        });
    }
    for seq in 1..=8 {
        agent.delta().await;
        assert_eq!(agent.state.head().seq, seq);
        agent.acknowledge().await;
    }
    for reply in soon(revocations.join_all()).await {
        let ControlReply::Revoked(info) = reply else {
            panic!("{reply:?}")
        };
        assert!(ack_of(&info, "home").confirmed);
    }
    running.stop().await;
}

#[tokio::test]
async fn an_agent_that_was_away_gets_what_it_lacks_before_the_first_heartbeat() {
    let mut net = with_agents(&[(5, "home")], 3);
    for n in 0..3 {
        let now = Moment::system();
        net.authority
            .revoke(Caller::Local, &format!("phone-{n}x"), false, now)
            .unwrap();
    }
    let first = net.authority.deltas_after(0, 1).unwrap().unwrap();
    let running = Running::start(net).await;
    let mut state = running.trust.clone();
    state.apply(&first[0].wire).unwrap();
    let mut agent = running.agent(5, state).await;
    agent.settle().await;
    assert_eq!((agent.state.head().seq, agent.state.revoked_len()), (3, 3));
    assert!(agent.state.last_heartbeat().is_some());
    running.stop().await;
}

#[tokio::test]
async fn an_agent_with_a_gap_asks_and_gets_everything() {
    let running = Running::start(with_agents(&[(5, "home")], 2)).await;
    revoke(&running, "phone-0x").await;
    let mut agent = running.agent(5, running.trust.clone()).await;
    agent.settle().await;
    // As if what it had was lost since.
    agent.state = running.trust.clone();
    let head = invented_head(0).into();
    agent
        .stream
        .send(&AgentMessage::Gap { head })
        .await
        .unwrap();
    loop {
        match agent.next().await {
            LogMessage::Snapshot { document } => {
                agent.state.apply(document.as_ref()).unwrap();
                break;
            }
            LogMessage::Heartbeat { .. } => {}
            other => panic!("a snapshot was expected, this is {other:?}"),
        }
    }
    assert!(agent.state.is_revoked(&node(20)));
    running.stop().await;
}

#[tokio::test]
async fn only_agents_may_follow_the_log() {
    let running = Running::start(with_agents(&[], 1)).await;
    let (_endpoint, connection, _stream) = running.greet(20, alpn::REVOCATIONS, None).await;
    assert_eq!(
        soon(connection.closed()).await.reason,
        Some(ReasonCode::Forbidden)
    );
    let (_endpoint, connection, _stream) = running.greet(99, alpn::REVOCATIONS, None).await;
    assert_eq!(
        soon(connection.closed()).await.reason,
        Some(ReasonCode::CertMissing)
    );
    running.stop().await;
}

#[tokio::test]
async fn an_agent_says_where_it_is_and_devices_find_it() {
    let running = Running::start(with_agents(&[(5, "home")], 0)).await;
    let mut agent = running.agent(5, running.trust.clone()).await;
    agent.settle().await;
    let claimed = Reach {
        node_id: node(6),
        relay: Some("https://relay.example/".to_owned()),
        addresses: vec!["192.0.2.9:4433".parse().unwrap()],
    };
    agent
        .stream
        .send(&AgentMessage::Reach {
            reach: claimed.clone(),
        })
        .await
        .unwrap();
    // An acknowledgement behind it shows that the address has been read.
    agent.acknowledge().await;
    let found = soon(async {
        loop {
            let ControlReply::Agents(agents) = running.handle.request(ControlRequest::Agents).await
            else {
                panic!("no agents");
            };
            if !agents[0].reach.addresses.is_empty() {
                return agents[0].clone();
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(found.online);
    assert_eq!(
        found.reach.node_id,
        node(5),
        "the key is the one that TLS proved"
    );
    assert_eq!(
        (found.reach.addresses, found.reach.relay),
        (claimed.addresses, claimed.relay)
    );
    running.stop().await;
}

#[tokio::test]
async fn a_revoked_agent_loses_its_stream_at_once() {
    let running = Running::start(with_agents(&[(5, "home"), (6, "other")], 0)).await;
    let mut agent = running.agent(5, running.trust.clone()).await;
    agent.settle().await;
    let info = revoke(&running, "home").await;
    assert_eq!(info.agents.len(), 1, "the revoked one is no longer asked");
    let closed = soon(agent.connection.closed()).await;
    assert_eq!(closed.reason, Some(ReasonCode::Revoked));
    running
        .trust
        .verify_revocation_proof(&node(5), &closed.proof.unwrap())
        .unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_coordinator_that_was_set_back_asks_the_agents_and_goes_on_when_the_owner_says_so() {
    let mut net = with_agents(&[(5, "home")], 2);
    let backup = tempfile::tempdir().unwrap();
    net = net.reopened(Moment::system());
    copy_dir(&net.dir(), &backup.path().join("coordinator"));
    let trust = net.trust();
    let mut agent_state = trust.clone();
    let mut history = Vec::new();
    for device in ["phone-0x", "phone-1x"] {
        let commit = net
            .authority
            .revoke(Caller::Local, device, false, Moment::system())
            .unwrap();
        agent_state.apply(&commit.deltas[0].wire).unwrap();
        history.push(commit.deltas[0].wire.to_vec().into());
    }
    drop(net);
    let old =
        homing_coordinator::Authority::open(&backup.path().join("coordinator"), Moment::system());
    let running = Running::start(Net {
        root: backup,
        authority: old.unwrap(),
    })
    .await;
    let mut agent = running.agent(5, agent_state.clone()).await;
    let asked = loop {
        match agent.next().await {
            LogMessage::Behind { head } => break head,
            // Signed before the agent had shown its head.
            LogMessage::Heartbeat { .. } => {}
            other => panic!("a question was expected, this is {other:?}"),
        }
    };
    assert_eq!(asked.seq, 0);
    assert!(running.handle.is_recovering().await.unwrap());
    let refused = running.handle.request(ControlRequest::Revoke {
        device: "laptop".to_owned(),
        with_invited: false,
        on_behalf_of: None,
    });
    assert!(matches!(refused.await, ControlReply::Error(error) if error.code == "recovering"));
    assert_eq!(
        running.handle.resume(false).await.unwrap_err().code,
        "log_incomplete"
    );
    agent
        .stream
        .send(&AgentMessage::History { documents: history })
        .await
        .unwrap();
    soon(async {
        while let Err(error) = running.handle.resume(false).await {
            assert_eq!(error.code, "log_incomplete");
            tokio::task::yield_now().await;
        }
    })
    .await;
    agent.settle().await;
    assert_eq!(agent.state.head(), agent_state.head());
    let list = running.handle.request(ControlRequest::Devices).await;
    let row = crate::running::row_of(&list, &node(21));
    assert_eq!(row.status, homing_protocol::control::DeviceStatus::Revoked);
    running.stop().await;
}

#[tokio::test]
async fn fifty_agents_enforce_a_revocation_within_the_wait() {
    let names: Vec<(u16, String)> = (0..50).map(|n| (200 + n, format!("agent-{n}x"))).collect();
    let agents: Vec<(u16, &str)> = names.iter().map(|(n, name)| (*n, name.as_str())).collect();
    let running = Running::start(with_agents(&agents, 1)).await;
    let mut following: Vec<RawAgent> = Vec::new();
    for (n, _) in &agents {
        let mut agent = running.agent(*n, running.trust.clone()).await;
        agent.settle().await;
        following.push(agent);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for mut agent in following {
        tasks.spawn(async move {
            agent.confirm_delta().await;
            agent
        });
    }
    let info = revoke(&running, "phone-0x").await;
    let agents = tasks.join_all().await;
    assert!(agents.iter().all(|agent| agent.state.is_revoked(&node(20))));
    assert_eq!(info.agents.iter().filter(|ack| ack.confirmed).count(), 50);
    running.stop().await;
}

#[tokio::test]
async fn a_claim_to_be_ahead_of_the_log_confirms_nothing() {
    let running = Running::start(with_agents(&[(5, "home")], 1)).await;
    let mut agent = running.agent(5, running.trust.clone()).await;
    agent.settle().await;
    let head = invented_head(1_000).into();
    agent
        .stream
        .send(&AgentMessage::Ack { head })
        .await
        .unwrap();
    let (info, ()) = tokio::join!(revoke(&running, "phone-0x"), agent.delta());
    assert!(!ack_of(&info, "home").confirmed);
    running.stop().await;
}

#[tokio::test]
async fn a_second_revocation_of_the_same_device_says_who_enforces_the_first() {
    let running = Running::start(with_agents(&[(5, "home")], 1)).await;
    revoke(&running, "phone-0x").await;
    let mut agent = running.agent(5, running.trust.clone()).await;
    agent.settle().await;
    agent.acknowledge().await;
    let again = revoke(&running, "phone-0x").await;
    assert!(ack_of(&again, "home").confirmed);
    running.stop().await;
}
