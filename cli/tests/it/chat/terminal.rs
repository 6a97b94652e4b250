//! `homing chat` at a terminal.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::homing;
use super::model::FakeModel;
use crate::kit::{Dir, eventually, signal};
use crate::pty::Terminal;

const CTRL_C: &str = "\u{3}";
const CTRL_D: &str = "\u{4}";
const UP: &str = "\u{1b}[A";

fn chat(dir: &Dir) -> Terminal {
    let mut terminal = Terminal::open(&homing(dir, ["chat"]));
    terminal.until("/help lists the commands");
    terminal.until("> ");
    terminal
}

#[test]
fn a_conversation_has_prompts_answers_commands_and_a_history() {
    let host = Dir::new();
    let up = host.up();
    let mut terminal = chat(&host);
    terminal.enter("who am I?");
    let shown = terminal.until("Path: direct.");
    // The tool that ran is a dim line of its own.
    assert!(
        shown.contains("\u{1b}[2m· whoami\u{1b}[0m\r\n"),
        "{shown:?}"
    );
    assert!(shown.contains("You are "), "{shown:?}");
    terminal.until("> ");
    // A line that ends with a backslash goes on in the next one.
    terminal.enter("how much \\");
    terminal.enter("memory?");
    terminal.until("Memory: ");
    terminal.until("> ");
    terminal.enter("/help");
    terminal.until("/attach");
    terminal.until("Ctrl-D leaves.");
    terminal.until("> ");
    terminal.enter("/status");
    terminal.until("idle, 0 waiting");
    terminal.until("> ");
    terminal.enter("/dance");
    terminal.until("there is no such command");
    terminal.until("> ");
    terminal.enter("/model");
    terminal.until("built-in");
    terminal.until("> ");
    let file = host.path().join("notes.txt");
    std::fs::write(&file, "notes").unwrap();
    terminal.enter(&format!("/attach {}", file.display()));
    terminal.until("notes.txt goes with the next message");
    terminal.until("> ");
    terminal.enter("/attach /nowhere");
    terminal.until("could not be read");
    terminal.until("> ");
    terminal.enter("disk");
    terminal.until("Disk: ");
    terminal.until("> ");
    terminal.enter("/sessions");
    terminal.until("chat     ");
    terminal.until("> ");
    terminal.enter("/new");
    terminal.until("session chat-");
    terminal.until(", new.");
    terminal.until("> ");
    terminal.enter("/session chat");
    terminal.until("session chat, 6 messages");
    terminal.until("> ");
    terminal.press(CTRL_D);
    let (status, _) = terminal.ended();
    assert!(status.success(), "{status}");
    let shown = host.run(["sessions", "show", "chat"]).ok();
    let events = shown["events"].as_array().unwrap().iter();
    let files: Vec<_> = events
        .filter_map(|event| event["attachments"][0]["filename"].as_str())
        .collect();
    assert_eq!(files, ["notes.txt"]);

    let folder = host.path().join("chat");
    for (path, mode) in [(folder.clone(), 0o700), (folder.join("history"), 0o600)] {
        let meta = std::fs::metadata(path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, mode);
    }
    let history = std::fs::read_to_string(folder.join("history")).unwrap();
    assert!(history.contains("\"how much \\nmemory?\"\n"), "{history}");
    // The next conversation goes on in the same session and knows what was typed.
    let mut terminal = Terminal::open(&homing(&host, ["chat"]));
    terminal.until("session chat, 6 messages");
    terminal.until("> ");
    terminal.press(UP);
    terminal.until("/session chat");
    terminal.press(CTRL_C);
    terminal.until("once more leaves");
    terminal.until("> ");
    terminal.press(CTRL_C);
    assert!(terminal.ended().0.success());
    up.stop();
}

