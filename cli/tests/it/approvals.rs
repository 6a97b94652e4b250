//! `homing approvals` against a real agent.

use serde_json::json;

use crate::kit::Dir;

#[test]
fn approvals_are_listed_through_the_running_process_and_one_that_is_not_there_is_named_so() {
    let host = Dir::new();
    let up = host.up();
    assert_eq!(host.run(["approvals"]).ok()["approvals"], json!([]));
    assert_eq!(
        host.run(["approvals", "list", "--all"]).ok()["approvals"],
        json!([])
    );
    for command in ["show", "approve", "deny"] {
        host.run(["approvals", command, "1"])
            .refused(1, "not_found");
    }
    up.stop();
}
