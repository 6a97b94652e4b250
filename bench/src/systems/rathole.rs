//! rathole with its Noise transport, where it is installed.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use super::ssh::{free_port, until_open};
use super::{Front, installed};
use crate::child::Child;
use crate::lab::Place;

pub(crate) const NAME: &str = "rathole";
const TOKEN: &str = "bench";

pub(crate) async fn start(place: &Place, origin: SocketAddr) -> Result<Front> {
    ensure!(
        installed(NAME),
        "not installed; docs/performance.md says how"
    );
    let dir = place.fresh(NAME)?;
    let keys = Command::new(NAME)
        .arg("--genkey")
        .output()
        .await
        .context("rathole --genkey")?;
    let keys = String::from_utf8_lossy(&keys.stdout).into_owned();
    let key = |title: &str| {
        let after = keys
            .lines()
            .skip_while(|line| !line.starts_with(title))
            .nth(1);
        after
            .map(|line| line.trim().to_owned())
            .with_context(|| format!("no {title} in {keys}"))
    };
    let (private, public) = (key("Private Key")?, key("Public Key")?);
    let (control, port) = (free_port().await?, free_port().await?);
    let noise = "type = \"noise\"";
    let server = format!(
        "[server]\nbind_addr = \"127.0.0.1:{control}\"\n[server.transport]\n{noise}\n\
         [server.transport.noise]\nlocal_private_key = \"{private}\"\n\
         [server.services.http]\ntoken = \"{TOKEN}\"\nbind_addr = \"127.0.0.1:{port}\"\n"
    );
    let client = format!(
        "[client]\nremote_addr = \"127.0.0.1:{control}\"\n[client.transport]\n{noise}\n\
         [client.transport.noise]\nremote_public_key = \"{public}\"\n\
         [client.services.http]\ntoken = \"{TOKEN}\"\nlocal_addr = \"{origin}\"\n"
    );
    let mut ends = Vec::new();
    for (word, text) in [("server", server), ("client", client)] {
        let file = dir.join(format!("{word}.toml"));
        fs::write(&file, text)?;
        let mut command = Command::new(NAME);
        command
            .arg(format!("--{word}"))
            .arg(&file)
            .env("RUST_LOG", "error");
        ends.push(Child::start_silent(
            command,
            &dir.join(format!("{word}.log")),
        )?);
    }
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    if let Some(server) = ends.first_mut() {
        until_open(address, server, &dir.join("server.log")).await?;
    }
    Ok(Front {
        name: NAME,
        address,
        ends,
        answers: false,
    })
}
