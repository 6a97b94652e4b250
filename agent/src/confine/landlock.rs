//! Landlock rules for the thread that starts a program. Landlock knows only what is allowed, so what
//! is to be kept secret is what is left out: all that stands beside the path to it is allowed, and
//! all TCP ports but those that are hidden. Disks as such are left out too, and of root's privileges
//! only those stay that lead around none of this.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::thread::CapabilitySet;

use super::Support;

/// The newest rules that were thought about; an older kernel enforces those that it knows.
const NEWEST: ABI = ABI::V9;
/// Where devices are. Disks among them are left out, so each entry is looked at.
const DEVICES: &str = "/dev";
/// Folders below it in which programs make files of their own.
const MADE_IN: &[&str] = &["/dev/shm", "/dev/pts", "/dev/mqueue"];
/// Folders in folders there; what lies deeper stays forbidden.
const MAX_DEPTH: usize = 3;
const KEPT_PRIVILEGES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::NET_BIND_SERVICE);
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
    #[error("privileges could not be given up")]
    Privileges(#[source] std::io::Error),
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
    drop_privileges().map_err(RulesError::Privileges)
}

/// Without these a program of root reads another process's memory, the disk below the files, or sends
/// packets around the sockets. An ordinary user's program has none anyway.
fn drop_privileges() -> std::io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.effective &= KEPT_PRIVILEGES;
    sets.permitted &= KEPT_PRIVILEGES;
    sets.inheritable = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets)?;
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
            if path == Path::new(DEVICES) && !hidden.starts_with(DEVICES) {
                rules = allow_devices(rules, &path, MAX_DEPTH)?;
            } else if !hidden.starts_with(&path) {
                rules = allow(rules, &path)?;
            }
        }
    }
    for path in shown {
        rules = allow(rules, path)?;
    }
    Ok(rules)
}

/// What cannot be opened stays forbidden. A link is left out: what it points to has a place of its
/// own. A disk is left out: below its files lies everything.
fn allow(rules: RulesetCreated, path: &Path) -> Result<RulesetCreated, RulesError> {
    let Some(file) = open(path) else {
        return Ok(rules);
    };
    let rule = PathBeneath::new(file, allowed());
    Ok(rules.add_rule(rule)?)
}

/// Everything but making devices.
fn allowed() -> landlock::BitFlags<AccessFs> {
    let mut access = AccessFs::from_all(NEWEST);
    access.remove(AccessFs::MakeBlock | AccessFs::MakeChar);
    access
}

fn allow_devices(
    mut rules: RulesetCreated,
    folder: &Path,
    depth: usize,
) -> Result<RulesetCreated, RulesError> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(rules);
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !folder || MADE_IN.iter().any(|made_in| path == Path::new(made_in)) {
            rules = allow(rules, &path)?;
        } else if depth > 1 {
            rules = allow_devices(rules, &path, depth - 1)?;
        }
    }
    Ok(rules)
}

fn open(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode);
    (kind != FileType::Symlink && kind != FileType::BlockDevice).then_some(file)
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
