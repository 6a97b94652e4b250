use homing_certs::{ReasonCode, Role};
use homing_coordinator::authority::EnrolledDevice;
use homing_coordinator::{Authority, Moment};
use homing_protocol::alpn;
use homing_protocol::control::{
    ControlReply, ControlRequest, ControlWelcome, DeviceStatus, InviteRequest,
};
use homing_transport::controlling::ControlClient;
use homing_transport::{Connection, FrameStream};

use crate::running::{Running, add_agent, endpoint, network, row_of, soon};
use crate::support::{Net, key, node};

fn phone(net: &mut Net, n: u16, name: &str) -> EnrolledDevice {
    net.add_named(n, name, Moment::system())
}

async fn client(running: &Running, n: u16, device: &EnrolledDevice) -> ControlClient {
    let endpoint = endpoint(key(n), &[]).await;
    ControlClient::new(endpoint, running.reach.clone(), running.credentials(device))
}

async fn ask(connection: &Connection, request: &ControlRequest) -> ControlReply {
    let mut stream: FrameStream = connection.open_frames().await.unwrap();
    stream.send(request).await.unwrap();
    stream.finish();
    soon(stream.recv()).await.unwrap().expect("no answer")
}

#[tokio::test]
async fn a_device_renews_and_lists_and_is_seen_online() {
    let mut net = network();
    let device = phone(&mut net, 2, "phone");
    add_agent(&mut net, 5, "home");
    let running = Running::start(net).await;
    let client = client(&running, 2, &device).await;
    let reply = soon(client.request(&ControlRequest::Renew)).await.unwrap();
    let ControlReply::Renewed { certificate, .. } = reply else {
        panic!("{reply:?}")
    };
    let renewed = running
        .trust
        .verify_certificate(certificate.as_ref())
        .unwrap();
    let old = running
        .trust
        .verify_certificate(&device.certificate)
        .unwrap();
    assert!(renewed.certificate().generation > old.certificate().generation);
    let list = soon(client.request(&ControlRequest::Devices))
        .await
        .unwrap();
    assert!(row_of(&list, &node(2)).online);
    assert!(!row_of(&list, &node(1)).online);
    let ControlReply::Agents(agents) = soon(client.request(&ControlRequest::Agents)).await.unwrap()
    else {
        panic!("no agents");
    };
    assert_eq!(
        (agents.len(), agents[0].agent.as_str(), agents[0].online),
        (1, "home", false)
    );
    let refused = soon(client.request(&ControlRequest::Invite(InviteRequest::default()))).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.body().code, "forbidden");
    assert!(!refused.body().hint.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn a_key_without_a_row_is_closed_with_the_reason() {
    let running = Running::start(network()).await;
    let (_endpoint, connection, _stream) = running.greet(77, alpn::CONTROL, None).await;
    assert_eq!(
        soon(connection.closed()).await.reason,
        Some(ReasonCode::CertMissing)
    );
    running.stop().await;
}

#[tokio::test]
async fn a_revoked_key_is_closed_with_a_proof_that_verifies() {
    let mut net = network();
    phone(&mut net, 2, "phone");
    let running = Running::start(net).await;
    let revoke = ControlRequest::Revoke {
        device: "phone".to_owned(),
        with_invited: false,
        on_behalf_of: None,
    };
    assert!(matches!(
        running.handle.request(revoke).await,
        ControlReply::Revoked(_)
    ));
    let (_endpoint, connection, _stream) = running.greet(2, alpn::CONTROL, None).await;
    let closed = soon(connection.closed()).await;
    assert_eq!(closed.reason, Some(ReasonCode::Revoked));
    let proof = closed.proof.expect("the signed entry");
    running
        .trust
        .verify_revocation_proof(&node(2), &proof)
        .unwrap();
    running.stop().await;
}

#[tokio::test]
async fn a_live_connection_is_cut_by_the_revocation_of_its_device() {
    let mut net = network();
    phone(&mut net, 2, "phone");
    let running = Running::start(net).await;
    let (_endpoint, connection, mut stream) = running.greet(2, alpn::CONTROL, None).await;
    let welcome: ControlWelcome = soon(stream.recv()).await.unwrap().unwrap();
    assert_eq!((welcome.version, welcome.log_seq), (1, 0));
    assert!(matches!(
        ask(&connection, &ControlRequest::Devices).await,
        ControlReply::Devices(_)
    ));
    let revoke = ControlRequest::Revoke {
        device: "phone".to_owned(),
        with_invited: false,
        on_behalf_of: None,
    };
    running.handle.request(revoke).await;
    let closed = soon(connection.closed()).await;
    assert_eq!(closed.reason, Some(ReasonCode::Revoked));
    running
        .trust
        .verify_revocation_proof(&node(2), &closed.proof.unwrap())
        .unwrap();
    let list = running.handle.request(ControlRequest::Devices).await;
    assert_eq!(row_of(&list, &node(2)).status, DeviceStatus::Revoked);
    running.stop().await;
}

#[tokio::test]
async fn a_device_that_revokes_itself_reads_the_answer_and_is_cut() {
    let mut net = network();
    phone(&mut net, 2, "phone");
    let running = Running::start(net).await;
    let (_endpoint, connection, mut stream) = running.greet(2, alpn::CONTROL, None).await;
    let _: Option<ControlWelcome> = soon(stream.recv()).await.unwrap();
    let revoke = ControlRequest::Revoke {
        device: "phone".to_owned(),
        with_invited: false,
        on_behalf_of: None,
    };
    let ControlReply::Revoked(info) = ask(&connection, &revoke).await else {
        panic!("no answer")
    };
    assert_eq!(info.node_id, node(2));
    let refused = ask(&connection, &ControlRequest::Devices).await;
    assert!(
        matches!(&refused, ControlReply::Error(error) if error.code == "revoked"),
        "{refused:?}"
    );
    assert_eq!(
        soon(connection.closed()).await.reason,
        Some(ReasonCode::Revoked)
    );
    running.stop().await;
}

#[tokio::test]
async fn every_connected_device_of_the_user_hears_of_a_new_one() {
    let mut net = network();
    let (first, second) = (phone(&mut net, 2, "phone"), phone(&mut net, 3, "tablet"));
    let after = net.authority.newest_notice();
    let running = Running::start(net).await;
    let clients = [
        client(&running, 2, &first).await,
        client(&running, 3, &second).await,
    ];
    let wait = ControlRequest::Notices { after };
    let (_, ticket) = running.invite(InviteRequest::default()).await;
    let listening = async {
        let (one, two) = tokio::join!(clients[0].request(&wait), clients[1].request(&wait));
        [one.unwrap(), two.unwrap()]
    };
    let joining = async {
        let endpoint = endpoint(key(4), &[]).await;
        let mut enrolling = homing_transport::enrolling::Enrolling::start(
            &endpoint,
            ticket,
            homing_transport::enrolling::Introduction::default(),
        )
        .await
        .unwrap();
        enrolling.answer(&endpoint, false).await.unwrap();
    };
    let (heard, ()) = soon(async { tokio::join!(listening, joining) }).await;
    for reply in heard {
        let ControlReply::Notices(notices) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(notices[0].kind, "device_enrolled");
        assert!(notices[0].text.contains("127.0.0.1"), "{}", notices[0].text);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_device_that_asks_without_end_is_slowed_and_the_others_are_not() {
    let mut net = network();
    phone(&mut net, 2, "phone");
    phone(&mut net, 3, "tablet");
    let running = Running::start(net).await;
    let (_one, connection, mut stream) = running.greet(2, alpn::CONTROL, None).await;
    let _: Option<ControlWelcome> = soon(stream.recv()).await.unwrap();
    let (_two, other, mut other_stream) = running.greet(3, alpn::CONTROL, None).await;
    let _: Option<ControlWelcome> = soon(other_stream.recv()).await.unwrap();
    let mut busy = 0;
    for _ in 0..400 {
        let reply = ask(&connection, &ControlRequest::Agents).await;
        if matches!(&reply, ControlReply::Error(error) if error.code == "busy") {
            busy += 1;
            break;
        }
    }
    assert_eq!(busy, 1, "four hundred requests in a row were all answered");
    assert!(matches!(
        ask(&other, &ControlRequest::Agents).await,
        ControlReply::Agents(_)
    ));
    running.stop().await;
}

#[tokio::test]
async fn an_unreadable_request_gets_an_error_and_the_connection_goes_on() {
    let mut net = network();
    phone(&mut net, 2, "phone");
    let running = Running::start(net).await;
    let (_endpoint, connection, mut stream) = running.greet(2, alpn::CONTROL, None).await;
    let _: Option<ControlWelcome> = soon(stream.recv()).await.unwrap();
    let mut odd = connection.open_frames().await.unwrap();
    odd.send(&"not a request").await.unwrap();
    let reply: ControlReply = soon(odd.recv()).await.unwrap().unwrap();
    assert!(matches!(&reply, ControlReply::Error(error) if error.code == "bad_request"));
    assert!(matches!(
        ask(&connection, &ControlRequest::Agents).await,
        ControlReply::Agents(_)
    ));
    running.stop().await;
}

#[tokio::test]
async fn the_files_can_be_opened_again_after_a_shutdown_with_open_connections() {
    let mut net = network();
    phone(&mut net, 2, "phone");
    let running = Running::start(net).await;
    let (_endpoint, connection, mut stream) = running.greet(2, alpn::CONTROL, None).await;
    let _: Option<ControlWelcome> = soon(stream.recv()).await.unwrap();
    let handle = running.handle.clone();
    let root = running.stop().await;
    assert_eq!(
        soon(connection.closed()).await.reason,
        Some(ReasonCode::Draining)
    );
    let after = handle.request(ControlRequest::Devices).await;
    assert!(
        matches!(&after, ControlReply::Error(error) if error.code == "draining"),
        "{after:?}"
    );
    let mut authority =
        Authority::open(&root.path().join("coordinator"), Moment::system()).unwrap();
    let list = authority
        .devices(homing_coordinator::authority::Caller::Local)
        .unwrap();
    let seen = list.iter().find(|row| row.node_id == node(2)).unwrap();
    assert!(
        seen.last_seen.is_some(),
        "who was seen is written at the end"
    );
    assert!(list.iter().any(|row| row.role == Role::Admin));
}

#[tokio::test]
async fn renewals_without_end_are_refused() {
    let mut net = network();
    phone(&mut net, 2, "phone");
    let running = Running::start(net).await;
    let (_endpoint, connection, mut stream) = running.greet(2, alpn::CONTROL, None).await;
    let _: Option<ControlWelcome> = soon(stream.recv()).await.unwrap();
    let mut renewed = 0;
    for _ in 0..12 {
        match ask(&connection, &ControlRequest::Renew).await {
            ControlReply::Renewed { .. } => renewed += 1,
            other => assert!(matches!(&other, ControlReply::Error(error) if error.code == "busy")),
        }
    }
    assert!((10..12).contains(&renewed), "{renewed}");
    running.stop().await;
}
