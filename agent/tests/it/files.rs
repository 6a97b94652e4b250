//! Uploads and downloads.

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt;

use crate::rig::{Answer, LIMIT, Rig, post};

fn put(name: &str, body: impl Into<Body>) -> Request<Body> {
    Request::put(format!("/api/files/{name}"))
        .body(body.into())
        .unwrap()
}

fn ranged(path: &str, range: &str) -> Request<Body> {
    Request::get(path)
        .header("range", range)
        .body(Body::empty())
        .unwrap()
}

fn parts(rig: &Rig) -> usize {
    let mut count = 0;
    for user in std::fs::read_dir(rig.folder().join("uploads")).unwrap() {
        for file in std::fs::read_dir(user.unwrap().path()).unwrap() {
            count += usize::from(
                file.unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with(".part-"),
            );
        }
    }
    count
}

#[tokio::test]
async fn an_uploaded_file_can_be_read_where_the_answer_says() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let answer = rig
        .call(&device, post("/api/upload?filename=../a%20b.txt", "hello"))
        .await
        .json();
    assert_eq!(answer["filename"], "a_b.txt");
    assert_eq!(answer["size"], 5);
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(answer["sha256"], hash);
    let file = rig.get(&device, answer["path"].as_str().unwrap()).await;
    assert_eq!(file.body, b"hello");
    assert_eq!(
        file.header("content-disposition"),
        "attachment; filename=\"a_b.txt\""
    );
    assert_eq!(file.header("x-content-type-options"), "nosniff");
    assert!(file.header("content-security-policy").contains("sandbox"));
    assert_eq!(file.header("content-length"), "5");
}

#[tokio::test]
async fn an_upload_never_replaces_a_file_but_a_put_does() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let mut names = vec![];
    for body in ["one", "two", "two"] {
        let answer = rig
            .call(&device, post("/api/upload?filename=n.txt", body))
            .await
            .json();
        names.push(answer["filename"].as_str().unwrap().to_owned());
    }
    assert_eq!(names[0], "n.txt");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
    assert_eq!(rig.get(&device, "/api/files/n.txt").await.body, b"one");
    rig.call(&device, put("n.txt", "new")).await;
    assert_eq!(rig.get(&device, "/api/files/n.txt").await.body, b"new");
    assert_eq!(parts(&rig), 0);
}

#[tokio::test]
async fn a_form_with_a_file_is_an_upload() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let body = "--B\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nx\r\n\
                --B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"p.txt\"\r\n\r\nhello\r\n--B--\r\n";
    let form = |body: &'static str| {
        Request::post("/api/upload")
            .header("content-type", "multipart/form-data; boundary=B")
            .body(Body::from(body))
            .unwrap()
    };
    let answer = rig.call(&device, form(body)).await;
    assert_eq!(answer.json()["filename"], "p.txt");
    assert_eq!(rig.get(&device, "/api/files/p.txt").await.body, b"hello");
    let empty = rig.call(&device, form("--B--\r\n")).await;
    assert_eq!(
        (empty.status, empty.code().as_str()),
        (StatusCode::BAD_REQUEST, "bad_form")
    );
}

#[tokio::test]
async fn one_byte_over_the_limit_is_refused_announced_or_not_and_leaves_nothing() {
    let rig = Rig::start_with(|settings| settings.sizes.upload = 10).await;
    let device = rig.network.owner();
    let announced = Request::post("/api/upload")
        .header("content-length", "11")
        .body(Body::empty())
        .unwrap();
    let pieces = vec![
        Ok::<_, std::io::Error>(Bytes::from_static(b"0123456789")),
        Ok(Bytes::from_static(b"x")),
    ];
    let streamed = Request::post("/api/upload")
        .body(Body::from_stream(futures_util::stream::iter(pieces)))
        .unwrap();
    for request in [announced, streamed] {
        let answer = rig.call(&device, request).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
        );
    }
    assert_eq!(
        rig.call(&device, post("/api/upload", "0123456789"))
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(parts(&rig), 0);
}

#[tokio::test]
async fn a_users_room_ends_and_another_users_does_not() {
    let rig = Rig::start_with(|settings| {
        settings.sizes.user = 10;
        settings.sizes.user_files = 3;
    })
    .await;
    let device = rig.network.owner();
    assert_eq!(
        rig.call(&device, put("a", "01234567")).await.status,
        StatusCode::OK
    );
    assert_eq!(
        rig.call(&device, put("b", "0123")).await.code(),
        "quota_exceeded"
    );
    assert_eq!(
        rig.call(&device, put("b", "0")).await.status,
        StatusCode::OK
    );
    assert_eq!(
        rig.call(&device, put("c", "0")).await.status,
        StatusCode::OK
    );
    assert_eq!(
        rig.call(&device, put("d", "")).await.code(),
        "quota_exceeded"
    );
    let other = rig
        .network
        .device("other", homing_certs::Role::Client, &["files"]);
    assert_eq!(
        rig.call(&other, put("d", "0123456789")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn parts_of_a_file_are_served_by_range() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let content: Vec<u8> = (0..300_000u32)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    rig.call(&device, put("big.bin", content.clone())).await;
    let path = "/api/files/big.bin";
    assert_eq!(rig.get(&device, path).await.body, content);
    let part = rig.call(&device, ranged(path, "bytes=200000-")).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.header("content-range"), "bytes 200000-299999/300000");
    assert_eq!(part.body, content[200_000..]);
    let beyond = rig.call(&device, ranged(path, "bytes=300000-")).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), "bytes */300000");
    let head = Request::head(path).body(Body::empty()).unwrap();
    let head = rig.call(&device, head).await;
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        ("300000", 0)
    );
}

