//! Writes that are sent again with their key.

use axum::body::Body;
use http::{Request, StatusCode};
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;

use crate::rig::{Rig, post};

fn upload(key: &str, name: &str, body: &str) -> Request<Body> {
    let mut request = post(&format!("/api/upload?filename={name}"), body.to_owned());
    request
        .headers_mut()
        .insert("idempotency-key", key.parse().unwrap());
    request
}

#[tokio::test]
async fn a_write_that_is_sent_again_is_done_once_and_answered_as_before() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let first = rig.call(&device, upload("k1", "a.txt", "hello")).await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = rig.call(&device, upload("k1", "a.txt", "hello")).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("content-type"), "application/json");
    // Without the key, or with another one, it is another file.
    for request in [
        upload("k2", "a.txt", "hello"),
        post("/api/upload?filename=a.txt", "hello"),
    ] {
        let other = rig.call(&device, request).await;
        assert_ne!(other.json()["filename"], first.json()["filename"]);
    }
}

#[tokio::test]
async fn the_same_key_for_another_request_is_a_conflict_and_changes_nothing() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    rig.call(&device, upload("k1", "a.txt", "hello")).await;
    for (name, body) in [
        ("a.txt", "other"),
        ("b.txt", "hello"),
        ("a.txt", "hello and more"),
        ("a.txt", ""),
    ] {
        let answer = rig.call(&device, upload("k1", name, body)).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{name} {body}");
        assert_eq!(answer.code(), "idempotency_conflict");
    }
    let other = rig.network.owner();
    let answer = rig.call(&other, upload("k1", "b.txt", "theirs")).await;
    assert_eq!(answer.status, StatusCode::OK, "keys belong to a device");
}

#[tokio::test]
async fn a_key_outlives_the_agents_process() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let first = rig.call(&device, upload("k1", "a.txt", "hello")).await;
    let rig = rig.restart_with(|_| {}).await;
    let again = rig.call(&device, upload("k1", "a.txt", "hello")).await;
    assert_eq!(again.body, first.body);
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_write_that_was_refused_may_be_sent_again_with_its_key() {
    let rig = Rig::start_with(|settings| settings.sizes.upload = 8).await;
    let device = rig.network.owner();
    let refused = rig
        .call(&device, upload("k1", "a.txt", "far too long"))
        .await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    let taken = rig.call(&device, upload("k1", "a.txt", "short")).await;
    assert_eq!(taken.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_a_read_needs_none() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    for key in ["", "a b", &"k".repeat(256)] {
        let answer = rig.call(&device, upload(key, "a.txt", "x")).await;
        assert_eq!(answer.code(), "bad_idempotency_key", "{key:?}");
    }
    let mut request = crate::rig::get("/api/health");
    request
        .headers_mut()
        .insert("idempotency-key", "a b".parse().unwrap());
    assert_eq!(rig.call(&device, request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_write_goes_on_when_its_client_has_gone_and_is_answered_when_it_comes_back() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let (sender, body) = tokio::io::duplex(64);
    let stream = tokio_util::io::ReaderStream::new(body);
    let request = Request::post("/api/upload?filename=a.txt")
        .header("idempotency-key", "k1")
        .body(Body::from_stream(stream))
        .unwrap();
    let service = rig.connect(&device).await;
    let asked = tokio::spawn(service.oneshot(request));
    // The agent has begun to read the body when there is room for more than the stream holds.
    let mut sender = sender;
    let more_than_it_holds = "y".repeat(256);
    let sent = sender.write_all(more_than_it_holds.as_bytes());
    tokio::time::timeout(crate::rig::LIMIT, sent)
        .await
        .unwrap()
        .unwrap();
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    drop(sender);
    // The write that nobody waits for ends, and then its answer is there.
    let again = tokio::time::timeout(crate::rig::LIMIT, async {
        loop {
            let answer = rig
                .call(&device, upload("k1", "a.txt", &more_than_it_holds))
                .await;
            if answer.status == StatusCode::OK {
                return answer;
            }
            assert_eq!(answer.code(), "idempotency_in_progress");
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(again.json()["size"], 256);
}

#[tokio::test]
async fn a_write_that_a_dying_process_left_open_is_not_done_again_blindly() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let (_sender, body) = tokio::io::duplex(64);
    let request = Request::post("/api/upload?filename=a.txt")
        .header("idempotency-key", "k1")
        .body(Body::from_stream(tokio_util::io::ReaderStream::new(body)))
        .unwrap();
    let service = rig.connect(&device).await;
    let asked = tokio::spawn(service.oneshot(request));
    let busy = async {
        loop {
            let answer = rig.call(&device, upload("k2", "b.txt", "x")).await;
            assert_eq!(answer.status, StatusCode::OK);
            let died = rig.die_and_restart().await;
            let answer = died.call(&device, upload("k1", "a.txt", "hello")).await;
            if answer.status == StatusCode::CONFLICT {
                return answer.code();
            }
        }
    };
    let code = tokio::time::timeout(crate::rig::LIMIT, busy).await.unwrap();
    assert_eq!(code, "idempotency_unknown");
    asked.abort();
}
