//! `homing.toml` while a process runs: read and changed for whoever may, with the last one that worked
//! beside it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use data_encoding::HEXLOWER;
use homing_agent::configuration::{Change, ConfigError, ConfigFile, Configured};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Config, edit};
use crate::files;

/// What nobody changes over the network: whoever could would choose which programs this machine runs
/// and where, which socket a tool talks to, and who needs no token.
const HOST_ONLY: [&str; 5] = [
    "shell",
    "hooks",
    "policy.unconfined_for_all",
    "tools.containers",
    "proxy.auth",
];
/// Bytes of the hash that names a text.
const REVISION: usize = 8;

/// The file of a data directory.
#[derive(Debug)]
pub(crate) struct ConfigStore {
    path: PathBuf,
    /// With what the process was started; none before that is known.
    started: Mutex<Option<Config>>,
}

/// Who changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Host,
    Network,
}

impl ConfigStore {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            started: Mutex::default(),
        }
    }

    /// The process runs with what is in the file: it worked.
    pub(crate) fn started(&self) {
        if let Ok((text, config)) = self.load() {
            *self.lock() = Some(config);
            self.keep_good(&text);
        }
    }

    /// A change by whoever may write the file anyway.
    pub(crate) fn change_on_host(&self, change: Change) -> Result<Configured, ConfigError> {
        self.change_from(From::Host, change, None)
    }

    /// Puts the last file that worked in the place of the one that is there, which is kept beside it.
    /// Where that lies; `None` when there is no other file to go back to.
    pub(crate) fn restore(&self) -> anyhow::Result<Option<PathBuf>> {
        let Some(good) = files::read(&last_good(&self.path))? else {
            return Ok(None);
        };
        let broken = self.path.with_extension("toml.replaced");
        if let Some(bytes) = files::read(&self.path)? {
            if bytes == good {
                return Ok(None);
            }
            files::write(&broken, &bytes)?;
        }
        files::write(&self.path, &good)?;
        Ok(Some(broken))
    }

    fn change_from(
        &self,
        from: From,
        change: Change,
        revision: Option<&str>,
    ) -> Result<Configured, ConfigError> {
        let old = self.text()?;
        if revision.is_some_and(|revision| revision != revision_of(&old)) {
            return Err(ConfigError::Changed);
        }
        // Somebody is in the middle of an edit, and nobody far away sees of what.
        if from == From::Network && Config::parse(&old).is_err() {
            let text = "the file on the host is not valid now; correct it there first";
            return Err(ConfigError::Invalid(text.to_owned()));
        }
        let new = match change {
            Change::Whole(text) => text,
            Change::Section { name, patch } => {
                let known = sections(&Config::default());
                // One that may be named and has no value by default is known all the same.
                if !known.contains_key(&name) && !HOST_ONLY.contains(&name.as_str()) {
                    let names: Vec<&str> = known.keys().map(String::as_str).collect();
                    return Err(ConfigError::UnknownSection(name, names.join(", ")));
                }
                edit::merge(&old, &name, &patch).map_err(ConfigError::Invalid)?
            }
        };
        if from == From::Network
            && let Some(name) = HOST_ONLY.iter().find(|name| differs(&old, &new, name))
        {
            return Err(ConfigError::HostOnly((*name).to_owned()));
        }
        let config = Config::parse(&new).map_err(ConfigError::Invalid)?;
        let configured = self.configured(new, &config)?;
        files::write(&self.path, configured.text.as_bytes())
            .map_err(|error| disk("written", error))?;
        Ok(configured)
    }

    fn text(&self) -> Result<String, ConfigError> {
        let bytes = files::read(&self.path).map_err(|error| disk("read", error))?;
        String::from_utf8(bytes.unwrap_or_default())
            .map_err(|_| ConfigError::Invalid("it is not UTF-8 text".to_owned()))
    }

    fn load(&self) -> Result<(String, Config), ConfigError> {
        let text = self.text()?;
        let config = Config::parse(&text).map_err(ConfigError::Invalid)?;
        Ok((text, config))
    }

    fn configured(&self, text: String, config: &Config) -> Result<Configured, ConfigError> {
        let live = config.live();
        let live = live.map_err(|error| ConfigError::Invalid(error.to_string()))?;
        let started = self.lock();
        let restart_required = started
            .as_ref()
            .map(|started| config.restart_required(started));
        Ok(Configured {
            revision: revision_of(&text),
            text,
            sections: sections(config),
            restart_required: restart_required.unwrap_or_default(),
            live,
        })
    }

    /// Losing it costs nothing but the way back.
    fn keep_good(&self, text: &str) {
        let path = last_good(&self.path);
        let known = files::read(&path).ok().flatten();
        if known.as_deref() == Some(text.as_bytes()) {
            return;
        }
        if let Err(error) = files::write(&path, text.as_bytes()) {
            tracing::warn!(
                error = format!("{error:#}"),
                "the configuration that works could not be kept"
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Config>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConfigFile for ConfigStore {
    fn read(&self) -> Result<Configured, ConfigError> {
        let (text, config) = self.load()?;
        self.configured(text, &config)
    }

    fn change(&self, change: Change, revision: Option<&str>) -> Result<Configured, ConfigError> {
        self.change_from(From::Network, change, revision)
    }

    /// What waits for the next start has not shown yet that it works.
    fn in_effect(&self, configured: &Configured) {
        if configured.restart_required.is_empty() {
            self.keep_good(&configured.text);
        }
    }
}

fn last_good(path: &Path) -> PathBuf {
    path.with_extension("toml.last-good")
}

fn revision_of(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes())[..REVISION])
}

/// Every section with the values that hold.
fn sections(config: &Config) -> Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(sections)) => sections,
        _ => Map::new(),
    }
}