#[tokio::test]
async fn nothing_but_plain_files_of_the_user_is_served() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    rig.call(&device, put("a.txt", "x")).await;
    let folder = rig.folder().join("uploads").join(device.user().to_string());
    std::os::unix::fs::symlink("/etc/passwd", folder.join("link")).unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    for name in [
        "link",
        "folder",
        "..",
        "%2e%2e%2f%2e%2e%2fagent.db",
        "missing",
        "a.txt%00",
    ] {
        let answer = rig.get(&device, &format!("/api/files/{name}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing_and_keeps_what_was_there() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    rig.call(&device, put("a.txt", "old")).await;
    let pieces = vec![
        Ok(Bytes::from_static(b"new")),
        Err(std::io::Error::other("gone")),
    ];
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    assert_eq!(
        rig.call(&device, put("a.txt", body)).await.code(),
        "upload_broken_off"
    );
    assert_eq!(rig.get(&device, "/api/files/a.txt").await.body, b"old");
    assert_eq!(parts(&rig), 0);
}

#[tokio::test]
async fn a_revocation_cancels_an_upload_that_runs() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    let (pieces, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let service = rig.connect(&device).await;
    let upload = tokio::spawn(service.oneshot(put("a.txt", Body::from_stream(stream))));
    // The second send returns only when the first piece has been taken.
    pieces.send(Ok(Bytes::from_static(b"one"))).await.unwrap();
    pieces.send(Ok(Bytes::from_static(b"two"))).await.unwrap();
    device.revoke();
    let response = tokio::time::timeout(LIMIT, upload)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(Answer::read(response).await.code(), "cancelled");
    assert_eq!(parts(&rig), 0);
}

#[tokio::test]
async fn what_an_earlier_process_left_half_written_is_removed() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    rig.call(&device, put("a.txt", "x")).await;
    let folder = rig.folder().join("uploads").join(device.user().to_string());
    std::fs::write(folder.join(".part-1-1"), "half").unwrap();
    let rig = rig.restart_with(|_| {}).await;
    assert_eq!(parts(&rig), 0);
    assert_eq!(rig.get(&device, "/api/files/a.txt").await.body, b"x");
}

#[tokio::test]
async fn an_attachment_must_be_a_file_of_the_user() {
    let rig = Rig::start().await;
    let device = rig.network.owner();
    rig.call(&device, put("a.txt", "x")).await;
    let mut ws = rig.ws(&device).await;
    for (path, refused) in [
        ("/api/files/a.txt", false),
        ("/api/files/missing.txt", true),
        ("/etc/passwd", true),
    ] {
        ws.send(json!({
            "type": "text_final", "session_id": "s", "text": "help", "client_msg_id": path,
            "attachments": [{"path": path, "filename": "a.txt", "type": "file"}],
        }))
        .await;
        if refused {
            let error = ws.wait_for("error").await;
            assert_eq!(
                (&error["code"], &error["client_msg_id"]),
                (&json!("not_found"), &json!(path))
            );
        } else {
            let message = ws.wait_for("message").await;
            assert_eq!(message["attachments"][0]["path"], path);
            ws.wait_for("turn_complete").await;
        }
    }
}

#[tokio::test]
async fn files_that_come_beside_each_other_do_not_pass_a_users_limits_together() {
    let rig = Rig::start_with(|settings| {
        settings.sizes.user = 10_000;
        settings.sizes.user_files = 5;
    })
    .await;
    let device = rig.network.owner();
    let used = || {
        let folder = rig.folder().join("uploads").join(device.user().to_string());
        let files = std::fs::read_dir(folder).unwrap();
        let sizes: Vec<u64> = files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .collect();
        (sizes.len(), sizes.iter().sum::<u64>())
    };
    let together = |prefix: &str, size: usize| {
        let puts = (0..20).map(|number| {
            let body = vec![b'x'; size];
            rig.call(&device, put(&format!("{prefix}{number}"), body))
        });
        futures_util::future::join_all(puts)
    };
    let answers = together("large", 3_000).await;
    let stored = answers.iter().filter(|answer| answer.status.is_success());
    assert!((1..=3).contains(&stored.count()));
    let (files, bytes) = used();
    assert!(
        (1..=3).contains(&files) && bytes <= 10_000,
        "{files} {bytes}"
    );
    together("small", 1).await;
    assert_eq!(used().0, 5);
    assert_eq!(parts(&rig), 0);
}
