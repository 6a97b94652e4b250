//! `homing sessions`.

use super::homing;
use crate::kit::Dir;

#[test]
fn sessions_are_listed_shown_and_cleared() {
    let host = Dir::new();
    let up = host.up();
    for session in ["tg:155490357", "a/b c"] {
        let said = host.run(["chat", "--session", session, "memory"]);
        assert!(said.status.success(), "{said:?}");
    }
    let listed = host.run(["sessions", "list"]).ok();
    let ids: Vec<_> = listed["sessions"].as_array().unwrap().iter().collect();
    assert_eq!(ids.len(), 2, "{listed}");
    let text = homing(&host, ["sessions"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.lines().last().unwrap().starts_with("a/b c"), "{text}");

    let shown = host.run(["sessions", "show", "tg:155490357"]).ok();
    let events = shown["events"].as_array().unwrap();
    assert_eq!(events[0]["text"], "memory");
    assert_eq!(events.last().unwrap()["type"], "turn_complete");
    let text = homing(&host, ["sessions", "show", "tg:155490357"])
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("] memory\n· system"), "{text}");
    assert!(text.contains("\nMemory: "), "{text}");

    host.run(["sessions", "clear", "a/b c"]).ok();
    let shown = host.run(["sessions", "show", "a/b c"]).ok();
    assert_eq!(
        shown["events"].as_array().unwrap().last().unwrap()["type"],
        "cleared"
    );
    for command in ["show", "clear"] {
        host.run(["sessions", command, "nobody's"])
            .refused(2, "unknown_session");
    }
    up.stop();
}
