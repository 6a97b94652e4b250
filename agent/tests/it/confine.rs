//! Programs that the agent starts, as real processes: what they cannot reach, and how they die.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use homing_agent::confine::{Confinement, Finished, Launch, support};
use tempfile::TempDir;

use crate::rig::LIMIT;

/// How long a group may live on after it was told to die, on a busy machine too.
const DEATH: Duration = Duration::from_secs(5);

struct Place {
    _dir: TempDir,
    hidden: PathBuf,
    workspace: PathBuf,
    beside: PathBuf,
    confinement: Confinement,
}

/// A directory with a secret and a workspace inside, and a folder beside it.
fn place() -> Place {
    let dir = TempDir::new().unwrap();
    let hidden = dir.path().join("homing");
    let workspace = hidden.join("agent/workspace");
    let beside = dir.path().join("beside");
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::create_dir_all(hidden.join("run")).unwrap();
    std::fs::create_dir_all(&beside).unwrap();
    std::fs::write(hidden.join("agent/key"), "secret").unwrap();
    let confinement = Confinement::new(hidden.clone(), vec![workspace.clone()]);
    Place {
        _dir: dir,
        hidden,
        workspace,
        beside,
        confinement,
    }
}

fn sh(place: &Place, line: &str) -> Launch {
    Launch {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), line.into()],
        cwd: place.workspace.clone(),
        environment: vec![],
        stdin: false,
    }
}

async fn run(place: &Place, line: &str) -> Finished {
    let running = place.confinement.spawn(sh(place, line)).await.unwrap();
    let finished = tokio::time::timeout(LIMIT, running.finish(64 << 10));
    finished.await.unwrap().unwrap()
}

fn confined() -> bool {
    let support = support();
    if !support.full() {
        let mut err = std::io::stderr();
        let _ = writeln!(
            err,
            "not tried here: the kernel lacks {:?}",
            support.missing()
        );
    }
    support.full()
}

#[tokio::test]
async fn a_program_reads_and_writes_nothing_in_homings_directory_also_as_root() {
    if !confined() {
        return;
    }
    let place = place();
    let hidden = place.hidden.display();
    for attempt in [
        format!("cat {hidden}/agent/key"),
        format!("ls {hidden}"),
        format!("ls {hidden}/agent"),
        format!("cp {hidden}/agent/key ."),
        format!("ln {hidden}/agent/key ./key"),
        format!("mv {hidden}/agent/key ./key"),
        format!("echo x > {hidden}/agent/key"),
        format!("rm {hidden}/agent/key"),
        format!("mv {hidden} {}", place.beside.join("moved").display()),
        format!("ln -s {hidden}/agent/key l && cat l"),
        format!("cat /proc/{}/root{hidden}/agent/key", std::process::id()),
        format!("cat /proc/{}/environ", std::process::id()),
        "cat ../key".to_owned(),
        format!("cat /proc/{}/maps", std::process::id()),
        format!("cat /proc/{}/mem", std::process::id()),
        "mkdir -p d && mount --bind .. d && cat d/key".to_owned(),
        "unshare -rm sh -c 'mkdir -p d && mount --bind .. d && cat d/key'".to_owned(),
        "mknod disk b 254 0 && head -c 1 disk".to_owned(),
        "head -c 1 $(awk '$2 == \"/\" {print $1}' /proc/mounts | grep ^/dev | head -n 1) | grep -q .".to_owned(),
    ] {
        let finished = run(&place, &format!("exec 2>&1; {attempt}")).await;
        let output = format!("{}{}", finished.stdout.text, finished.stderr.text);
        assert!(!finished.status.success(), "{attempt}: {output}");
        assert!(!output.contains("secret"), "{attempt}");
    }
    assert_eq!(
        std::fs::read_to_string(place.hidden.join("agent/key")).unwrap(),
        "secret"
    );
}

#[tokio::test]
async fn a_program_works_in_its_workspace_and_beside_and_with_the_rest_of_the_system() {
    let place = place();
    let beside = place.beside.display();
    let line = format!(
        "set -e; echo one > file; cat file; mkdir d; mv file d/f; echo two > {beside}/file; \
         cat {beside}/file; ls /usr > /dev/null; cat /etc/hostname > /dev/null || true; echo three"
    );
    let finished = run(&place, &line).await;
    assert_eq!(
        finished.stdout.text, "one\ntwo\nthree\n",
        "{}",
        finished.stderr.text
    );
    assert!(finished.status.success());
}

#[tokio::test]
async fn a_link_that_leads_into_homings_directory_opens_nothing() {
    if !confined() {
        return;
    }
    let place = place();
    let root = place.hidden.parent().unwrap();
    std::os::unix::fs::symlink(&place.hidden, root.join("link")).unwrap();
    std::os::unix::fs::symlink("/", root.join("all")).unwrap();
    let hidden = place.hidden.display();
    for attempt in [
        format!("cat {}/link/agent/key", root.display()),
        format!("cat {}/all{hidden}/agent/key", root.display()),
    ] {
        assert!(!run(&place, &attempt).await.status.success(), "{attempt}");
    }
}

