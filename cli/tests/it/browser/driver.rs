//! Real Chromium, driven by chromedriver over its WebDriver HTTP. It knows nothing of homing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::LIMIT;

/// A name that is mapped to 127.0.0.1, as after a rebinding.
pub(crate) const REBOUND: &str = "rebind.test";

/// Commands may wait for a page or a script for [`LIMIT`]; their answer then still has to arrive.
const ANSWER_LIMIT: Duration = Duration::from_secs(LIMIT.as_secs() + 10);

/// One Chromium with an empty profile.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _home: tempfile::TempDir,
}

impl Browser {
    /// Fails the test if there is no Chromium: what it shows is not shown by anything else.
    pub(crate) fn start() -> Self {
        let chromium = on_path("chromium");
        let home = tempfile::tempdir().unwrap();
        let mut driver = Command::new(on_path("chromedriver"))
            .arg("--port=0")
            .env("HOME", home.path())
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = announced_port(&mut driver);
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _home: home,
        };
        let profile = browser._home.path().join("profile");
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-proxy-server",
            // A container's /dev/shm may be too small.
            "--disable-dev-shm-usage",
            "--window-size=1000,720",
            &format!("--host-resolver-rules=MAP {REBOUND} 127.0.0.1"),
            &format!("--user-data-dir={}", profile.display()),
        ];
        let created = browser.call(
            "POST",
            "/session",
            &json!({"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "goog:chromeOptions": {"binary": chromium, "args": args},
                "goog:loggingPrefs": {"browser": "ALL"},
                "timeouts": {"script": 30_000, "pageLoad": 30_000},
            }}}),
        );
        created["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut browser.session);
        browser
    }

    pub(crate) fn open(&self, url: &str) {
        self.post("url", &json!({"url": url}));
    }

    /// Runs an async function body in the page and gives what it returns; `input` is its argument.
    pub(crate) fn run(&self, body: &str, input: &Value) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async (input) => {{ {body} }})(arguments[0]).then(done, (e) => done('threw ' + e));"
        );
        self.post("execute/async", &json!({"script": script, "args": [input]}))
    }

    /// What the page, or the frame gone into, shows as text.
    pub(crate) fn text(&self) -> String {
        let text = self.run("return document.body.innerText", &Value::Null);
        text.as_str().unwrap().to_owned()
    }

    /// What one element shows.
    pub(crate) fn text_of(&self, selector: &str) -> String {
        let element = self.find(selector);
        let id = element.as_object().unwrap().values().next().unwrap();
        let path = format!("element/{}/text", id.as_str().unwrap());
        self.get(&path).as_str().unwrap().to_owned()
    }

    /// Types into a field with real key presses; `\u{e007}` is the Enter key.
    pub(crate) fn type_into(&self, selector: &str, keys: &str) {
        let element = self.find(selector);
        let id = element.as_object().unwrap().values().next().unwrap();
        let path = format!("element/{}/value", id.as_str().unwrap());
        self.post(&path, &json!({"text": keys}));
    }

    /// Looks into the first frame with the driver's eyes, which no origin hides anything from.
    pub(crate) fn text_in_frame(&self) -> String {
        let frame = self.find("iframe");
        self.post("frame", &json!({"id": frame}));
        let text = self.text();
        self.post("frame", &json!({"id": null}));
        text
    }

    /// Messages of the console since it was last asked.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// A picture of the page as PNG.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        let picture = self.get("screenshot");
        data_encoding::BASE64
            .decode(picture.as_str().unwrap().as_bytes())
            .unwrap()
    }

    /// Makes the page look as on a small or large, light or dark screen.
    pub(crate) fn look(&self, width: u32, height: u32, scheme: &str) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}),
        );
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
        );
    }

    /// Sends these fields, and none of before, along with every request of a page.
    pub(crate) fn send_headers(&self, fields: &Value) {
        self.devtools("Network.enable", &json!({}));
        self.devtools("Network.setExtraHTTPHeaders", &json!({"headers": fields}));
    }

    /// Content policies of the pages from now on hold nothing back.
    pub(crate) fn ignore_policies(&self) {
        self.devtools("Page.setBypassCSP", &json!({"enabled": true}));
    }

    fn devtools(&self, command: &str, params: &Value) {
        self.post(
            "goog/cdp/execute",
            &json!({"cmd": command, "params": params}),
        );
    }

    fn find(&self, selector: &str) -> Value {
        self.post(
            "element",
            &json!({"using": "css selector", "value": selector}),
        )
    }

    fn get(&self, command: &str) -> Value {
        self.call(
            "GET",
            &format!("/session/{}/{command}", self.session),
            &Value::Null,
        )
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        self.call(
            "POST",
            &format!("/session/{}/{command}", self.session),
            body,
        )
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.exchange(method, path, body).unwrap();
        assert_eq!(status, 200, "{method} {path}: {}", answer["value"]);
        answer["value"].clone()
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        Ok((status, serde_json::from_slice(&answer)?))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium; the driver alone would leave it behind.
        let path = format!("/session/{}", self.session);
        let _ = self.exchange("DELETE", &path, &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn on_path(program: &str) -> std::path::PathBuf {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "{program} is not on PATH, and the promises about web pages are kept only where \
                 real Chromium was asked: install it (Debian: apt-get install chromium \
                 chromium-driver)"
            )
        })
}

fn announced_port(driver: &mut Child) -> u16 {
    let stdout = driver.stdout.take().unwrap();
    let (ports, port) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("started successfully on port ") {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                let _ = ports.send(digits.parse().unwrap());
            }
        }
    });
    port.recv_timeout(LIMIT).expect("chromedriver's port")
}
