//! How servers are greeted, replaced, switched off and ended.

use http::Method;
use serde_json::json;

use super::bench::{Bench, dead, lives, noted, scripted};

#[tokio::test]
async fn a_server_without_a_handshake_is_asked_what_it_is() {
    let bench = Bench::with(&["modern"]).await;
    let server = bench.ready().await;
    assert_eq!(server["status"]["protocol"], "2026-07-28");
    assert_eq!(bench.text("echo", json!({})).await, "{}");
    assert!(
        !bench
            .logs()
            .await
            .iter()
            .any(|line| line.contains("initialize"))
    );
}

#[tokio::test]
async fn every_version_with_a_handshake_is_spoken() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let flag = format!("version={version}");
        let bench = Bench::with(&[&flag]).await;
        let server = bench.ready().await;
        assert_eq!(server["status"]["protocol"], version);
        assert_eq!(bench.text("echo", json!({})).await, "{}");
    }
}

#[tokio::test]
async fn a_server_that_dies_of_the_first_question_gets_another_greeting() {
    let bench = Bench::with(&["dies"]).await;
    let server = bench.ready().await;
    assert_eq!(server["status"]["protocol"], "2025-06-18");
    assert_eq!(server["status"]["restarts"], 0);
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_first_question_is_greeted_like_an_old_one() {
    let bench = Bench::with(&["mute"]).await;
    let server = bench.ready().await;
    assert_eq!(server["status"]["protocol"], "2025-06-18");
}

#[tokio::test]
async fn a_changed_config_replaces_the_server_without_a_gap_and_lets_its_calls_end() {
    let bench = Bench::start().await;
    let note = bench.note("pids");
    let flag = format!("note={}", note.display());
    bench.add(&[&flag]).await;
    bench.ready().await;
    let old = noted(&note);
    let (answer, ()) = tokio::join!(bench.text("sleep", json!({"seconds": 2})), async {
        bench.logged("tools/call").await;
        let body = json!({"command": scripted(&[&flag, "build=2"]), "policy": "allow"});
        let put = bench.send(Method::PUT, "/api/mcps/s", body).await;
        assert_eq!(put.status, 200);
        // Until its successor is there, the old one answers.
        assert!(!bench.offered().is_empty());
        bench
            .until(|server| server["status"]["title"] == "scripted 2")
            .await;
        assert!(lives(old[0]), "it still has a call to end");
        assert!(!bench.offered().is_empty());
    });
    assert_eq!(answer, "slept");
    dead(&old).await;
    let both = noted(&note);
    assert_eq!((both.len(), lives(both[1])), (2, true));
    assert_eq!(bench.show("s").await["status"]["restarts"], 0);
}

#[tokio::test]
async fn many_changes_in_a_row_leave_one_server_behind() {
    let bench = Bench::start().await;
    let note = bench.note("pids");
    let flag = format!("note={}", note.display());
    bench.add(&[&flag]).await;
    for build in 0..8 {
        let build = format!("build={build}");
        let body = json!({"command": scripted(&[&flag, &build]), "policy": "allow"});
        bench.send(Method::PUT, "/api/mcps/s", body).await;
    }
    bench
        .until(|server| server["status"]["title"] == "scripted 7")
        .await;
    let pid = bench.text("pid", json!({})).await.parse().unwrap();
    let others: Vec<u32> = noted(&note).into_iter().filter(|one| *one != pid).collect();
    dead(&others).await;
    assert!(lives(pid));
}

#[tokio::test]
async fn a_new_policy_holds_at_once_and_starts_nothing() {
    let bench = Bench::with(&[]).await;
    bench.ready().await;
    let before = bench.text("pid", json!({})).await;
    let body = json!({"command": scripted(&[]), "policy": "allow", "tools": {"crash": "deny"}});
    bench.send(Method::PUT, "/api/mcps/s", body).await;
    assert!(!bench.offered().contains(&"mcp_s_crash".to_owned()));
    assert_eq!(bench.text("pid", json!({})).await, before);
}

#[tokio::test]
async fn a_successor_that_does_not_start_takes_the_old_server_along() {
    let bench = Bench::start().await;
    let note = bench.note("pids");
    let flag = format!("note={}", note.display());
    bench.add(&[&flag]).await;
    bench.ready().await;
    let body = json!({"command": "/nowhere/at-all", "policy": "allow"});
    bench.send(Method::PUT, "/api/mcps/s", body).await;
    let server = bench
        .until(|server| server["status"]["state"] == "failed")
        .await;
    let error = server["status"]["last_error"].as_str().unwrap();
    assert!(error.contains("could not be started"), "{error}");
    dead(&noted(&note)).await;
    assert!(bench.offered().is_empty());
    // Given up, not forgotten: to enable it is to try again.
    let again = bench
        .send(Method::POST, "/api/mcps/s/enable", json!({}))
        .await;
    assert_eq!(again.json()["status"]["restarts"], 0);
}

#[tokio::test]
async fn off_ends_it_on_starts_it_and_remove_forgets_it() {
    let bench = Bench::start().await;
    let note = bench.note("pids");
    let flag = format!("note={}", note.display());
    bench.add(&[&flag]).await;
    bench.ready().await;
    bench
        .send(Method::POST, "/api/mcps/s/disable", json!({}))
        .await;
    bench
        .until(|server| server["status"]["state"] == "disabled")
        .await;
    dead(&noted(&note)).await;
    assert!(bench.offered().is_empty());
    assert!(bench.error("echo", json!({})).await.contains("no tool"));
    bench
        .send(Method::POST, "/api/mcps/s/enable", json!({}))
        .await;
    bench.ready().await;
    assert_eq!(noted(&note).len(), 2);
    let gone = bench.send(Method::DELETE, "/api/mcps/s", json!({})).await;
    assert_eq!(gone.json()["deleted"], true);
    dead(&noted(&note)).await;
    assert!(bench.offered().is_empty());
    assert_eq!(
        bench.rig.get(&bench.owner, "/api/mcps/s").await.code(),
        "not_found"
    );
}

#[tokio::test]
async fn tools_that_change_are_seen_at_once() {
    for flags in [&[][..], &["version=2024-11-05"]] {
        let bench = Bench::with(flags).await;
        bench.ready().await;
        assert!(!bench.offered().contains(&"mcp_s_fresh".to_owned()));
        bench.text("grow", json!({"name": "fresh"})).await;
        bench
            .until(|_| bench.offered().contains(&"mcp_s_fresh".to_owned()))
            .await;
    }
}

#[tokio::test]
async fn nothing_of_a_server_outlives_the_agent() {
    let bench = Bench::start().await;
    let (note, child) = (bench.note("pids"), bench.note("child"));
    let flags = [
        format!("note={}", note.display()),
        format!("child={}", child.display()),
    ];
    bench.add(&[&flags[0], &flags[1], "stays"]).await;
    bench.ready().await;
    let all = [noted(&note), noted(&child)].concat();
    assert!(all.iter().all(|pid| lives(*pid)), "{all:?}");
    bench.rig.state.shutdown().await;
    assert!(!all.iter().any(|pid| lives(*pid)), "{all:?}");
}
