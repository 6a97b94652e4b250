//! What the agent starts cannot become the agent: the same look-around by a program of a tool, by an
//! MCP server, and by a grandchild that has left its parent, its group and its session behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::approvals::{configure, message};
use crate::kit::{Dir, Running, eventually};
use crate::story::{Socket, open_socket, say, until};

/// Each line of the report is a name and what came of it. `$1` is the report, `$2` homing's directory,
/// `$3` the proxy; with `$4` it waits until that process is gone.
const LOOK_AROUND: &str = r#"
report=$1 dir=$2 proxy=$3 parent=$4
: > "$report.begun"
while [ -n "$parent" ] && kill -0 "$parent" 2>/dev/null; do sleep 0.01; done
try() { name=$1; shift; out=$("$@" 2>&1); echo "$name $? $(echo "$out" | tr '\n' ' ')"; }
{
  try list ls "$dir"
  try key cat "$dir/device/key"
  try database head -c 15 "$dir/agent/agent.db"
  try token cat "$dir/run/proxy.token"
  try write sh -c 'echo x > "$0/agent/planted"' "$dir"
  try port curl -sS -m 10 "$proxy/api/health"
  try proxy-socket curl -sS -m 10 --unix-socket "$dir/run/proxy.sock" http://localhost/api/health
  try control "$HOMING" --dir "$dir" --json devices
  try control-socket curl -sS -m 10 --unix-socket "$dir/run/control.sock" http://localhost/
} > "$report.part"
mv "$report.part" "$report"
"#;

struct Place {
    host: Dir,
    up: Running,
    /// For scripts and reports, not in homing's directory.
    beside: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let host = Dir::new();
        host.configure("[proxy]\nport = 0\n[policy.tools]\nshell = \"allow\"\n");
        let up = host.up();
        configure(&host);
        let beside = tempfile::tempdir().unwrap();
        let script = format!("HOMING={}\n{LOOK_AROUND}", env!("CARGO_BIN_EXE_homing"));
        std::fs::write(beside.path().join("look"), script).unwrap();
        Self { host, up, beside }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.beside.path().join(name)
    }

    /// The script's command line.
    fn look(&self, report: &str) -> Vec<String> {
        let (script, report) = (self.file("look"), self.file(report));
        let proxy = self.up.url("");
        let words = [Path::new("sh"), &script, &report, &self.host.path()];
        let words = words.iter().map(|word| word.display().to_string());
        words.chain([proxy]).collect()
    }

    /// The lines of a report once it is there, by name.
    fn report(&self, name: &str) -> impl Fn(&str) -> String + use<> {
        let report = eventually(name, || std::fs::read_to_string(self.file(name)).ok());
        move |name| {
            let line = report.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {report}"))
                .trim()
                .to_owned()
        }
    }

    fn is_kept_out(&self, name: &str) {
        let said = self.report(name);
        for file in ["list ", "key ", "database ", "token ", "write ", "control "] {
            assert!(
                said(file).contains("Permission denied"),
                "{name}: {}",
                said(file)
            );
            assert_ne!(code(&said(file)), "0", "{name}: {}", said(file));
        }
        // curl: no connection; a question for the token; no answer.
        assert_eq!(code(&said("port ")), "7", "{name}: {}", said("port "));
        let through = said("proxy-socket ");
        assert!(through.contains("token_required"), "{name}: {through}");
        let control = said("control-socket ");
        assert_ne!(code(&control), "0", "{name}: {control}");
        assert!(!self.host.path().join("agent/planted").exists(), "{name}");
    }
}

/// The exit code of an attempt.
fn code(said: &str) -> &str {
    said.split(' ').next().unwrap_or_default()
}

async fn run(socket: &mut Socket, argv: &[String]) -> Value {
    say(socket, message(&json!({ "argv": argv }))).await;
    until(socket, "turn_complete").await.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_an_mcp_server_and_a_child_that_outlives_its_parent_reach_nothing_of_homing() {
    let place = Place::new();
    // The same look-around by a program that nobody confined sees all of it.
    let look = place.look("free");
    let status = Command::new(&look[0]).args(&look[1..]).status();
    assert!(status.unwrap().success());
    let free = place.report("free");
    for open in [
        "list ",
        "key ",
        "database ",
        "token ",
        "write ",
        "port ",
        "control ",
    ] {
        assert_eq!(code(&free(open)), "0", "{open}: {}", free(open));
    }
    std::fs::remove_file(place.host.path().join("agent/planted")).unwrap();

    let mut socket = open_socket(&place.up.text("proxy_url")).await;
    run(&mut socket, &place.look("tool")).await;
    place.is_kept_out("tool");

    let look = place.look("server");
    let add = ["mcp", "add", "look", "--"];
    let add = add.into_iter().chain(look.iter().map(String::as_str));
    place.host.run(add).ok();
    place.is_kept_out("server");

    // Forked twice, in a session of its own; it looks around when the tool has ended.
    let orphan = place.look("orphan").join("' '");
    let begun = place.file("orphan.begun");
    // Not before it has left the group, with which it would end.
    let wait = format!("while [ ! -e '{}' ]; do sleep 0.01; done", begun.display());
    let line = format!("setsid -f '{orphan}' $$; {wait}");
    run(&mut socket, &["sh", "-c", &line].map(str::to_owned)).await;
    place.is_kept_out("orphan");
    place.up.stop();
}
