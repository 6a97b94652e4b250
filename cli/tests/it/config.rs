//! The configuration with the real binary and real curl: comments, bad values, two editors, a full
//! disk, a broken file, the signal, and the process started anew.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::approvals::{configure, message};
use crate::contract::RESTART;
use crate::kit::{Curled, Dir, LIMIT, Running, curl, signal};
use crate::machine::SmallDisk;
use crate::story::{open_socket, say, until};

const FAILED: i32 = 1;
const TEXT: &str = "# mine\n[budgets] # small\n# of one day\nday = 2.0 # dollars\n";

fn bearer(host: &Dir) -> String {
    let token = std::fs::read_to_string(host.path().join("run/proxy.token")).unwrap();
    format!("Authorization: Bearer {}", token.trim())
}

fn patch(host: &Dir, up: &Running, section: &str, patch: &Value, more: &[&str]) -> Curled {
    let (url, body, bearer) = (
        up.url(&format!("/api/config/{section}")),
        patch.to_string(),
        bearer(host),
    );
    let mut args = vec!["-X", "PATCH", "-H", &bearer, "-d", &body, &url];
    args.extend(more);
    curl(args)
}

fn file(host: &Dir) -> String {
    std::fs::read_to_string(host.path().join("homing.toml")).unwrap()
}

fn cap(up: &Running) -> Value {
    curl([up.url("/api/usage")]).ok()["caps_micro_usd"]["day"].clone()
}

#[test]
fn a_value_is_changed_where_it_stands_and_holds_at_once() {
    let host = Dir::new();
    host.configure(TEXT);
    let up = host.up();
    assert_eq!(cap(&up), 2_000_000);
    // Without the token a program of this user is not a person.
    let plain = up.url("/api/config/budgets");
    curl(["-X", "PATCH", "-d", "{\"day\":9}", &plain]).refused(403, "forbidden");
    let changed = patch(&host, &up, "budgets", &json!({ "day": 3.5 }), &[]).ok();
    assert_eq!(changed["config"]["budgets"]["day"], 3.5);
    assert_eq!(changed["restart_required"], json!([]));
    let text = file(&host);
    assert!(text.starts_with(&TEXT.replace("2.0", "3.5")), "{text}");
    assert_eq!(cap(&up), 3_500_000);
    let changed = patch(&host, &up, "proxy", &json!({ "ipv6": false }), &[]).ok();
    assert_eq!(changed["restart_required"], json!(["proxy"]));

    // What is wrong, or is nobody's business over the network, leaves every byte as it is.
    let before = file(&host);
    for (section, wrong, status, code) in [
        ("budgets", json!({ "day": -1 }), 400, "config_invalid"),
        ("budgets", json!({ "dya": 1 }), 400, "config_invalid"),
        ("relay", json!("sometimes"), 400, "config_invalid"),
        ("shell", json!({ "roots": ["/"] }), 403, "host_only"),
        (
            "hooks",
            json!([{ "on": "agent_end", "command": ["/bin/true"] }]),
            403,
            "host_only",
        ),
        ("secrets", json!({}), 404, "unknown_section"),
    ] {
        patch(&host, &up, section, &wrong, &[]).refused(status, code);
        assert_eq!(file(&host), before, "{section} {wrong}");
    }
    // Two who have read the same state: the second is told.
    let read = curl([up.url("/api/config"), "-H".into(), bearer(&host)]).ok();
    let tag = format!("If-Match: \"{}\"", read["revision"].as_str().unwrap());
    patch(&host, &up, "budgets", &json!({ "month": 9 }), &["-H", &tag]).ok();
    patch(&host, &up, "budgets", &json!({ "month": 8 }), &["-H", &tag])
        .refused(409, "config_changed");
    assert!(file(&host).contains("month = 9"));
    up.stop();
}

