//! dumbpipe, where it is installed: one iroh connection for each TCP connection.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::process::Command;
use tokio::time::sleep;

use super::ssh::{free_port, until_open};
use super::{Front, installed};
use crate::child::Child;
use crate::lab::Place;

pub(crate) const NAME: &str = "dumbpipe";
/// It waits five seconds for a relay on each side when there is none.
const TICKET_LIMIT: Duration = Duration::from_secs(20);

pub(crate) async fn start(place: &Place, origin: SocketAddr) -> Result<Front> {
    ensure!(
        installed(NAME),
        "not installed; docs/performance.md says how"
    );
    let dir = place.fresh(NAME)?;
    let (listen_log, connect_log) = (dir.join("listen.log"), dir.join("connect.log"));
    let mut command = Command::new(NAME);
    command.args(["listen-tcp", "--host", &origin.to_string()]);
    let listen = Child::start_silent(command, &listen_log)?;
    let give_up = Instant::now() + TICKET_LIMIT;
    let ticket = loop {
        let text = fs::read_to_string(&listen_log).unwrap_or_default();
        if let Some(ticket) = text
            .split_whitespace()
            .find(|word| word.starts_with("endpoint"))
        {
            break ticket.to_owned();
        }
        ensure!(Instant::now() < give_up, "no ticket in time: {text}");
        sleep(Duration::from_millis(20)).await;
    };
    let port = free_port().await?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = Command::new(NAME);
    command.args(["connect-tcp", "--addr", &address.to_string(), &ticket]);
    let mut connect = Child::start_silent(command, &connect_log)?;
    until_open(address, &mut connect, &connect_log).await?;
    Ok(Front {
        name: NAME,
        address,
        ends: vec![connect, listen],
        answers: false,
    })
}