/// Whether what stands under a name with dots means something else in the one text than in the other.
fn differs(old: &str, new: &str, name: &str) -> bool {
    let read = |text: &str| {
        let table: toml::Table = text.parse().ok()?;
        let whole = toml::Value::Table(table);
        name.split('.')
            .try_fold(&whole, |value, part| value.get(part))
            .cloned()
    };
    read(old) != read(new)
}

fn disk(doing: &'static str, error: anyhow::Error) -> ConfigError {
    ConfigError::Disk {
        doing,
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn store(text: &str) -> (tempfile::TempDir, ConfigStore) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("homing.toml");
        std::fs::write(&path, text).unwrap();
        let store = ConfigStore::new(path);
        store.started();
        (folder, store)
    }

    fn patch(name: &str, patch: Value) -> Change {
        Change::Section {
            name: name.to_owned(),
            patch,
        }
    }

    #[test]
    fn what_takes_effect_at_the_next_start_only_is_named() {
        let (_folder, store) = store("");
        let change = patch("budgets", json!({ "day": 3 }));
        let configured = store.change(change, None).unwrap();
        assert!(configured.restart_required.is_empty());
        assert_eq!(configured.live.caps.day, Some(3_000_000));
        let change = patch("proxy", json!({ "port": 7171 }));
        let configured = store.change(change, None).unwrap();
        assert_eq!(configured.restart_required, ["proxy"]);
        assert_eq!(configured.sections["proxy"]["port"], 7171);
    }

    #[test]
    fn what_is_not_valid_or_not_known_changes_nothing() {
        let (folder, store) = store("[budgets]\nday = 2.0\n");
        for (change, wanted) in [
            (patch("budgets", json!({ "day": -1 })), "budgets.day"),
            (patch("budgets", json!({ "dya": 1 })), "dya"),
            (patch("budget", json!({})), "no section budget"),
            (patch("policy", json!("strict")), "policy"),
            (Change::Whole("relay = \n".to_owned()), "TOML"),
        ] {
            let error = store.change(change, None).unwrap_err().to_string();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
        let text = std::fs::read_to_string(folder.path().join("homing.toml")).unwrap();
        assert_eq!(text, "[budgets]\nday = 2.0\n");
    }

    #[test]
    fn what_chooses_programs_is_changed_on_the_host_only_however_it_is_written() {
        let (_folder, store) = store("[shell]\nroots = [\"/srv\"]\n");
        let change = || patch("shell", json!({ "roots": ["/"] }));
        for change in [
            change(),
            patch("policy", json!({ "unconfined_for_all": true })),
            patch(
                "tools",
                json!({ "containers": { "socket": "/run/any.sock" } }),
            ),
            patch("proxy", json!({ "auth": "token" })),
            Change::Whole(String::new()),
            Change::Whole("shell = { roots = [\"/\"] }\n".to_owned()),
            Change::Whole(
                "[shell]\nroots = [\"/srv\"]\n[[hooks]]\non = \"agent_end\"\ncommand = [\"/x\"]\n"
                    .to_owned(),
            ),
            patch(
                "hooks",
                json!([{ "on": "agent_end", "command": ["/bin/sh"] }]),
            ),
        ] {
            let error = store.change(change, None).unwrap_err();
            assert!(matches!(error, ConfigError::HostOnly(_)), "{error}");
        }
        // The same in other words is no change.
        let same = Change::Whole("shell = { roots = [\"/srv\"] }\n".to_owned());
        store.change(same, None).unwrap();
        assert_eq!(
            store.change_on_host(change()).unwrap().live.shell_roots,
            [PathBuf::from("/")]
        );
    }

    #[test]
    fn of_two_who_change_the_same_state_the_second_is_told() {
        let (_folder, store) = store("");
        let revision = store.read().unwrap().revision;
        let change = || patch("budgets", json!({ "day": 3 }));
        store.change(change(), Some(&revision)).unwrap();
        let error = store.change(change(), Some(&revision)).unwrap_err();
        assert!(matches!(error, ConfigError::Changed));
    }

    #[test]
    fn the_last_file_that_worked_comes_back_and_the_broken_one_is_kept() {
        let (folder, store) = store("[budgets]\nday = 2.0\n");
        let path = folder.path().join("homing.toml");
        // What waits for the next start has not shown that it works.
        let change = patch("proxy", json!({ "port": 7171 }));
        let configured = store.change(change, None).unwrap();
        store.in_effect(&configured);
        std::fs::write(&path, "broken = ").unwrap();
        let over_network = Change::Whole("[budgets]\n".to_owned());
        assert!(matches!(
            store.change(over_network, None),
            Err(ConfigError::Invalid(_))
        ));
        assert!(matches!(store.read(), Err(ConfigError::Invalid(_))));
        let kept = store.restore().unwrap().unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "[budgets]\nday = 2.0\n"
        );
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "broken = ");
        assert_eq!(store.restore().unwrap(), None, "nothing to go back to");
    }
}
