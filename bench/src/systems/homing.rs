//! Ours: `homing up` in one data directory, and devices that joined with a ticket in others.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::Front;
use crate::child::{self, Child};
use crate::lab::Place;

/// What the bench raises so that it measures the product and not its limits; the rest is as shipped.
const SETTINGS: &str = r#"relay = "none"
[agent]
upload_limit = 4294967296
[quic]
address = "127.0.0.1"
[limits]
reads_per_second = 1000000
writes_per_second = 1000000
runs_per_minute = 1000000
chat_per_minute = 1000000
proxy_connections_per_second = 100000
enrolments_per_second = 100000
handshake_burst = 100000
handshakes_per_second = 100000.0
"#;

/// A network of its own: the program, and the host's data directory.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    program: PathBuf,
    root: PathBuf,
}

/// A data directory that joined.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    network: Network,
    dir: PathBuf,
    pub(crate) name: String,
}

/// The settings for the report, one line.
pub(crate) fn settings() -> String {
    let lines: Vec<&str> = SETTINGS.lines().collect();
    format!("homing.toml of both sides: {}", lines.join("; "))
}

/// The program beside this one, unless another was named.
pub(crate) fn program(named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("homing"),
    };
    ensure!(
        path.is_file(),
        "{} is not there: build it with the profile of this program",
        path.display()
    );
    Ok(path)
}

impl Network {
    /// A directory for a network that `up` is yet to make.
    pub(crate) fn new(place: &Place, name: &str, program: PathBuf) -> Result<Self> {
        let root = place.folder(name)?;
        prepare(&root.join("host"))?;
        Ok(Self { program, root })
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn version(&self) -> String {
        super::version(&self.program.to_string_lossy(), "--version")
    }

    /// Starts `homing up` and waits until everything serves.
    pub(crate) async fn up(&self) -> Result<Child> {
        let log = self.root.join("up.log");
        Child::start(self.command("host", &["up", "--port", "0"]), &log)
            .await
            .context("homing up")
    }

    /// Runs a command on the host.
    pub(crate) async fn ask(&self, args: &[&str]) -> Result<Value> {
        child::json_of(self.command("host", args))
            .await
            .with_context(|| format!("homing {args:?}"))
    }

    pub(crate) async fn ticket(&self, args: &[&str]) -> Result<String> {
        let invited = self.ask(&[&["invite"], args].concat()).await?;
        let ticket = invited.get("ticket").and_then(Value::as_str);
        Ok(ticket.context("no ticket")?.to_owned())
    }

    /// Invites a device and enrols it in a directory of its own.
    pub(crate) async fn join(&self, name: &str) -> Result<Device> {
        let ticket = self.ticket(&["--name", name]).await?;
        let dir = self.root.join(name);
        prepare(&dir)?;
        let file = self.root.join(format!("{name}.ticket"));
        fs::write(&file, ticket)?;
        let joining = self.command(name, &["join", "--ticket-file", &file.to_string_lossy()]);
        child::json_of(joining).await.context("homing join")?;
        Ok(Device {
            network: self.clone(),
            dir,
            name: name.to_owned(),
        })
    }

    /// A device that joined before.
    fn device(&self, name: &str) -> Option<Device> {
        let dir = self.root.join(name);
        let joined = dir.join("device").exists();
        joined.then(|| Device {
            network: self.clone(),
            dir,
            name: name.to_owned(),
        })
    }

    fn command(&self, dir: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--dir")
            .arg(self.root.join(dir))
            .arg("--json")
            .args(args);
        command.env_remove("HOMING_DIR").env_remove("HOMING_LOG");
        command
    }
}

impl Device {
    /// Starts `homing proxy` at this port, or at a free one for 0.
    pub(crate) async fn proxy(&self, port: u16) -> Result<Child> {
        let log = self.dir.with_extension("log");
        let command = self
            .network
            .command(&self.name, &["proxy", "--port", &port.to_string()]);
        Child::start(command, &log).await.context("homing proxy")
    }
}

/// The address of a running proxy or `up`.
pub(crate) fn proxy_address(running: &Child) -> Result<std::net::SocketAddr> {
    let url = running.text("proxy_url")?;
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    address
        .parse()
        .with_context(|| format!("the address in {url}"))
}

/// `up`, and a proxy on a device that joined.
pub(crate) async fn start(network: &Network) -> Result<Front> {
    let up = network.up().await?;
    let device = match network.device("bench") {
        Some(device) => device,
        None => network.join("bench").await?,
    };
    let proxy = device.proxy(0).await?;
    let address = proxy_address(&proxy)?;
    Ok(Front {
        name: super::OURS,
        address,
        ends: vec![proxy, up],
        answers: true,
    })
}

fn prepare(dir: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(dir)
        .with_context(|| dir.display().to_string())?;
    let settings = dir.join("homing.toml");
    fs::write(&settings, SETTINGS)?;
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
