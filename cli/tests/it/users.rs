//! Another user of the same machine: no curl, no socket, no file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::kit::{Dir, curl, eventually, explained};
use crate::machine::{as_other_user, counters, refusals};

/// What curl ends with then.
const COULD_NOT_CONNECT: i32 = 7;

#[test]
fn another_users_curl_is_refused_and_the_proxy_says_that_it_was() {
    let host = Dir::new();
    let up = host.up();
    let url = up.url("/api/health");
    for more in [&["-X", "POST", "--data", "x"][..], &["--head"], &[]] {
        let before = refusals(&up, "not_our_user");
        let program = [
            &["curl", "-sS", "--max-time", "30", "-w", " %{http_code}"],
            more,
            &[&url],
        ]
        .concat();
        let output = as_other_user(&program);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.ends_with(" 403"), "{said} {:?}", output.stderr);
        if !more.contains(&"--head") {
            let body: Value = serde_json::from_str(said.trim_end_matches(" 403")).unwrap();
            assert_eq!(body["error"]["code"], "not_our_user");
            explained(&body["error"]);
        }
        assert_eq!(refusals(&up, "not_our_user"), before + 1);
    }
    // The same request of the user who started it passes.
    assert_eq!(curl([&url]).ok()["status"], "ok");
    up.stop();
}

#[test]
fn another_user_that_sends_and_closes_at_once_reaches_nothing() {
    let host = Dir::new();
    let up = host.up();
    let address = up.text("proxy_url").replace("http://", "");
    let (ip, port) = address.trim_end_matches('/').split_once(':').unwrap();
    let forwarded = counters(&up)["requests_forwarded"].clone();
    // 20 times, in one process of bash: send a whole request, and close before it can be looked up.
    let script = format!(
        "trap '' PIPE; for i in {{1..20}}; do exec 3<>/dev/tcp/{ip}/{port} && \
         printf 'PUT /api/files/stolen HTTP/1.1\\r\\nHost: {ip}:{port}\\r\\nContent-Length: 1\\r\\n\\r\\nx' >&3; \
         exec 3>&-; done"
    );
    let output = as_other_user(&["bash", "-c", &script]);
    assert!(output.status.success(), "{output:?}");
    eventually("20 refusals", || {
        (refusals(&up, "not_our_user") == 20).then_some(())
    });
    assert_eq!(counters(&up)["requests_forwarded"], forwarded);
    curl([up.url("/api/files/stolen")]).refused(404, "not_found");
    up.stop();
}

#[test]
fn another_user_opens_no_socket_and_reads_no_file_of_the_data_directory() {
    let host = Dir::new();
    let up = host.up();
    // Only the data directory itself keeps others out: what is above may be entered.
    for above in host.path().parent().unwrap().ancestors() {
        let mode = std::fs::metadata(above).unwrap().permissions().mode();
        if mode & 0o001 == 0 {
            std::fs::set_permissions(above, std::fs::Permissions::from_mode(mode | 0o011)).unwrap();
        }
    }
    let data = host.path();
    let socket = data.join("run/proxy.sock");
    let output = as_other_user(&[
        "curl",
        "-sS",
        "--unix-socket",
        socket.to_str().unwrap(),
        "http://localhost/api/health",
    ]);
    assert_eq!(output.status.code(), Some(COULD_NOT_CONNECT), "{output:?}");
    // curl does not speak its protocol, but says whether it could connect.
    let control = data.join("run/control.sock");
    let control = [
        "--unix-socket",
        control.to_str().unwrap(),
        "http://localhost/",
    ];
    let output = as_other_user(&[&["curl", "-sS", "--max-time", "10"], &control[..]].concat());
    assert_eq!(output.status.code(), Some(COULD_NOT_CONNECT), "{output:?}");
    assert_ne!(curl(control).exit, Some(COULD_NOT_CONNECT));
    let output = as_other_user(&["cat", data.join("device/key").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"));

    // Each entry is closed by itself as well: nothing hangs on one mode alone.
    let mut seen = 0;
    private(&data, &mut seen);
    assert!(seen > 10, "only {seen} files were looked at");
    // Its own user reaches all of it, with the token.
    let through = [
        "--unix-socket",
        socket.to_str().unwrap(),
        "http://localhost/api/health",
    ];
    assert_eq!(curl(through).status, 401);
    let token = std::fs::read_to_string(data.join("run/proxy.token")).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.trim());
    let own = curl([&through[..], &["-H", &bearer]].concat());
    assert_eq!(own.ok()["status"], "ok");
    up.stop();
}

/// Fails when anything under `path` is open to others.
fn private(path: &Path, seen: &mut usize) {
    *seen += 1;
    let meta = std::fs::symlink_metadata(path).unwrap();
    let mode = meta.permissions().mode();
    assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            private(&entry.unwrap().path(), seen);
        }
    }
}