#[test]
fn ctrl_c_stops_the_answer_and_the_second_one_leaves() {
    let host = Dir::new();
    let model = FakeModel::start(&["begun ", "ended"]);
    let up = host.up();
    model.configure(&host);
    let mut terminal = chat(&host);
    terminal.enter("count");
    terminal.until("begun ");
    terminal.press(CTRL_C);
    terminal.until("stopping; once more leaves");
    terminal.until("(interrupted)");
    terminal.until("> ");
    terminal.enter("count again");
    terminal.until("begun ");
    // Leaving does not wait for the agent.
    signal(up.pid(), "STOP");
    terminal.press(CTRL_C);
    terminal.until("stopping; once more leaves");
    terminal.press(CTRL_C);
    assert!(terminal.ended().0.success());
    signal(up.pid(), "CONT");
    let sessions = || host.run(["sessions"]).ok();
    eventually("the end of the run", || {
        (sessions()["sessions"][0]["running"] == false).then_some(())
    });
    up.stop();
}

#[test]
fn markdown_is_rendered_as_it_comes_and_never_painted_again() {
    let pieces = [
        "# Ti",
        "tle\n- **bold** and `co",
        "de`\n```sh\nls | wc\n```\n\u{1b}]52;c;x\u{7}| a | b |\n|---|---|\n| 1 | 2 |\n",
        "done.",
    ];
    let host = Dir::new();
    let model = FakeModel::start(&pieces);
    let up = host.up();
    model.configure(&host);
    let mut terminal = chat(&host);
    terminal.enter("show");
    terminal.until("\u{1b}[1;4mTi\u{1b}[0m");
    model.go_on();
    let shown = terminal.until("done.");
    let wanted = "\u{1b}[1;4mtle\u{1b}[0m\r\n• \u{1b}[1mbold\u{1b}[0m and \u{1b}[36mcode\u{1b}[0m\r\n\
                  \u{1b}[2m```sh\u{1b}[0m\r\n\u{1b}[36mls | wc\u{1b}[0m\r\n\u{1b}[2m```\u{1b}[0m\r\n\
                  \u{1b}[1ma\u{1b}[0m  \u{1b}[1mb\u{1b}[0m\r\n\u{1b}[2m────\u{1b}[0m\r\n1  2\r\ndone.";
    assert_eq!(shown, wanted);
    terminal.until("> ");
    terminal.press(CTRL_D);
    terminal.ended();
    // Without colours it is what the model wrote.
    let mut plain = homing(&host, ["chat"]);
    plain.env("NO_COLOR", "1");
    let mut terminal = Terminal::open(&plain);
    terminal.until("> ");
    terminal.enter("show");
    terminal.until("# Title\r\n- **bold** and `code`\r\n```sh\r\n");
    terminal.until("done.");
    up.stop();
}

#[test]
fn an_approval_is_asked_inline_and_only_yes_is_yes() {
    let host = Dir::new();
    host.configure("[policy.tools]\nsystem = \"ask\"\n");
    let up = host.up();
    let mut terminal = chat(&host);
    terminal.enter("memory");
    terminal.until("The agent asks to use system (approval ");
    terminal.until("? [y/n] ");
    terminal.enter("maybe");
    terminal.until("? [y/n] ");
    terminal.enter("y");
    terminal.until("is approved");
    terminal.until("Memory: ");
    terminal.until("> ");
    terminal.enter("memory");
    terminal.until("? [y/n] ");
    terminal.enter("n");
    terminal.until("is denied");
    terminal.until("I could not ask system");
    terminal.until("> ");
    // What was typed before the question answers it as little as silence does.
    terminal.press("memory\ry\r");
    terminal.until("? [y/n] ");
    let waiting = host.run(["approvals"]).ok();
    assert_eq!(
        waiting["approvals"].as_array().unwrap().len(),
        1,
        "{waiting}"
    );
    terminal.enter("n");
    terminal.until("is denied");
    terminal.until("> ");
    // An answer from elsewhere ends the question here.
    terminal.enter("memory");
    let asked = terminal.until("? [y/n] ");
    let id = asked
        .rsplit("Allow ")
        .next()
        .unwrap()
        .trim_end_matches("? [y/n] ");
    host.run(["approvals", "approve", id]).ok();
    terminal.until("is approved");
    terminal.until("Memory: ");
    terminal.until("> ");
    terminal.press(CTRL_D);
    assert!(terminal.ended().0.success());
    // One message asks at the terminal as well.
    let mut terminal = Terminal::open(&homing(&host, ["chat", "--new", "memory"]));
    terminal.until("? [y/n] ");
    terminal.enter("y");
    terminal.until("Memory: ");
    assert!(terminal.ended().0.success());
    up.stop();
}

