use homing_certs::{ReasonCode, Role, Ticket, TicketSecret};
use homing_protocol::alpn;
use homing_protocol::control::{ControlReply, ControlRequest, InviteRequest};
use homing_transport::Endpoint;
use homing_transport::enrolling::{EnrollError, Enrolling, Introduction, Outcome};

use crate::running::{Running, endpoint, network, soon};
use crate::support::{key, node};

async fn join(ticket: Ticket, n: u16) -> (Endpoint, Enrolling) {
    let endpoint = endpoint(key(n), &[]).await;
    let introduction = Introduction {
        name: Some("Anna's Phone".to_owned()),
        platform: Some("ios".to_owned()),
        reach: Some(endpoint.reach()),
    };
    let enrolling = soon(Enrolling::start(&endpoint, ticket, introduction))
        .await
        .unwrap();
    (endpoint, enrolling)
}

fn code_of(error: EnrollError) -> String {
    match error {
        EnrollError::Refused(body) => body.code,
        other => panic!("a refusal was expected, this is {other:?}"),
    }
}

#[tokio::test]
async fn a_ticket_becomes_a_verified_membership_over_quic() {
    let running = Running::start(network()).await;
    let (info, ticket) = running.invite(InviteRequest::default()).await;
    assert!(!info.approval);
    let (endpoint, mut enrolling) = join(ticket, 2).await;
    let Outcome::Enrolled(enrolled) = soon(enrolling.answer(&endpoint, false)).await.unwrap()
    else {
        panic!("nobody has to approve");
    };
    assert_eq!(enrolled.enrollment.device, "anna-s-phone");
    assert_eq!(enrolled.certificate.certificate().role, Role::Client);
    assert_eq!(
        enrolled.enrollment.coordinator.node_id,
        running.reach.node_id
    );
    assert_eq!(enrolled.trust.network_id(), running.trust.network_id());
    running.stop().await;
}

#[tokio::test]
async fn a_device_waits_on_its_stream_until_somebody_approves() {
    let running = Running::start(network()).await;
    let wish = InviteRequest {
        role: Some(Role::Agent),
        name: Some("nas".to_owned()),
        ..InviteRequest::default()
    };
    let (_, ticket) = running.invite(wish).await;
    let (endpoint, mut enrolling) = join(ticket, 2).await;
    let Outcome::Pending { check_code } = soon(enrolling.answer(&endpoint, false)).await.unwrap()
    else {
        panic!("an agent needs an approval");
    };
    let ControlReply::Pending(waiting) = running.handle.request(ControlRequest::Pending).await
    else {
        panic!("no list");
    };
    assert_eq!(waiting.len(), 1);
    assert!(
        waiting[0]
            .from
            .as_deref()
            .unwrap()
            .starts_with("127.0.0.1:"),
        "{:?}",
        waiting[0].from
    );
    let approve = ControlRequest::Approve {
        device: "nas".to_owned(),
        code: check_code,
    };
    assert!(matches!(
        running.handle.request(approve).await,
        ControlReply::Device(_)
    ));
    let Outcome::Enrolled(enrolled) = soon(enrolling.answer(&endpoint, true)).await.unwrap() else {
        panic!("it was approved");
    };
    assert_eq!(enrolled.certificate.certificate().role, Role::Agent);
    let agents = &enrolled.enrollment.agents;
    assert_eq!((agents.len(), agents[0].agent.as_str()), (1, "nas"));
    assert_eq!(
        agents[0].reach.addresses,
        endpoint.reach().addresses,
        "the directory knows it"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_denied_device_hears_it_on_its_stream() {
    let running = Running::start(network()).await;
    let wish = InviteRequest {
        approve: Some(true),
        name: Some("tv".to_owned()),
        ..InviteRequest::default()
    };
    let (_, ticket) = running.invite(wish).await;
    let (endpoint, mut enrolling) = join(ticket, 2).await;
    soon(enrolling.answer(&endpoint, false)).await.unwrap();
    let denied = running
        .handle
        .request(ControlRequest::Deny {
            device: "tv".to_owned(),
        })
        .await;
    assert_eq!(
        denied,
        ControlReply::Denied {
            device: "tv".to_owned()
        }
    );
    let error = soon(enrolling.answer(&endpoint, true)).await.unwrap_err();
    assert_eq!(code_of(error), "denied");
    running.stop().await;
}

#[tokio::test]
async fn a_bad_ticket_and_a_used_one_read_the_same_over_quic() {
    let running = Running::start(network()).await;
    let (_, ticket) = running.invite(InviteRequest::default()).await;
    let wrong = Ticket {
        secret: TicketSecret::from([0; 16]),
        ..ticket.clone()
    };
    let mut answers = Vec::new();
    let (endpoint, mut enrolling) = join(wrong, 2).await;
    answers.push(
        soon(enrolling.answer(&endpoint, false))
            .await
            .unwrap_err()
            .to_string(),
    );
    let (endpoint, mut enrolling) = join(ticket.clone(), 2).await;
    soon(enrolling.answer(&endpoint, false)).await.unwrap();
    let (endpoint, mut enrolling) = join(ticket, 3).await;
    answers.push(
        soon(enrolling.answer(&endpoint, false))
            .await
            .unwrap_err()
            .to_string(),
    );
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].contains("unknown, used or expired"));
    running.stop().await;
}

#[tokio::test]
async fn redemptions_are_limited_over_all_peers() {
    let running = Running::start(network()).await;
    let (_, ticket) = running.invite(InviteRequest::default()).await;
    let unknown = Ticket {
        invite_id: [9; 8].into(),
        ..ticket
    };
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..40 {
        let ticket = unknown.clone();
        tries.spawn(async move {
            let (endpoint, mut enrolling) = join(ticket, 100 + n).await;
            code_of(soon(enrolling.answer(&endpoint, false)).await.unwrap_err())
        });
    }
    let codes = tries.join_all().await;
    let busy = codes.iter().filter(|code| *code == "busy").count();
    let invalid = codes
        .iter()
        .filter(|code| *code == "ticket_invalid")
        .count();
    assert_eq!(busy + invalid, 40, "{codes:?}");
    assert!(invalid >= 20, "the burst passes: {invalid}");
    running.stop().await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_let_go() {
    let running = Running::start(network()).await;
    let endpoint = endpoint(key(2), &[]).await;
    let silent = soon(endpoint.connect(&running.reach, alpn::ENROLL, crate::running::SOON))
        .await
        .unwrap();
    soon(silent.closed()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_peer_of_another_version_is_told_so() {
    let running = Running::start(network()).await;
    let endpoint = endpoint(key(2), &[]).await;
    let connection = soon(endpoint.connect(&running.reach, alpn::ENROLL, crate::running::SOON))
        .await
        .unwrap();
    let mut stream = connection.open_frames().await.unwrap();
    let request = homing_protocol::enroll::EnrollRequest {
        versions: vec![99],
        invite_id: [1; 8].into(),
        secret: Vec::new().into(),
        name: None,
        platform: None,
        reach: None,
    };
    stream.send(&request).await.unwrap();
    assert_eq!(
        soon(connection.closed()).await.reason,
        Some(ReasonCode::UpgradeRequired)
    );
    assert_ne!(node(2), running.reach.node_id);
    running.stop().await;
}
