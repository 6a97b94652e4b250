//! `ssh -L` with the system's OpenSSH, its default cipher, and keys and configuration of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::sleep;

use super::{Front, installed, version};
use crate::child::Child;
use crate::lab::Place;

/// From the start of ssh to its first answer; it takes some 400 ms.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// Where OpenSSH's server insists on an empty directory.
const SEPARATION_DIR: &str = "/run/sshd";

pub(crate) fn versions() -> String {
    version("ssh", "-V")
}

/// A server on a loopback port and a client that forwards to `origin` through it.
pub(crate) async fn start(place: &Place, origin: SocketAddr) -> Result<Front> {
    ensure!(
        installed("sshd") && installed("ssh"),
        "openssh-server is not installed: apt-get install openssh-server"
    );
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all(SEPARATION_DIR).context(SEPARATION_DIR)?;
    }
    let dir = place.fresh("ssh")?;
    for name in ["host", "client"] {
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(dir.join(name))
            .status()
            .await
            .context("ssh-keygen")?;
        ensure!(status.success(), "ssh-keygen: {status}");
    }
    let (server_port, client_port) = (free_port().await?, free_port().await?);
    write_settings(&dir, server_port)?;

    let mut command = Command::new("/usr/sbin/sshd");
    command
        .arg("-D")
        .arg("-e")
        .arg("-f")
        .arg(dir.join("sshd_config"));
    let mut server = Child::start_silent(command, &dir.join("sshd.log"))?;
    let listening = SocketAddr::from(([127, 0, 0, 1], server_port));
    until_open(listening, &mut server, &dir.join("sshd.log")).await?;

    let mut command = Command::new("ssh");
    command
        .args([
            "-N",
            "-T",
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
        ])
        .args([
            "-o",
            "ExitOnForwardFailure=yes",
            "-o",
            "StrictHostKeyChecking=yes",
        ])
        .arg("-o")
        .arg(format!(
            "UserKnownHostsFile={}",
            dir.join("known_hosts").display()
        ))
        .arg("-i")
        .arg(dir.join("client"))
        .arg("-L")
        .arg(format!("127.0.0.1:{client_port}:{origin}"))
        .args([
            "-p",
            &server_port.to_string(),
            &format!("{}@127.0.0.1", user()?),
        ]);
    let mut client = Child::start_silent(command, &dir.join("ssh.log"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], client_port));
    until_open(address, &mut client, &dir.join("ssh.log")).await?;
    Ok(Front {
        name: "ssh -L",
        address,
        ends: vec![client, server],
        answers: false,
    })
}

fn write_settings(dir: &Path, port: u16) -> Result<()> {
    let file = |name: &str| dir.join(name).display().to_string();
    let settings = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
         UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nAllowTcpForwarding yes\nLogLevel ERROR\n",
        file("host"),
        file("client.pub"),
    );
    fs::write(dir.join("sshd_config"), settings)?;
    let host_key = fs::read_to_string(dir.join("host.pub"))?;
    fs::write(
        dir.join("known_hosts"),
        format!("[127.0.0.1]:{port} {host_key}"),
    )?;
    Ok(())
}

fn user() -> Result<String> {
    let output = std::process::Command::new("id")
        .arg("-un")
        .output()
        .context("id -un")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) async fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

/// Waits until something accepts at `address`.
pub(crate) async fn until_open(address: SocketAddr, child: &mut Child, log: &Path) -> Result<()> {
    let give_up = Instant::now() + READY_LIMIT;
    while TcpStream::connect(address).await.is_err() {
        let why = || fs::read_to_string(log).unwrap_or_default();
        if let Some(status) = child.ended() {
            bail!("it ended with {status}: {}", why());
        }
        ensure!(
            Instant::now() < give_up,
            "nothing listened on {address} in time: {}",
            why()
        );
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