#[test]
fn the_person_is_told_of_a_lost_connection_of_other_devices_and_of_the_end() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let proxy = phone.proxy();
    let chat = homing(&phone, ["chat"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", r#""$0" "$@"; echo "exit $?"; stty -a"#]);
    shell.arg(chat.get_program()).args(chat.get_args());
    let mut terminal = Terminal::open(&shell);
    terminal.until("> ");
    proxy.kill();
    terminal.until("the connection broke; connecting again");
    let proxy = phone.proxy();
    terminal.until("connected again");
    // What the same user says on another device is shown above the line.
    let said = host.run(["chat", "who am I?"]);
    assert!(said.status.success(), "{said:?}");
    terminal.until("who am I?");
    terminal.until("You are ");
    host.run(["revoke", "phone"]).ok();
    let (_, rest) = terminal.ended();
    assert!(rest.contains("code: revoked"), "{rest}");
    // The terminal is the shell's again.
    let after = rest
        .split("exit 3")
        .nth(1)
        .unwrap_or_else(|| panic!("{rest}"));
    let modes: Vec<&str> = after.split_whitespace().collect();
    for mode in ["icanon", "isig", "iexten"] {
        assert!(modes.contains(&mode), "no {mode} in {after}");
    }
    proxy.stop();
    up.stop();
}

#[test]
fn a_session_is_chosen_at_the_terminal_and_the_next_conversation_goes_on_in_it() {
    let host = Dir::new();
    let up = host.up();
    let mut terminal = Terminal::open(&homing(&host, ["chat", "--session", "garden"]));
    terminal.until("session garden, new.");
    terminal.until("> ");
    terminal.enter("who am I?");
    terminal.until("Path: direct.");
    terminal.until("> ");
    terminal.press(CTRL_D);
    assert!(terminal.ended().0.success());
    let mut terminal = Terminal::open(&homing(&host, ["chat"]));
    terminal.until("session garden, 2 messages");
    terminal.until("> ");
    terminal.press(CTRL_D);
    assert!(terminal.ended().0.success());
    up.stop();
}

#[test]
fn with_json_a_terminal_shows_one_frame_a_line_and_no_decoration() {
    let host = Dir::new();
    let up = host.up();
    let mut terminal = Terminal::open(&homing(&host, ["--json", "chat", "who am I?"]));
    let shown = terminal.until("\"type\":\"turn_complete\"");
    let (status, rest) = terminal.ended();
    assert!(status.success(), "{status}");
    let shown = shown + &rest;
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let frames = super::frames(&shown.replace('\r', ""));
    assert_eq!(frames[0]["type"], "message", "{shown}");
    assert!(frames.iter().any(|frame| frame["type"] == "delta"));
    up.stop();
}

#[test]
fn between_pipes_only_the_answer_goes_on_and_the_rest_is_said_at_the_terminal() {
    let host = Dir::new();
    let up = host.up();
    let chat = homing(&host, ["chat"]);
    let mut shell = Command::new("sh");
    let line = r#"echo "who am I?" | "$0" "$@" | sed 's/^/piped: /'; echo end"#;
    shell.args(["-c", line]);
    shell.arg(chat.get_program()).args(chat.get_args());
    let mut terminal = Terminal::open(&shell);
    let shown = terminal.until("end");
    let piped: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("piped: "))
        .collect();
    assert!(piped.join(" ").contains("You are "), "{shown:?}");
    assert!(
        piped.iter().all(|line| !line.contains('\u{1b}')),
        "{shown:?}"
    );
    // What the agent did is on the terminal, beside the pipe.
    let beside = shown.lines().filter(|line| !line.starts_with("piped: "));
    assert!(
        beside.into_iter().any(|line| line.contains("whoami")),
        "{shown:?}"
    );
    assert!(terminal.ended().0.success());
    up.stop();
}
