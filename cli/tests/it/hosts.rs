//! What can be wrong with the machine that runs it: ports, directories, files, disk, kill -9.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::kit::{Dir, curl, eventually, set_mode, signal};
use crate::machine::SmallDisk;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const NOT_REACHABLE: i32 = 4;

const UP: [&str; 5] = ["up", "--port", "0", "--bind", "127.0.0.1:0"];

#[test]
fn a_taken_proxy_port_is_named_with_the_next_step() {
    let host = Dir::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let said = host.run(["up", "--port", &port, "--bind", "127.0.0.1:0"]);
    let error = said.refused(FAILED, "port_taken");
    assert!(error["message"].as_str().unwrap().contains(&port));
    drop(holder);
    // Nothing is left behind that hinders the next try with the same port.
    host.start(["up", "--port", &port, "--bind", "127.0.0.1:0"])
        .stop();
}

#[test]
fn settings_that_name_no_ports_get_some_that_stay_so_devices_find_the_host_after_a_restart() {
    let host = Dir::new();
    let mine = "# mine\n[quic]\naddress = \"127.0.0.1\"\n";
    host.configure(mine);
    let up = ["up", "--port", "0"];
    let running = host.start(up);
    let phone = host.invite_and_join("phone");
    running.stop();
    let kept = std::fs::read_to_string(host.path().join("homing.toml")).unwrap();
    assert!(kept.starts_with(mine), "{kept}");
    let running = host.start(up);
    phone.run(["dial"]).ok();
    running.stop();
}

#[test]
fn a_taken_quic_port_is_named_with_its_setting() {
    let host = Dir::new();
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let said = host.run(["up", "--port", "0", "--bind", &address]);
    let error = said.refused(FAILED, "port_taken");
    assert!(
        error["message"].as_str().unwrap().contains(&address),
        "{error}"
    );
    assert!(
        error["hint"].as_str().unwrap().contains("agent_port"),
        "{error}"
    );

    let coordinator = Dir::new();
    let port = holder.local_addr().unwrap().port();
    coordinator.configure(&format!("[quic]\ncoordinator_port = {port}\n"));
    let error = coordinator.run(UP).refused(FAILED, "port_taken");
    assert!(
        error["hint"].as_str().unwrap().contains("coordinator_port"),
        "{error}"
    );
    drop(holder);
    host.up().stop();
    coordinator.up().stop();
}

#[test]
fn a_device_whose_stored_port_is_taken_dials_from_another() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let settings = std::fs::read_to_string(phone.path().join("homing.toml")).unwrap();
    let port: u16 = settings
        .lines()
        .find_map(|line| line.strip_prefix("device_port = "))
        .unwrap()
        .parse()
        .unwrap();
    let _holder = UdpSocket::bind(("0.0.0.0", port)).unwrap();
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_second_process_in_a_directory_is_told_who_holds_it() {
    let host = Dir::new();
    let up = host.up();
    for command in [&UP[..], &["proxy", "--port", "0"], &["join", "-"]] {
        let error = host.run(command).refused(FAILED, "directory_in_use");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("homing up (pid {})", up.pid())),
            "{message}"
        );
    }
    // The holder was not disturbed; when it is gone by SIGKILL, nothing has to be cleaned up.
    assert_eq!(curl([up.url("/api/health")]).ok()["status"], "ok");
    up.kill();
    host.up().stop();
}

#[test]
fn a_directory_or_a_key_that_others_can_read_is_refused_until_it_is_closed() {
    let host = Dir::new();
    host.up().stop();
    set_mode(&host.path(), 0o755);
    for command in [&UP[..], &["devices"], &["dial"]] {
        let error = host.run(command).refused(FAILED, "directory_exposed");
        assert!(error["hint"].as_str().unwrap().starts_with("chmod 700"));
    }
    set_mode(&host.path(), 0o700);
    for key in [
        "device/key",
        "agent/key",
        "coordinator/key",
        "coordinator/signer",
    ] {
        let path = host.path().join(key);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        set_mode(&path, 0o644);
        let error = host.run(UP).refused(FAILED, "key_exposed");
        assert!(error["message"].as_str().unwrap().contains(key), "{error}");
        set_mode(&path, mode);
    }
    host.up().stop();
}

#[test]
fn a_setting_that_does_not_exist_is_named_and_nothing_is_made() {
    let host = Dir::new();
    host.configure("[proxy]\nprot = 7070\n");
    let error = host.run(UP).refused(FAILED, "config_invalid");
    assert!(
        error["message"].as_str().unwrap().contains("prot"),
        "{error}"
    );
    assert!(!host.path().join("coordinator").exists());
    for wrong in [
        "relay = \"sometimes\"\n",
        "relay = 7\n",
        "[quic]\nagent_port = 70000\n",
        "\u{0}",
    ] {
        host.configure(wrong);
        host.run(UP).refused(FAILED, "config_invalid");
    }
    host.configure("");
    host.up().stop();
}

#[test]
fn a_command_without_a_network_says_how_to_get_one() {
    for command in [
        &["dial"][..],
        &["devices"],
        &["proxy"],
        &["revoke", "phone"],
    ] {
        Dir::new().run(command).refused(FAILED, "no_network");
    }
}

