//! The parts of measured systems that are this program itself, started again as a process of its own,
//! so that CPU time and memory are theirs alone. Each prints one JSON line and serves until its
//! stdin ends.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use homing_certs::UnixTime;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::crowd;
use crate::mapping::{self, Kind};
use crate::network;
use crate::origin::{self, Origin};
use crate::provider;
use crate::rows::trust;
use crate::systems::{iroh, quinn};

/// What this process is.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Role {
    /// The HTTP origin behind the tunnels, on TCP.
    Origin {
        /// Where uploads are written.
        store: PathBuf,
    },
    /// The far end of raw quinn.
    Quinn,
    /// The far end of raw iroh.
    Iroh,
    /// The far end of the prototypes: the origin on QUIC streams.
    MappingAgent {
        /// Where uploads are written.
        store: PathBuf,
    },
    /// The product's agent in a network without a coordinator.
    Agent {
        /// Its directory.
        dir: PathBuf,
        /// The start of the network.
        now: u64,
    },
    /// Loads a revocation log and says what that took.
    Log {
        /// The snapshot.
        file: PathBuf,
        /// The start of the network.
        now: u64,
    },
    /// A model API that says when it speaks.
    Provider,
    /// Devices with a loopback proxy each.
    Crowd {
        /// A ticket a line.
        tickets: PathBuf,
        /// Where their proxies' tokens are.
        dir: PathBuf,
        /// The number of the first.
        first: u32,
    },
    /// The near end of a prototype.
    MappingProxy {
        /// Which one.
        kind: Kind,
        /// The far end's ready line.
        agent: String,
        /// Where the proxy may write.
        dir: PathBuf,
    },
}

/// Runs a role until stdin ends.
pub(crate) async fn run(role: Role) -> Result<()> {
    let work = async {
        match role {
            Role::Origin { store } => origin::listen(Origin::new(store)).await,
            Role::Quinn => quinn::serve().await,
            Role::Iroh => iroh::serve().await,
            Role::MappingAgent { store } => mapping::agent(Origin::new(store)).await,
            Role::Agent { dir, now } => network::serve_agent(&dir, UnixTime(now)).await,
            Role::Log { file, now } => trust::load(&file, UnixTime(now)).await,
            Role::Provider => provider::listen().await,
            Role::Crowd {
                tickets,
                dir,
                first,
            } => crowd::serve(&tickets, &dir, first).await,
            Role::MappingProxy { kind, agent, dir } => {
                let agent = serde_json::from_str(&agent).context("the agent's ready line")?;
                mapping::proxy(kind, &agent, &dir).await
            }
        }
    };
    tokio::select! {
        ended = work => ended,
        () = orphaned() => Ok(()),
    }
}

/// Tells the bench that this role serves.
pub(crate) fn ready(line: &Value) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    Ok(())
}

async fn orphaned() {
    let mut nothing = [0; 64];
    while let Ok(1..) = tokio::io::stdin().read(&mut nothing).await {}
}
