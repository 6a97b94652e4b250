//! The binary under test, its data directories, and curl.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest that one step may take before the test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A data directory of its own.
pub(crate) struct Dir {
    folder: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A homing process that goes on running.
pub(crate) struct Running {
    child: Child,
    /// The line that it printed when everything served.
    pub(crate) ready: Value,
    log: PathBuf,
}

impl Dir {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The binary with this data directory and `--json`.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homing"));
        command
            .arg("--dir")
            .arg(self.path())
            .arg("--json")
            .args(args);
        command
            .env_remove("HOMING_DIR")
            .env_remove("HOMING_LOG")
            .env("NO_COLOR", "1");
        command
    }

    /// Writes settings, before the first run too.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::create_dir_all(self.path()).unwrap();
        set_mode(&self.path(), 0o700);
        std::fs::write(self.path().join("homing.toml"), text).unwrap();
    }

    /// Runs a command to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        self.run_with_stdin(args, "")
    }

    pub(crate) fn run_with_stdin<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        stdin: &str,
    ) -> Said {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its stdin may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = finished(child);
        Said {
            status: output.status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Starts a command that goes on running, and waits for its line.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        self.start_command(self.command(args))
    }

    pub(crate) fn start_command(&self, mut command: Command) -> Running {
        let log = self.folder.path().join(format!("log-{}", rand_suffix()));
        let stderr = std::fs::File::create(&log).unwrap();
        let mut child = command
            .arg("-v")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (lines, line) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        match line.recv_timeout(LIMIT) {
            Ok(line) => {
                let ready: Value =
                    serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
                assert!(Value::is_null(&ready["error"]), "it did not start: {line}");
                Running { child, ready, log }
            }
            Err(_) => {
                let _ = child.kill();
                panic!("no line came; the log says:\n{}", read(&log));
            }
        }
    }

    /// `up` on loopback with free ports.
    pub(crate) fn up(&self) -> Running {
        self.start(["up", "--port", "0", "--bind", "127.0.0.1:0"])
    }

    /// `proxy` with a free port.
    pub(crate) fn proxy(&self) -> Running {
        self.start(["proxy", "--port", "0"])
    }

    /// Invites a device from here and enrols it in a directory of its own.
    pub(crate) fn invite_and_join(&self, name: &str) -> Self {
        let ticket = self.run(["invite", "--name", name]).ok();
        let device = Self::new();
        let said = device.run_with_stdin(["join", "-"], ticket["ticket"].as_str().unwrap());
        assert_eq!(said.ok()["device"], name);
        device
    }
}

impl Said {
    /// The document of a command that must have succeeded.
    pub(crate) fn ok(&self) -> Value {
        assert!(self.status.success(), "{self:?}");
        self.json()
    }

    /// The error of a command that must have failed with this exit code and error code.
    pub(crate) fn refused(&self, exit: i32, code: &str) -> Value {
        assert_eq!(self.status.code(), Some(exit), "{self:?}");
        let error = self.json()["error"].clone();
        assert_eq!(error["code"], code, "{self:?}");
        explained(&error);
        error
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim())
            .unwrap_or_else(|_| panic!("not one document: {self:?}"))
    }
}

impl Running {
    pub(crate) fn text(&self, key: &str) -> String {
        self.ready[key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key} in {}", self.ready))
            .to_owned()
    }

    /// URL of a path at this process's loopback proxy.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.text("proxy_url").trim_end_matches('/'))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// SIGTERM, and waits for a clean end.
    pub(crate) fn stop(mut self) {
        signal(self.pid(), "TERM");
        let status = wait(&mut self.child, LIMIT)
            .unwrap_or_else(|| panic!("did not stop after SIGTERM; the log says:\n{}", self.log()));
        assert!(status.success(), "{status}; the log says:\n{}", self.log());
    }

    /// Waits for an end that nobody asked for; the signal that it died of.
    pub(crate) fn died_of(&mut self) -> Option<i32> {
        wait(&mut self.child, LIMIT).and_then(|status| status.signal())
    }

    /// Waits for an end that was asked for; the exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        wait(&mut self.child, LIMIT).and_then(|status| status.code())
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.ready, self.log());
        }
    }
}

/// What curl said: exit code, status, body.
#[derive(Debug)]
pub(crate) struct Curled {
    pub(crate) exit: Option<i32>,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) stderr: String,
}

impl Curled {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The error of a request that must have been refused like this.
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let error = self.json()["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        explained(&error);
        error
    }

    pub(crate) fn ok(&self) -> Value {
        assert_eq!(
            (self.exit, self.status),
            (Some(0), 200),
            "{} {}",
            self.stderr,
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }
}

/// Real curl, unmodified, with these arguments.
pub(crate) fn curl<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Curled {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body");
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "120",
            "--write-out",
            "%{http_code}",
        ])
        .arg("--output")
        .arg(&body)
        .args(args)
        .output()
        .expect("curl is installed");
    Curled {
        exit: output.status.code(),
        status: String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .unwrap_or(0),
        body: std::fs::read(&body).unwrap_or_default(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Every refusal has a sentence and a next step beside its code.
pub(crate) fn explained(error: &Value) {
    for part in ["code", "message", "hint"] {
        assert!(
            error[part].as_str().is_some_and(|text| !text.is_empty()),
            "no {part} in {error}"
        );
    }
}

pub(crate) fn signal(pid: i32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

/// Waits until `condition` gives something, or fails with `what`.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What a command said until its end, which comes within the limit.
fn finished(mut child: Child) -> std::process::Output {
    let drain = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            bytes
        })
    };
    let stdout = drain(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = drain(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let status = wait(&mut child, LIMIT);
    if status.is_none() {
        let _ = child.kill();
    }
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let status = status.unwrap_or_else(|| {
        let said = String::from_utf8_lossy(&stdout);
        panic!("the command did not end; it said {said}")
    });
    std::process::Output {
        status,
        stdout,
        stderr,
    }
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        let _ = file.read_to_string(&mut text);
    }
    text
}

fn rand_suffix() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}