#[test]
fn a_damaged_file_is_named_and_what_is_there_stays() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    for (file, code) in [
        ("key", "key_unreadable"),
        ("cert", "damaged"),
        ("network", "damaged"),
    ] {
        let path = phone.path().join("device").join(file);
        let good = std::fs::read(&path).unwrap();
        let (half, _) = good.split_at(good.len() / 2);
        std::fs::write(&path, half).unwrap();
        phone.run(["dial"]).refused(FAILED, code);
        assert_eq!(std::fs::read(&path).unwrap(), half);
        std::fs::write(&path, good).unwrap();
    }
    phone.run(["dial"]).ok();
    up.stop();
}

#[test]
fn a_first_run_on_a_full_disk_says_so_and_succeeds_when_there_is_room() {
    let host = Dir::new();
    let disk = SmallDisk::under(&host, "64k");
    let said = host.run(UP);
    let error = said.refused(FAILED, "disk_full");
    assert!(error["hint"].as_str().unwrap().contains("space"), "{error}");
    disk.resize("64m");
    host.up().stop();
}

#[test]
fn a_disk_that_fills_while_it_runs_refuses_writes_loses_nothing_and_still_revokes() {
    let host = Dir::new();
    let disk = SmallDisk::under(&host, "64m");
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let file = up.url("/api/files/note.txt");
    curl(["-X", "PUT", "--data", "first", &file]).ok();

    let ballast = disk.fill();
    let refused = curl(["-X", "PUT", "--data", "second", &file]);
    // Which write meets the full disk first is the file system's choice.
    assert!(matches!(refused.status, 503 | 507), "{refused:?}");
    crate::kit::explained(&refused.json()["error"]);
    // Reading goes on, and shows what was acknowledged.
    assert_eq!(curl([&file]).body, b"first");
    phone.run(["dial"]).ok();

    std::fs::remove_file(ballast).unwrap();
    curl(["-X", "PUT", "--data", "third", &file]).ok();
    assert_eq!(curl([&file]).body, b"third");
    host.run(["revoke", "phone"]).ok();
    phone.run(["dial"]).refused(REFUSED, "revoked");
    up.stop();
    host.run(["audit", "verify"]).ok();
}

#[test]
fn kill_9_in_the_middle_of_things_loses_nothing_that_was_acknowledged() {
    let host = Dir::new();
    let mut up = host.up();
    let phone = host.invite_and_join("phone");
    let proxy = phone.proxy();
    for round in 0..3 {
        let name = format!("device-{round}");
        let device = host.invite_and_join(&name);
        let stored = format!("/api/files/{round}.txt");
        curl(["-X", "PUT", "--data", "kept", &proxy.url(&stored)]).ok();
        host.run(["revoke", &name]).ok();
        up.kill();
        up = host.up();
        // The phone's proxy comes back by itself.
        eventually("the phone's way back", || {
            (curl([proxy.url(&stored)]).body == b"kept").then_some(())
        });
        device.run(["dial"]).refused(REFUSED, "revoked");
    }
    let devices = host.run(["devices"]).ok();
    let revoked = devices["devices"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|device| device["status"] == "revoked");
    assert_eq!(revoked.count(), 3);
    proxy.stop();
    up.stop();
    host.run(["audit", "verify"]).ok();
}

#[test]
fn a_host_that_is_away_is_not_reachable_and_a_proxy_finds_it_again() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let proxy = phone.proxy();
    let health = proxy.url("/api/health");
    curl([&health]).ok();
    up.stop();
    phone.run(["dial"]).refused(NOT_REACHABLE, "not_reachable");
    let away = curl([&health]);
    assert!(matches!(away.status, 502..=504), "{away:?}");
    crate::kit::explained(&away.json()["error"]);
    let up = host.up();
    eventually("the host's return", || {
        (curl([&health]).status == 200).then_some(())
    });
    proxy.stop();
    up.stop();
}

#[test]
fn a_revocation_while_nothing_runs_is_enforced_from_the_next_start() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let proxy = phone.proxy();
    curl([proxy.url("/api/health")]).ok();
    up.stop();
    let revoked = host.run(["revoke", "phone"]).ok();
    assert_eq!(revoked["agents"][0]["confirmed"], json!(false), "{revoked}");
    let up = host.up();
    let refused = eventually("the proxy's refusal", || {
        let curled = curl([proxy.url("/api/health")]);
        assert_ne!(curled.status, 200, "a revoked device was served");
        (curled.status == 403).then_some(curled)
    });
    refused.refused(403, "revoked");
    phone.run(["dial"]).refused(REFUSED, "revoked");
    // The last admin is not revoked by mistake, nor a device that does not exist.
    host.run(["revoke", "nobody"])
        .refused(USAGE, "unknown_device");
    proxy.stop();
    up.stop();
}

#[test]
fn a_stopped_process_is_a_peer_that_went_silent() {
    let host = Dir::new();
    let up = host.up();
    let phone = host.invite_and_join("phone");
    let proxy = phone.proxy();
    curl([proxy.url("/api/health")]).ok();
    signal(up.pid(), "STOP");
    let silent = curl(["--max-time", "40", &proxy.url("/api/health")]);
    assert!(matches!(silent.status, 502..=504), "{silent:?}");
    crate::kit::explained(&silent.json()["error"]);
    signal(up.pid(), "CONT");
    eventually("its return", || {
        (curl([proxy.url("/api/health")]).status == 200).then_some(())
    });
    proxy.stop();
    up.stop();
}
