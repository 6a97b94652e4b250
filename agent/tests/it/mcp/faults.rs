//! Servers that crash, hang, lie or leave something behind.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bench::{Bench, dead, lives, noted};

#[tokio::test]
async fn a_server_that_crashes_in_a_call_is_started_again_and_the_call_fails_at_once() {
    let bench = Bench::with(&[]).await;
    bench.ready().await;
    let before = Instant::now();
    let error = bench.error("crash", json!({})).await;
    assert!(error.contains("gone"), "{error}");
    assert!(before.elapsed() < Duration::from_secs(5));
    let server = bench
        .until(|server| server["status"]["restarts"] == 1 && server["status"]["state"] == "ready")
        .await;
    assert_eq!(server["status"]["last_error"], "the server has ended");
    assert_eq!(bench.text("echo", json!({})).await, "{}");
    bench.logged("about to crash").await;
}

#[tokio::test]
async fn a_server_that_never_starts_is_tried_a_few_times_and_then_left_alone() {
    let bench = Bench::start().await;
    let note = bench.note("pids");
    bench
        .add(&[&format!("note={}", note.display()), "exits"])
        .await;
    let server = bench
        .until(|server| server["status"]["state"] == "failed")
        .await;
    assert_eq!(server["status"]["restarts"], 3);
    assert!(
        server["status"]["last_error"]
            .as_str()
            .unwrap()
            .contains("MCP")
    );
    bench.logged("exiting at once").await;
    let pids = noted(&note);
    // Each start tries two greetings.
    assert_eq!(pids.len(), 8, "{pids:?}");
    dead(&pids).await;
}

#[tokio::test]
async fn a_call_that_hangs_ends_in_time_and_the_server_hears_of_it_and_lives() {
    let bench = Bench::start().await;
    let command = super::bench::scripted(&[]);
    let body = json!({"name": "s", "command": command, "policy": "allow", "timeout_s": 1});
    bench.send(http::Method::POST, "/api/mcps", body).await;
    bench.ready().await;
    let pid = bench.text("pid", json!({})).await;
    let error = bench.error("hang", json!({})).await;
    assert!(error.contains("did not answer within 1 s"), "{error}");
    bench.logged("cancelled").await;
    // It answered the probe, so it was left alone.
    assert_eq!(bench.text("pid", json!({})).await, pid);
    assert_eq!(bench.show("s").await["status"]["restarts"], 0);
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled_at_the_server() {
    let bench = Bench::with(&[]).await;
    bench.ready().await;
    tokio::select! {
        outcome = bench.call("hang", json!({})) => panic!("{outcome:?}"),
        () = bench.logged("hanging") => {}
    }
    bench.logged("cancelled").await;
    assert_eq!(bench.text("echo", json!({})).await, "{}");
}

#[tokio::test]
async fn a_server_that_stops_answering_altogether_is_started_anew() {
    let bench = Bench::start().await;
    let note = bench.note("pids");
    let flag = format!("note={}", note.display());
    let command = super::bench::scripted(&[&flag]);
    let body = json!({"name": "s", "command": command, "policy": "allow", "timeout_s": 1});
    bench.send(http::Method::POST, "/api/mcps", body).await;
    bench.ready().await;
    let first = noted(&note);
    // Asleep with all its threads, as in a deadlock.
    let stop = format!("kill -STOP {}", first[0]);
    let stopped = std::process::Command::new("sh")
        .args(["-c", &stop])
        .status();
    assert!(stopped.unwrap().success());
    bench.error("echo", json!({})).await;
    bench
        .until(|server| server["status"]["restarts"] == 1 && server["status"]["state"] == "ready")
        .await;
    dead(&first).await;
    assert_eq!(bench.text("echo", json!({})).await, "{}");
}

#[tokio::test]
async fn lines_that_are_not_mcp_are_skipped_and_logged() {
    let bench = Bench::with(&["garbage=50"]).await;
    bench.ready().await;
    for _ in 0..20 {
        assert_eq!(bench.text("echo", json!({})).await, "{}");
    }
    bench.logged("stdout: garbage 0 {").await;
}

#[tokio::test]
async fn a_server_that_writes_nothing_else_is_stopped() {
    let bench = Bench::start().await;
    let note = bench.note("pids");
    bench
        .add(&[&format!("note={}", note.display()), "flood"])
        .await;
    bench
        .until(|server| server["status"]["state"] == "failed")
        .await;
    dead(&noted(&note)).await;
    bench.logged("writes what is not MCP").await;
}

#[tokio::test]
async fn a_message_above_the_limit_fails_its_call_at_once_and_nothing_else() {
    let bench = Bench::with(&[]).await;
    bench.ready().await;
    let pid = bench.text("pid", json!({})).await;
    let before = Instant::now();
    let error = bench.error("huge", json!({"bytes": 5_000_000})).await;
    assert!(error.contains("thrown away"), "{error}");
    assert!(before.elapsed() < Duration::from_secs(10));
    assert_eq!(bench.text("pid", json!({})).await, pid);
}

#[tokio::test]
async fn a_server_with_too_many_tools_is_cut_and_says_so() {
    for flags in [&["many=5000"][..], &["many=5000", "page=100"]] {
        let bench = Bench::with(flags).await;
        let server = bench.ready().await;
        let status = &server["status"];
        assert_eq!(status["tools"].as_array().unwrap().len(), 512);
        assert_eq!(status["left_out"]["more_than_limit"], true);
        assert_eq!(bench.offered().len(), 120);
        let server = bench.show("s").await;
        assert_eq!(server["status"]["not_offered"], 392);
        let offered = server["status"]["tools"].as_array().unwrap().iter();
        assert_eq!(offered.filter(|tool| tool["offered"] == true).count(), 120);
    }
}

#[tokio::test]
async fn a_list_that_never_ends_and_a_schema_without_measure_are_left_out() {
    let bench = Bench::with(&["endless"]).await;
    let server = bench.ready().await;
    assert_eq!(server["status"]["tools"].as_array().unwrap().len(), 1);
    assert_eq!(server["status"]["left_out"]["more_than_limit"], true);

    let bench = Bench::with(&["schema=100000"]).await;
    let server = bench.ready().await;
    assert_eq!(server["status"]["left_out"]["schema_too_long"], 1);
}

#[tokio::test]
async fn a_server_that_cannot_list_its_tools_is_not_ready() {
    let bench = Bench::with(&["broken-list"]).await;
    let server = bench
        .until(|server| server["status"]["state"] == "failed")
        .await;
    let error = server["status"]["last_error"].as_str().unwrap();
    assert!(error.contains("no list today"), "{error}");
}

#[tokio::test]
async fn what_a_server_has_started_goes_with_it() {
    let bench = Bench::start().await;
    let (note, child) = (bench.note("pids"), bench.note("child"));
    let flags = [
        format!("note={}", note.display()),
        format!("child={}", child.display()),
    ];
    bench.add(&[&flags[0], &flags[1]]).await;
    bench.ready().await;
    let first = [noted(&note), noted(&child)].concat();
    assert!(first.iter().all(|pid| lives(*pid)));
    // Its child holds the pipes open, and still the crash is noticed.
    let error = bench.error("crash", json!({})).await;
    assert!(error.contains("gone"), "{error}");
    dead(&first).await;
    bench
        .until(|server| server["status"]["restarts"] == 1 && server["status"]["state"] == "ready")
        .await;
    let second: Vec<u32> = [noted(&note), noted(&child)]
        .concat()
        .into_iter()
        .filter(|pid| !first.contains(pid))
        .collect();
    bench.rig.state.shutdown().await;
    dead(&second).await;
}
