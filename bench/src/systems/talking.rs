//! Ours with a model: `homing up` with the bench's provider, and devices that talk to it, each
//! through a loopback proxy of its own.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::Value;

use super::homing::{Network, proxy_address};
use crate::child::Child;
use crate::lab::Lab;

/// Devices of one process: below the invitations that a coordinator keeps open.
pub(crate) const CROWD: u32 = 50;

/// A network of its own, so that no other row's data is in its database.
#[derive(Debug)]
pub(crate) struct Talking {
    network: Network,
    up: Child,
    provider: Child,
    devices: Vec<Child>,
}

impl Talking {
    /// Starts the provider and `homing up`, and configures one for the other as a person would.
    pub(crate) async fn start(lab: &Lab, name: &str) -> Result<Self> {
        let provider = Child::role("provider", &[], &lab.place.file("provider.log")).await?;
        let program = lab.ours()?.0.program().to_owned();
        let network = Network::new(&lab.place, name, program)?;
        let up = network.up().await?;
        let url = format!("http://{}/v1", super::address(&provider)?);
        let add = ["providers", "add", "custom", "--name", "bench"];
        network
            .ask(&[&add[..], &["--base-url", &url]].concat())
            .await?;
        let room = ["--context", "10000000", "--max-output", "1000000"];
        let model = ["models", "add", "bench", "bench"];
        network.ask(&[&model[..], &room[..]].concat()).await?;
        Ok(Self {
            network,
            up,
            provider,
            devices: Vec::new(),
        })
    }

    /// Devices that joined from directories of their own, each with a `homing proxy`.
    pub(crate) async fn add_devices(&mut self, count: u32) -> Result<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        for number in 0..count {
            let device = self.network.join(&format!("person-{number}")).await?;
            let proxy = device.proxy(0).await?;
            addresses.push(proxy_address(&proxy)?);
            self.devices.push(proxy);
        }
        Ok(addresses)
    }

    /// Devices with proxies in a few processes.
    pub(crate) async fn add_crowd(&mut self, lab: &Lab, count: u32) -> Result<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        for first in (0..count).step_by(CROWD as usize) {
            let mut tickets = String::new();
            for number in first..count.min(first + CROWD) {
                let name = format!("crowd-{number}");
                tickets += &self.network.ticket(&["--name", &name]).await?;
                tickets.push('\n');
            }
            let dir = lab.place.fresh("crowd")?;
            let file = dir.join("tickets");
            std::fs::write(&file, tickets)?;
            let args = [file.to_string_lossy(), dir.to_string_lossy()];
            let args = [&*args[0], &*args[1], &first.to_string()];
            let crowd = Child::role("crowd", &args, &dir.join("log")).await?;
            let all = crowd.ready.get("addresses").and_then(Value::as_array);
            for address in all.context("no addresses")? {
                addresses.push(address.as_str().context("an address")?.parse()?);
            }
            self.devices.push(crowd);
        }
        Ok(addresses)
    }

    /// The process of `homing up`: the agent, and what else a host runs.
    pub(crate) fn agent(&self) -> u32 {
        self.up.pid()
    }

    pub(crate) fn provider(&self) -> Result<SocketAddr> {
        super::address(&self.provider)
    }

    pub(crate) async fn stop(self) {
        for device in self.devices {
            device.stop().await;
        }
        self.up.stop().await;
        self.provider.stop().await;
    }
}
