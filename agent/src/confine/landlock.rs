//! Landlock rules for the thread that starts a program. Landlock knows only what is allowed, so what
//! is to be kept secret is what is left out: all that stands beside the path to it is allowed, and
//! all TCP ports but those that are hidden.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};

use super::Support;

/// The newest rules that were thought about; an older kernel enforces those that it knows.
const NEWEST: ABI = ABI::V9;
/// What a kernel must know for the files to be safe: truncation came last.
const FILES: ABI = ABI::V3;

#[derive(Debug, thiserror::Error)]
pub(super) enum RulesError {
    #[error("Landlock refused a rule")]
    Landlock(#[from] RulesetError),
    #[error("{path} could not be read")]
    Walk {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("a set of rules could not be shared")]
    Share(#[source] std::io::Error),
}

/// The rules about ports: as many as there are ports, so they are made once and shared.
#[derive(Debug, Default)]
pub(super) struct Network(Mutex<Option<(BTreeSet<u16>, RulesetCreated)>>);

pub(super) fn support() -> Support {
    let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let files = strict().handle_access(AccessFs::from_all(FILES));
    let network = strict().handle_access(AccessNet::ConnectTcp);
    let signals = strict().scope(Scope::Signal);
    let works = |ruleset: Result<Ruleset, RulesetError>| ruleset.and_then(Ruleset::create).is_ok();
    Support {
        files: works(files),
        network: works(network),
        signals: works(signals),
    }
}

/// Restricts the calling thread and all that it starts, for good.
pub(super) fn restrict_thread(
    hidden: &Path,
    shown: &[PathBuf],
    network: &Network,
    ports: &BTreeSet<u16>,
) -> Result<(), RulesError> {
    files(hidden, shown)?.restrict_self()?;
    if !ports.is_empty() {
        // Second: what comes later copies the rules of what came before.
        network.of(ports)?.restrict_self()?;
    }
    Ok(())
}

fn files(hidden: &Path, shown: &[PathBuf]) -> Result<RulesetCreated, RulesError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let walk = |path: &Path| {
        let path = path.to_owned();
        move |source| RulesError::Walk { path, source }
    };
    // A link on the way would leave what it points to open.
    let hidden = hidden.canonicalize().map_err(walk(hidden))?;
    let mut above: Vec<&Path> = hidden.ancestors().skip(1).collect();
    above.reverse();
    for folder in above {
        for entry in std::fs::read_dir(folder).map_err(walk(folder))? {
            let path = entry.map_err(walk(folder))?.path();
            if !hidden.starts_with(&path) {
                rules = allow(rules, &path)?;
            }
        }
    }
    for path in shown {
        rules = allow(rules, path)?;
    }
    Ok(rules)
}

/// What cannot be opened stays forbidden. A link is left out: what it points to has a place of its own.
fn allow(rules: RulesetCreated, path: &Path) -> Result<RulesetCreated, RulesError> {
    let Some(file) = open(path) else {
        return Ok(rules);
    };
    let rule = PathBeneath::new(file, AccessFs::from_all(NEWEST));
    Ok(rules.add_rule(rule)?)
}

fn open(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode);
    (kind != FileType::Symlink).then_some(file)
}

impl Network {
    fn of(&self, ports: &BTreeSet<u16>) -> Result<RulesetCreated, RulesError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, rules)) = known.as_ref()
            && of == ports
        {
            return rules.try_clone().map_err(RulesError::Share);
        }
        let mut rules = Ruleset::default()
            .handle_access(AccessNet::ConnectTcp)?
            .create()?;
        for port in (0..=u16::MAX).filter(|port| !ports.contains(port)) {
            rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
        }
        let shared = rules.try_clone().map_err(RulesError::Share)?;
        *known = Some((ports.clone(), rules));
        Ok(shared)
    }
}