#[test]
fn the_command_line_reads_changes_and_restores_it() {
    let host = Dir::new();
    host.configure(TEXT);
    let up = host.up();
    assert_eq!(
        host.run(["config", "get", "budgets.day"]).ok()["value"],
        2.0
    );
    let set = host.run(["config", "set", "budgets.day", "4"]).ok();
    assert_eq!(set["restart_required"], json!([]));
    assert_eq!(cap(&up), 4_000_000);
    let good = file(&host);
    let set = host.run(["config", "set", "proxy.port", "7171"]).ok();
    assert_eq!(set["restart_required"], json!(["proxy"]));
    host.run(["config", "set", "budgets.day", "much"])
        .refused(FAILED, "config_invalid");
    host.run(["config", "get", "budgets.week"])
        .refused(2, "usage");
    assert!(file(&host).starts_with(&TEXT.replace("2.0", "4")));
    let shown = host.run(["config"]).ok();
    assert_eq!(shown["toml"], file(&host));
    assert_eq!(shown["config"]["limits"]["runs_per_minute"], 10);

    // A broken file: what runs goes on, whoever looks is told, and there is a way back.
    host.configure("[budgets\n");
    host.run(["config", "check"])
        .refused(FAILED, "config_invalid");
    host.run(["config", "reload"])
        .refused(FAILED, "config_invalid");
    assert_eq!(cap(&up), 4_000_000);
    let findings = host.run(["doctor"]).ok()["findings"].clone();
    let codes = findings.as_array().unwrap().iter().map(|one| &one["code"]);
    assert!(
        codes.into_iter().any(|code| code == "config_invalid"),
        "{findings}"
    );
    host.run(["config", "restore"]).ok();
    assert_eq!(file(&host), good);
    host.run(["config", "restore"])
        .refused(FAILED, "nothing_to_restore");
    up.stop();
    host.run(["config", "reload"])
        .refused(FAILED, "not_running");
    // A start with a broken file names the way back.
    host.configure("[budgets\n");
    let refused = host.run(["up"]).refused(FAILED, "config_invalid");
    assert!(
        refused["hint"]
            .as_str()
            .unwrap()
            .contains("homing config restore")
    );
}

#[test]
fn a_hangup_signal_has_the_file_read_again_and_a_broken_one_changes_nothing() {
    let host = Dir::new();
    host.configure(TEXT);
    let up = host.up();
    let hangup_until = |wanted: &dyn Fn() -> bool| {
        signal(up.pid(), "HUP");
        let begin = Instant::now();
        while !wanted() {
            assert!(begin.elapsed() < LIMIT, "{}", up.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    host.configure(&TEXT.replace("2.0", "5.0"));
    hangup_until(&|| cap(&up) == 5_000_000);
    host.configure("[budgets\n");
    hangup_until(&|| up.log().contains("what was in effect stays"));
    assert_eq!(cap(&up), 5_000_000);
    up.stop();
}

#[test]
fn a_full_disk_leaves_the_old_file_and_says_so() {
    let host = Dir::new();
    let disk = SmallDisk::under(&host, "64m");
    host.configure(TEXT);
    let up = host.up();
    let before = file(&host);
    let ballast = disk.fill();
    let long = json!({ "tools": { "x".repeat(8_000): "deny" } });
    let answer = patch(&host, &up, "policy", &long, &[]);
    // Either the change could not be audited, which comes first, or it could not be written.
    assert!([503, 507].contains(&answer.status), "{answer:?}");
    host.run(["config", "set", "budgets.day", "9"])
        .refused(FAILED, "disk_full");
    assert_eq!(file(&host), before);
    std::fs::remove_file(ballast).unwrap();
    host.run(["config", "set", "budgets.day", "9"]).ok();
    assert_eq!(cap(&up), 9_000_000);
    up.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_ends_with_its_own_code_and_what_waits_for_a_person_goes_on_after_it() {
    let host = Dir::new();
    let mut up = host.up();
    configure(&host);
    let mut socket = open_socket(&up.text("proxy_url")).await;
    say(&mut socket, message(&json!({ "argv": ["touch", "mark"] }))).await;
    let asked = until(&mut socket, "approval_required").await;
    let id = asked.last().unwrap()["id"].to_string();
    curl(["-X", "POST", &up.url("/api/restart")]).refused(403, "forbidden");
    assert_eq!(host.run(["restart"]).ok()["restarting"], true);
    assert_eq!(up.exit_code(), Some(RESTART), "{}", up.log());

    let up = host.up();
    host.run(["approvals", "approve", &id]).ok();
    let mut socket = open_socket(&up.text("proxy_url")).await;
    let open = json!({ "type": "session_open", "session_id": "s", "from_seq": 1 });
    say(&mut socket, open).await;
    let frames = until(&mut socket, "turn_complete").await;
    assert_eq!(frames.last().unwrap()["reason"], "done", "{frames:?}");
    assert!(host.path().join("agent/workspace/mark").exists());
    up.stop();
}
