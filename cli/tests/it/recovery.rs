//! What is left after a loss: the kit, backups, a database that was set back, a new host.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::{Dir, Said, curl, eventually, set_mode};
use crate::split::{agent, coordinator, first_agent};

const PASSPHRASE: &str = "correct horse battery staple";

/// A file of mode 0600 beside a data directory.
fn private_file(dir: &Dir, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.path().with_file_name(name);
    std::fs::write(&path, text).unwrap();
    set_mode(&path, 0o600);
    path
}

fn backup(dir: &Dir) -> std::path::PathBuf {
    let phrase = private_file(dir, "phrase", PASSPHRASE);
    let file = dir.path().with_file_name("backup.age");
    let said = dir.run([
        "backup".as_ref(),
        file.as_os_str(),
        "--passphrase-file".as_ref(),
        phrase.as_os_str(),
    ]);
    assert!(!said.stdout.contains(PASSPHRASE) && !said.stderr.contains(PASSPHRASE));
    said.ok();
    file
}

fn restore(dir: &Dir, file: &Path, phrase: &str, kit: Option<&Path>) -> Said {
    let phrase = private_file(dir, "phrase", phrase);
    let mut command = dir.command(["restore"]);
    command.arg(file).arg("--passphrase-file").arg(phrase);
    if let Some(kit) = kit {
        command.arg("--kit").arg(kit);
    }
    let output = command.output().unwrap();
    Said {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Takes the kit of a host away, as its owner should.
fn take_kit(dir: &Dir) -> std::path::PathBuf {
    let kit = dir.path().with_file_name("kit.txt");
    dir.run(["kit", "export", kit.to_str().unwrap()]).ok();
    dir.run(["kit", "verify", kit.to_str().unwrap()]).ok();
    kit
}

fn status_of(dir: &Dir, device: &str) -> Value {
    let list = dir.run(["devices"]).ok();
    let devices = list["devices"].as_array().unwrap().clone();
    let found = devices.into_iter().find(|row| row["device"] == device);
    found.unwrap_or_else(|| panic!("no {device} in {list}"))["status"].clone()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_kit_leaves_the_host_only_when_a_copy_was_read_back_and_proved() {
    let home = Dir::new();
    let running = coordinator(&home);
    let kept = home.path().join("coordinator/root.kit");
    let secret = std::fs::read_to_string(&kept).unwrap();
    let secret = secret
        .lines()
        .find_map(|line| line.strip_prefix("root_secret: "))
        .unwrap()
        .to_owned();
    let findings = |dir: &Dir| dir.run(["doctor"]).ok()["findings"].to_string();
    assert!(findings(&home).contains("root_on_host"));

    let copy = home.path().with_file_name("kit.txt");
    let copy_text = copy.to_str().unwrap();
    let said = home.run(["kit", "export", copy_text]);
    assert!(!said.stdout.contains(&secret) && !said.stderr.contains(&secret));
    said.ok();
    assert_eq!(mode(&copy), 0o600);
    // Nothing is written over, and the export alone deletes nothing.
    home.run(["kit", "export", copy_text])
        .refused(1, "not_written");
    assert!(kept.exists());

    // A copy with a lost digit, another network's kit and the kit itself prove nothing.
    let damaged = home.path().with_file_name("damaged.txt");
    let text = std::fs::read_to_string(&copy).unwrap();
    std::fs::write(&damaged, text.replace(&secret[..8], "00000000")).unwrap();
    home.run(["kit", "verify", damaged.to_str().unwrap()])
        .refused(1, "kit_unreadable");
    let stranger = Dir::new();
    coordinator(&stranger).stop();
    let foreign = stranger.path().join("coordinator/root.kit");
    home.run(["kit", "verify", foreign.to_str().unwrap()])
        .refused(1, "wrong_kit");
    home.run(["kit", "verify", kept.to_str().unwrap()])
        .refused(1, "kit_not_moved");
    assert!(kept.exists());

    let said = home.run(["kit", "verify", copy_text]);
    assert!(!said.stdout.contains(&secret) && !said.stderr.contains(&secret));
    assert_eq!(said.ok()["deleted_here"], true);
    assert!(!kept.exists());
    assert!(!findings(&home).contains("root_on_host"));
    assert_eq!(
        home.run(["kit", "verify", copy_text]).ok()["deleted_here"],
        false
    );
    home.run(["kit", "export", copy_text]).refused(1, "no_kit");
    // A device of the network may check the copy too.
    let phone = home.invite_and_join("phone");
    assert_eq!(
        phone.run(["kit", "verify", copy_text]).ok()["deleted_here"],
        false
    );
    running.stop();
}

#[test]
fn a_coordinator_whose_old_database_was_put_back_learns_from_its_agent_and_signs_again_when_told() {
    let home = Dir::new();
    let running = coordinator(&home);
    let (_agent_dir, agent) = first_agent(&home, "home");
    let phone = home.invite_and_join("phone");
    let lost = home.invite_and_join("lost");
    home.run(["coordinator", "resume"])
        .refused(1, "not_recovering");
    running.stop();
    let files = home.path().join("coordinator");
    let old = home.path().with_file_name("old");
    copy_files(&files, &old);

    let running = coordinator(&home);
    // Only an agent that has heard of it can tell of it later.
    eventually("the agent's way back", || {
        (home.run(["agents"]).ok()["agents"][0]["online"] == true).then_some(())
    });
    assert_eq!(
        home.run(["revoke", "lost"]).ok()["agents"][0]["confirmed"],
        true
    );
    running.stop();
    std::fs::remove_dir_all(&files).unwrap();
    std::fs::rename(&old, &files).unwrap();
    set_mode(&files, 0o700);

    let running = coordinator(&home);
    eventually("the agent's word", || {
        (home.run(["status"]).ok()["host"]["recovering"] == true).then_some(())
    });
    eventually("the lost entry", || {
        (status_of(&home, "lost") == "revoked").then_some(())
    });
    home.run(["invite"]).refused(1, "recovering");
    phone.run(["dial"]).ok();
    lost.run(["dial"]).refused(3, "revoked");

    assert_eq!(home.run(["coordinator", "resume"]).ok()["resumed"], true);
    assert_eq!(home.run(["status"]).ok()["host"]["recovering"], false);
    let revoked = home.run(["revoke", "phone"]).ok();
    assert_eq!(revoked["agents"][0]["confirmed"], true, "{revoked}");
    phone.run(["dial"]).refused(3, "revoked");
    lost.run(["dial"]).refused(3, "revoked");
    agent.stop();
    running.stop();
}

#[test]
fn a_lost_coordinator_comes_back_on_a_new_host_with_a_new_signer_and_nothing_is_un_revoked() {
    let home = Dir::new();
    let running = coordinator(&home);
    let (agent_dir, serving) = first_agent(&home, "home");
    let kit = take_kit(&home);
    let phone = home.invite_and_join("phone");
    let lost = home.invite_and_join("lost");
    let proxy = phone.proxy();
    curl([proxy.url("/api/whoami")]).ok();
    let open = home.run(["invite", "--name", "late"]).ok()["ticket"].clone();
    let file = backup(&home);
    assert_eq!(mode(&file), 0o600);
    assert_eq!(
        home.run(["revoke", "lost"]).ok()["agents"][0]["confirmed"],
        true
    );
    let old_signer = std::fs::read(home.path().join("coordinator/signer")).unwrap();
    running.kill();
    std::fs::remove_dir_all(home.path()).unwrap();

    let new_home = Dir::new();
    restore(&new_home, &file, "another passphrase", Some(&kit)).refused(1, "wrong_passphrase");
    restore(&new_home, &file, PASSPHRASE, None).refused(1, "kit_needed");
    let restored = restore(&new_home, &file, PASSPHRASE, Some(&kit)).ok();
    assert_eq!(
        (&restored["recovering"], &restored["parts"]),
        (&json!(true), &json!(["coordinator"]))
    );
    restore(&new_home, &file, PASSPHRASE, Some(&kit)).refused(1, "not_empty");
    let signer = new_home.path().join("coordinator/signer");
    assert_ne!(std::fs::read(&signer).unwrap(), old_signer);
    assert_eq!(mode(&signer), 0o600);
    assert!(!new_home.path().join("coordinator/root.kit").exists());

    // Until it is resumed it signs nothing, and what is out there goes on.
    let running = coordinator(&new_home);
    assert_eq!(running.text("network_id"), restored["network_id"]);
    new_home.run(["invite"]).refused(1, "recovering");
    eventually("the revocation that the backup did not have", || {
        (status_of(&new_home, "lost") == "revoked").then_some(())
    });
    curl([proxy.url("/api/whoami")]).ok();

    new_home.run(["coordinator", "resume"]).ok();
    Dir::new()
        .run_with_stdin(["join", "-"], open.as_str().unwrap())
        .refused(3, "ticket_invalid");
    // The agent and the phone renew by themselves.
    eventually("the phone's way back", || {
        (curl([proxy.url("/api/whoami")]).status == 200).then_some(())
    });
    eventually("a dial with the new signer's certificates", || {
        phone.run(["status"]).ok()["device"]["link"]
            .as_str()
            .filter(|link| *link == "connected")
            .map(|_| ())
    });
    let lost_said = lost.run(["dial"]);
    assert_eq!(lost_said.status.code(), Some(3), "{lost_said:?}");

    // Everything works as before, over restarts of all of them.
    serving.stop();
    proxy.stop();
    running.stop();
    let running = coordinator(&new_home);
    let serving = agent(&agent_dir);
    phone.run(["dial"]).ok();
    let tablet = new_home.invite_and_join("tablet");
    tablet.run(["dial"]).ok();
    let clock = Instant::now();
    let revoked = new_home.run(["revoke", "phone"]).ok();
    assert_eq!(revoked["agents"][0]["confirmed"], true, "{revoked}");
    assert!(clock.elapsed() < Duration::from_secs(2));
    phone.run(["dial"]).refused(3, "revoked");
    tablet.run(["dial"]).ok();
    serving.stop();
    running.stop();
}

#[test]
fn a_whole_host_is_backed_up_while_it_runs_and_restored_with_its_files() {
    let home = Dir::new();
    let up = home.up();
    let kit = take_kit(&home);
    let phone = home.invite_and_join("phone");
    let text = home.path().with_file_name("note.txt");
    std::fs::write(&text, "a note of some length").unwrap();
    let token = std::fs::read_to_string(home.path().join("run/proxy.token")).unwrap();
    let put = curl([
        "--upload-file".to_owned(),
        text.display().to_string(),
        "--header".to_owned(),
        format!("Authorization: Bearer {}", token.trim()),
        up.url("/api/files/note.txt"),
    ]);
    assert!((200..300).contains(&put.status), "{put:?}");
    let file = backup(&home);
    assert!(
        !contains(&file, b"homing"),
        "only the age header is readable"
    );
    let node_id = up.text("node_id");
    up.stop();
    std::fs::remove_dir_all(home.path()).unwrap();

    let new_home = Dir::new();
    let restored = restore(&new_home, &file, PASSPHRASE, Some(&kit)).ok();
    assert_eq!(restored["parts"], json!(["coordinator", "agent", "device"]));
    let up = new_home.start(["up", "--port", "0"]);
    assert_eq!(up.text("node_id"), node_id);
    assert_eq!(new_home.run(["status"]).ok()["host"]["recovering"], true);
    new_home.run(["coordinator", "resume"]).ok();
    let token = std::fs::read_to_string(new_home.path().join("run/proxy.token")).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let note = eventually("the note", || {
        let got = curl(["--header", &bearer, &up.url("/api/files/note.txt")]);
        (got.status == 200).then_some(got.body)
    });
    assert_eq!(note, b"a note of some length");
    phone.run(["dial"]).ok();
    new_home.run(["audit", "verify"]).ok();
    up.stop();
    let up = new_home.start(["up", "--port", "0"]);
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_backup_needs_a_good_passphrase_from_a_private_place() {
    let home = Dir::new();
    coordinator(&home).stop();
    let file = home.path().with_file_name("backup.age");
    let run = |phrase: &Path| {
        home.run([
            "backup".as_ref(),
            file.as_os_str(),
            "--passphrase-file".as_ref(),
            phrase.as_os_str(),
        ])
    };
    run(&private_file(&home, "short", "short")).refused(1, "passphrase_short");
    let exposed = private_file(&home, "exposed", PASSPHRASE);
    set_mode(&exposed, 0o644);
    run(&exposed).refused(1, "passphrase_exposed");
    assert!(!file.exists());
    let good = private_file(&home, "good", PASSPHRASE);
    run(&good).ok();
    run(&good).refused(1, "file_exists");

    // A bit that has flipped is found, and nothing is left of the attempt.
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    let damaged = home.path().with_file_name("damaged.age");
    std::fs::write(&damaged, bytes).unwrap();
    let kit = home.path().join("coordinator/root.kit");
    let new_home = Dir::new();
    restore(&new_home, &damaged, PASSPHRASE, Some(&kit)).refused(1, "backup_damaged");
    assert_eq!(std::fs::read_dir(new_home.path()).unwrap().count(), 0);
}

/// Runs a program on a terminal of its own and answers each passphrase prompt.
const ON_A_TERMINAL: &str = r#"
import os, pty, signal, sys
signal.alarm(60)
answers = sys.argv[1].split("|")
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen = b""
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    seen += more
    if answers and (b"Passphrase of the backup: " in more or b"The same again: " in more):
        os.write(terminal, answers.pop(0).encode() + b"\n")
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[test]
fn at_a_terminal_the_passphrase_is_asked_for_twice_and_never_shown() {
    let home = Dir::new();
    coordinator(&home).stop();
    let file = home.path().with_file_name("backup.age");
    let run = |answers: &str| {
        let homing = home.command(["backup", file.to_str().unwrap()]);
        std::process::Command::new("python3")
            .args(["-c", ON_A_TERMINAL, answers])
            .arg(homing.get_program())
            .args(homing.get_args())
            .output()
            .unwrap()
    };
    let differs = run(&format!("{PASSPHRASE}|another one entirely"));
    assert_eq!(differs.status.code(), Some(1), "{differs:?}");
    let shown = String::from_utf8_lossy(&differs.stdout).into_owned();
    assert!(shown.contains("passphrase_differs"), "{shown}");
    let good = run(&format!("{PASSPHRASE}|{PASSPHRASE}"));
    let shown = String::from_utf8_lossy(&good.stdout).into_owned();
    assert_eq!(good.status.code(), Some(0), "{shown}");
    assert!(!shown.contains("horse"), "{shown}");
    let kit = home.path().join("coordinator/root.kit");
    restore(&Dir::new(), &file, PASSPHRASE, Some(&kit)).ok();
    // Without a terminal there is nobody to ask.
    let mut alone = std::process::Command::new("setsid");
    let homing = home.command(["backup", "other.age"]);
    let said = alone
        .arg("--wait")
        .arg(homing.get_program())
        .args(homing.get_args())
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&said.stdout).contains("no_passphrase"),
        "{said:?}"
    );
}

fn contains(file: &Path, needle: &[u8]) -> bool {
    let bytes = std::fs::read(file).unwrap();
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
