//! Everything that runs during one run of the bench, and the folder in which it lives.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
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
pub(crate) struct Place {
    dir: TempDir,
    made: Cell<u32>,
}

impl Place {
    pub(crate) fn new() -> Result<Self> {
        let dir = TempDir::with_prefix("homing-bench-").context("a temporary folder")?;
        Ok(Self {
            dir,
            made: Cell::new(0),
        })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A folder that was not there before, for a system that is started more than once.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        self.made.set(self.made.get() + 1);
        self.folder(&format!("{name}-{}", self.made.get()))
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
    prototypes: Vec<Kind>,
    renewed: usize,
    origin: Child,
}

impl Lab {
    /// Starts the floors and the rivals.
    pub(crate) async fn start(sizes: Sizes) -> Result<Self> {
        let place = Place::new()?;
        let (direct, origin) = direct::start(&place).await?;
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
            prototypes: Vec::new(),
            renewed: 0,
            origin,
        };
        lab.start_tunnels().await;
        Ok(lab)
    }

    /// Starts everything anew for another round, in another order. An instance keeps what chance gave
    /// it, such as the core that it shares with a neighbour, for as long as it lives, and rounds with
    /// the same instances agree more than they should.
    pub(crate) async fn renew(&mut self) -> Result<()> {
        let before: Vec<&str> = self.fronts.iter().map(|front| front.name).collect();
        for front in std::mem::take(&mut self.fronts) {
            front.stop().await;
        }
        self.absent.clear();
        let (direct, origin) = direct::start(&self.place).await?;
        std::mem::replace(&mut self.origin, origin).stop().await;
        let iroh = iroh::start(&self.place).await?;
        std::mem::replace(&mut self.iroh, iroh).stop().await;
        let quinn = quinn::start(&self.place).await?;
        std::mem::replace(&mut self.quinn, quinn).stop().await;
        self.fronts.push(direct);
        self.start_tunnels().await;
        // A system that is measured in some rounds only would be compared with others over other rounds.
        if let Some(lost) = before.iter().find(|name| self.front(name).is_none()) {
            bail!("did not start again: {}", self.why_absent(lost));
        }
        self.renewed += 1;
        let shift = self.renewed % self.fronts.len();
        self.fronts.rotate_left(shift);
        Ok(())
    }

    /// Adds the prototypes of the stream mapping.
    pub(crate) async fn add_prototypes(&mut self, kinds: &[Kind]) {
        self.prototypes = kinds.to_vec();
        self.start_prototypes().await;
    }

    /// Adds ours: a host, and a proxy on a device that joined.
    pub(crate) async fn add_homing(&mut self, program: Result<PathBuf>) {
        match program.and_then(|program| Network::new(&self.place, "network", program)) {
            Ok(network) => {
                self.network = Some(network);
                self.start_homing().await;
            }
            Err(error) => self.keep(OURS, Err(error)),
        }
    }

    async fn start_tunnels(&mut self) {
        let Some(origin) = self.front("direct TCP").map(|direct| direct.address) else {
            return;
        };
        let ssh = ssh::start(&self.place, origin).await;
        self.keep("ssh -L", ssh);
        let rathole = rathole::start(&self.place, origin).await;
        self.keep(rathole::NAME, rathole);
        let dumbpipe = dumbpipe::start(&self.place, origin).await;
        self.keep(dumbpipe::NAME, dumbpipe);
        self.start_homing().await;
        self.start_prototypes().await;
    }

    async fn start_homing(&mut self) {
        if let Some(network) = &self.network {
            let started = homing::start(network).await;
            self.keep(OURS, started);
        }
    }

    async fn start_prototypes(&mut self) {
        for kind in self.prototypes.clone() {
            let started = prototypes::start(&self.place, kind).await;
            self.keep(kind.name(), started);
        }
    }

    /// The network of ours and its running front.
    pub(crate) fn ours(&self) -> Result<(&Network, &Front)> {
        let front = self.fronts.iter().find(|front| front.name == OURS);
        let both = self.network.as_ref().zip(front);
        both.with_context(|| self.why_absent(OURS))
    }

    /// Stops the prototypes, so that they do not run beside what is measured next.
    pub(crate) async fn drop_prototypes(&mut self) {
        self.prototypes.clear();
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
