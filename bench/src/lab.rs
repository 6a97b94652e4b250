//! Everything that runs during one run of the bench, and the folder in which it lives.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::args::Args;
use crate::calm::Calm;
use crate::child::Child;
use crate::mapping::Kind;
use crate::systems::homing::Network;
use crate::systems::{
    Front, OURS, direct, dumbpipe, homing, iroh, prototypes, quinn, rathole, ssh,
};

/// The folder of one run; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(
            TempDir::with_prefix("homing-bench-").context("a temporary folder")?,
        ))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.file(name);
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(path)
    }
}

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rounds: u32,
    /// Of a latency or throughput load.
    pub(crate) time: Duration,
    /// Requests on new connections.
    pub(crate) new_connections: usize,
    /// Bytes of a transfer.
    pub(crate) bulk: u64,
    pub(crate) quick: bool,
    /// What waiting for a calm machine may take.
    patience: Duration,
}

impl Sizes {
    pub(crate) fn new(args: &Args) -> Self {
        let quick = args.quick;
        Self {
            rounds: args.rounds,
            time: Duration::from_millis(if quick { 200 } else { 2000 }),
            new_connections: if quick { 200 } else { 4000 },
            bulk: if quick { 4 << 20 } else { 512 << 20 },
            quick,
            patience: Duration::from_secs(if quick { 0 } else { args.patience }),
        }
    }
}

/// Running systems. Those that could not be started are in `absent`, with the reason.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) place: Place,
    pub(crate) sizes: Sizes,
    pub(crate) calm: Calm,
    pub(crate) fronts: Vec<Front>,
    pub(crate) iroh: iroh::Raw,
    pub(crate) quinn: quinn::Raw,
    pub(crate) absent: Vec<(String, String)>,
    network: Option<Network>,
    origin: Child,
}

impl Lab {
    /// Starts the floors and the rivals.
    pub(crate) async fn start(sizes: Sizes) -> Result<Self> {
        let place = Place::new()?;
        let (direct, origin) = direct::start(&place).await?;
        let address = direct.address;
        let (iroh, quinn) = (iroh::start(&place).await?, quinn::start(&place).await?);
        let mut lab = Self {
            place,
            sizes,
            calm: Calm::new(sizes.patience),
            fronts: vec![direct],
            iroh,
            quinn,
            absent: Vec::new(),
            network: None,
            origin,
        };
        let ssh = ssh::start(&lab.place, address).await;
        lab.keep("ssh -L", ssh);
        let rathole = rathole::start(&lab.place, address).await;
        lab.keep(rathole::NAME, rathole);
        let dumbpipe = dumbpipe::start(&lab.place, address).await;
        lab.keep(dumbpipe::NAME, dumbpipe);
        Ok(lab)
    }

    /// Adds the prototypes of the stream mapping.
    pub(crate) async fn add_prototypes(&mut self, kinds: &[Kind]) {
        for kind in kinds {
            let started = prototypes::start(&self.place, *kind).await;
            self.keep(kind.name(), started);
        }
    }

    /// Adds ours: a host, and a proxy on a device that joined.
    pub(crate) async fn add_homing(&mut self, program: Result<PathBuf>) {
        let network = program.and_then(|program| Network::new(&self.place, "network", program));
        let started = match network {
            Ok(network) => {
                let started = homing::start(&network).await;
                self.network = Some(network);
                started
            }
            Err(error) => Err(error),
        };
        self.keep(OURS, started);
    }

    /// The network of ours and its running front.
    pub(crate) fn ours(&self) -> Result<(&Network, &Front)> {
        let front = self.fronts.iter().find(|front| front.name == OURS);
        let both = self.network.as_ref().zip(front);
        both.with_context(|| self.why_absent(OURS))
    }

    /// Stops the prototypes, so that they do not run beside what is measured next.
    pub(crate) async fn drop_prototypes(&mut self) {
        let all = std::mem::take(&mut self.fronts);
        for front in all {
            if Kind::ALL.iter().any(|kind| kind.name() == front.name) {
                front.stop().await;
            } else {
                self.fronts.push(front);
            }
        }
    }

    pub(crate) fn front(&self, name: &str) -> Option<&Front> {
        self.fronts.iter().find(|front| front.name == name)
    }

    /// Why a system is not there.
    pub(crate) fn why_absent(&self, name: &str) -> String {
        let known = self.absent.iter().find(|(absent, _)| absent == name);
        known.map_or_else(
            || format!("{name} was not started"),
            |(_, reason)| format!("{name}: {reason}"),
        )
    }

    /// The origin's process, which is no part of a tunnel.
    pub(crate) fn origin(&self) -> u32 {
        self.origin.pid()
    }

    pub(crate) async fn stop(self) {
        for front in self.fronts {
            front.stop().await;
        }
        self.iroh.stop().await;
        self.quinn.stop().await;
        self.origin.stop().await;
    }

    fn keep(&mut self, name: &str, started: Result<Front>) {
        match started {
            Ok(front) => self.fronts.push(front),
            Err(error) => self.absent.push((name.to_owned(), format!("{error:#}"))),
        }
    }
}