#[tokio::test]
async fn a_program_cannot_connect_to_a_hidden_port_and_can_to_others() {
    if !confined() {
        return;
    }
    let place = place();
    let (proxy, other) = (listener(), listener());
    let port = |of: &TcpListener| of.local_addr().unwrap().port();
    place.confinement.hide_port(port(&proxy));
    let connect =
        |port: u16| format!("exec /usr/bin/env bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'");
    for _ in 0..2 {
        let finished = run(&place, &connect(port(&proxy))).await;
        assert!(!finished.status.success(), "{}", finished.stderr.text);
        assert!(
            finished.stderr.text.contains("Permission denied"),
            "{}",
            finished.stderr.text
        );
        let finished = run(&place, &connect(port(&other))).await;
        assert!(finished.status.success(), "{}", finished.stderr.text);
    }
    // A listener that was hidden later is hidden from then on.
    place.confinement.hide_port(port(&other));
    assert!(!run(&place, &connect(port(&other))).await.status.success());
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[tokio::test]
async fn a_program_cannot_signal_the_agent() {
    if !confined() {
        return;
    }
    let place = place();
    let finished = run(&place, &format!("kill -0 {}", std::process::id())).await;
    assert!(!finished.status.success());
}

#[tokio::test]
async fn a_program_sees_only_the_variables_that_are_listed_and_no_input() {
    let place = place();
    let mut launch = sh(&place, "env | cut -d= -f1 | sort; cat; pwd");
    launch.environment = vec![("EXTRA".into(), "1".into())];
    let running = place.confinement.spawn(launch).await.unwrap();
    let finished = tokio::time::timeout(LIMIT, running.finish(64 << 10));
    let finished = finished.await.unwrap().unwrap();
    let mut lines: Vec<&str> = finished.stdout.text.lines().collect();
    let cwd = PathBuf::from(lines.pop().unwrap());
    assert_eq!(cwd, place.workspace.canonicalize().unwrap());
    let known = homing_agent::confine::ENVIRONMENT;
    let of_the_shell = ["PWD", "OLDPWD", "SHLVL", "_", "EXTRA"];
    assert!(
        lines.contains(&"EXTRA") && lines.contains(&"PATH"),
        "{lines:?}"
    );
    for name in lines {
        assert!(
            known.contains(&name) || of_the_shell.contains(&name),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_program_and_all_that_it_started_die_when_nobody_wants_it_any_more() {
    let place = place();
    let line = "sleep 1000 & sh -c 'sleep 1000 & echo $$; wait' & echo $$ $!; wait";
    let mut running = place.confinement.spawn(sh(&place, line)).await.unwrap();
    let leader = running.id().unwrap();
    let group = wait_for_group(leader, 4).await;
    let before = Instant::now();
    drop(running.stdout());
    drop(running);
    gone(&group).await;
    assert!(before.elapsed() < DEATH, "{:?}", before.elapsed());
}

#[tokio::test]
async fn what_a_program_leaves_behind_dies_with_its_own_end() {
    let place = place();
    let before = Instant::now();
    let finished = run(&place, "sleep 1000 & echo $!").await;
    assert!(finished.status.success());
    let left: u32 = finished.stdout.text.trim().parse().unwrap();
    gone(&[left]).await;
    assert!(before.elapsed() < LIMIT / 2, "its pipe was waited for");
}

#[tokio::test]
async fn output_without_end_costs_a_bounded_amount() {
    let place = place();
    let running = place
        .confinement
        .spawn(sh(&place, "head -c 50000000 /dev/zero"))
        .await;
    let finished = tokio::time::timeout(LIMIT, running.unwrap().finish(1_000));
    let finished = finished.await.unwrap().unwrap();
    assert_eq!(finished.stdout.total, 50_000_000);
    assert!(finished.stdout.truncated && finished.stdout.text.len() < 1_100);
}

/// Ids of the processes of a group, once there are `count`.
async fn wait_for_group(leader: u32, count: usize) -> Vec<u32> {
    let looked = async {
        loop {
            let members = members(leader);
            if members.len() >= count {
                return members;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, looked).await.unwrap()
}

fn members(group: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (group_of(id)? == group).then_some(id)
    });
    processes.collect()
}

/// `None` when it is gone; a process that is dead and not collected yet is gone.
fn group_of(id: u32) -> Option<u32> {
    let text =
        std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?;
    // After the name, which may hold anything: state, parent, group.
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    (state != "Z")
        .then(|| fields.nth(1)?.parse().ok())
        .flatten()
}

pub(crate) async fn gone(ids: &[u32]) {
    let looked = async {
        while ids.iter().any(|id| group_of(*id).is_some()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, looked).await.unwrap();
}
