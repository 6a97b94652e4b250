//! What the owner may set about the built-in tools. Read from `[tools.*]` of the settings file; the
//! defaults reach nothing but this machine.
//!
//! Which programs the tools start is not set there: whoever could write the file over the network
//! would choose what this machine runs.

use std::net::IpAddr;
use std::path::{Component, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Folders that may be named; more is a mistake.
const MAX_ROOTS: usize = 32;
/// Private addresses that may be named.
const MAX_RANGES: usize = 64;
/// Ports that may be named.
const MAX_PORTS: usize = 64;

/// Settings of all built-in tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolSettings {
    /// Containers of Docker or Podman.
    pub containers: ContainerSettings,
    /// Files in named folders.
    pub files: FileSettings,
    /// Pages of the web.
    pub fetch: FetchSettings,
    /// Programs that the tools start; not in the file.
    #[serde(skip)]
    pub programs: Programs,
}

/// `[tools.containers]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContainerSettings {
    /// Socket of the engine. By default the first that is there of `/var/run/docker.sock`,
    /// `/run/podman/podman.sock` and `$XDG_RUNTIME_DIR/podman/podman.sock`.
    pub socket: Option<PathBuf>,
}

/// `[tools.files]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileSettings {
    /// Folders that the tools may read, absolute. By default the one folder `workspace` in the
    /// agent's own.
    pub roots: Option<Vec<PathBuf>>,
}

/// `[tools.fetch]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetchSettings {
    /// Whether there is such a tool. Default false: no packet leaves for a host that nobody named.
    pub enabled: bool,
    /// Ports that may be asked. Default 80 and 443.
    pub ports: Vec<u16>,
    /// Private addresses that may be asked all the same, such as `10.0.0.5` or `10.0.0.0/24`.
    /// Default none.
    pub allow_private: Vec<AddressRange>,
}

/// Programs by name, found in `PATH`, or by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Asks systemd for its units.
    pub systemctl: PathBuf,
    /// Reads systemd's journal.
    pub journalctl: PathBuf,
}

/// An address, or all addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    address: IpAddr,
    bits: u8,
}

/// What is wrong with the settings of a tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolSettingsError {
    /// Not an address range.
    #[error("{0:?} is neither an address nor a range such as 10.0.0.0/24")]
    Range(String),
    /// A path that depends on where the process was started, or that goes up.
    #[error("{setting} names {path}, which is not an absolute path without ..")]
    Path {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// Too many of something.
    #[error("{setting} has more than {limit} entries")]
    TooMany {
        /// Which setting.
        setting: &'static str,
        /// How many it may have.
        limit: usize,
    },
    /// Not a port.
    #[error("tools.fetch.ports names 0, which is not a port")]
    Port,
}

impl ToolSettings {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// The first setting that cannot be meant.
    pub fn check(&self) -> Result<(), ToolSettingsError> {
        if let Some(socket) = &self.containers.socket {
            plain("tools.containers.socket", socket)?;
        }
        let roots = self.files.roots.as_deref().unwrap_or_default();
        for root in roots {
            plain("tools.files.roots", root)?;
        }
        few("tools.files.roots", roots.len(), MAX_ROOTS)?;
        let fetch = &self.fetch;
        few("tools.fetch.ports", fetch.ports.len(), MAX_PORTS)?;
        few(
            "tools.fetch.allow_private",
            fetch.allow_private.len(),
            MAX_RANGES,
        )?;
        if fetch.ports.contains(&0) {
            return Err(ToolSettingsError::Port);
        }
        Ok(())
    }
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            ports: vec![80, 443],
            allow_private: vec![],
        }
    }
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            systemctl: "systemctl".into(),
            journalctl: "journalctl".into(),
        }
    }
}

impl AddressRange {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let rest = width - u32::from(self.bits);
        // A shift by the whole width is not defined; no bit of it counts then.
        rest == 128 || own >> rest == other >> rest
    }
}

impl FromStr for AddressRange {
    type Err = ToolSettingsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ToolSettingsError::Range(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl TryFrom<String> for AddressRange {
    type Error = ToolSettingsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl std::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn plain(setting: &'static str, path: &std::path::Path) -> Result<(), ToolSettingsError> {
    let goes_up = path.components().any(|part| part == Component::ParentDir);
    if path.is_absolute() && !goes_up {
        return Ok(());
    }
    Err(ToolSettingsError::Path {
        setting,
        path: path.to_owned(),
    })
}

fn few(setting: &'static str, count: usize, limit: usize) -> Result<(), ToolSettingsError> {
    if count > limit {
        return Err(ToolSettingsError::TooMany { setting, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_what_begins_alike_and_nothing_else() {
        assert!(range("10.0.0.5").contains(ip("10.0.0.5")));
        assert!(!range("10.0.0.5").contains(ip("10.0.0.6")));
        assert!(range("10.0.0.0/24").contains(ip("10.0.0.255")));
        assert!(!range("10.0.0.0/24").contains(ip("10.0.1.0")));
        assert!(range("0.0.0.0/0").contains(ip("255.1.2.3")));
        assert!(range("fd00::/8").contains(ip("fdff::1")));
        assert!(!range("fd00::/8").contains(ip("fe80::1")));
        assert!(range("::/0").contains(ip("2001:db8::1")));
        assert!(!range("0.0.0.0/0").contains(ip("::1")));
        assert!(!range("::/0").contains(ip("127.0.0.1")));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "host",
            "10.0.0.0/-1",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn paths_are_absolute_and_never_go_up() {
        let with = |root: &str| {
            let mut settings = ToolSettings::default();
            settings.files.roots = Some(vec![root.into()]);
            settings.check()
        };
        assert_eq!(with("/srv/media"), Ok(()));
        assert!(with("media").is_err());
        assert!(with("/srv/../etc").is_err());
        let mut settings = ToolSettings::default();
        settings.containers.socket = Some("docker.sock".into());
        assert!(settings.check().is_err());
    }

    #[test]
    fn numbers_that_cannot_be_meant_are_refused() {
        let mut settings = ToolSettings::default();
        settings.fetch.ports = vec![443, 0];
        assert_eq!(settings.check(), Err(ToolSettingsError::Port));
        settings.fetch.ports = vec![443; MAX_PORTS + 1];
        assert!(settings.check().is_err());
    }
}
