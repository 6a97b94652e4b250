//! Ports that were chosen for somebody who did not name them: written into `homing.toml` once, so that
//! tickets and remembered addresses stay good.

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, value};

use super::QuicSection;
use crate::files;

/// Adds the ports that the file does not name. Everything else in it stays as it is, comments
/// included.
pub(crate) fn add(path: &Path, chosen: &QuicSection) -> anyhow::Result<()> {
    let text = files::read(path)?.unwrap_or_default();
    let mut document: DocumentMut = String::from_utf8(text)?.parse()?;
    let section = document
        .entry("quic")
        .or_insert_with(|| Item::Table(Table::new()));
    let Some(section) = section.as_table_like_mut() else {
        anyhow::bail!("quic is not a table");
    };
    let ports = [
        ("agent_port", chosen.agent_port),
        ("coordinator_port", chosen.coordinator_port),
        ("device_port", chosen.device_port),
    ];
    for (key, port) in ports {
        if let Some(port) = port
            && !section.contains_key(key)
        {
            section.insert(key, value(i64::from(port)));
        }
    }
    files::write(path, document.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn only_what_is_missing_is_added_and_the_rest_stays_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("homing.toml");
        let written = "# mine\nrelay = \"none\" # for now\n\n[quic]\nagent_port = 0 # any\n";
        std::fs::write(&path, written).unwrap();
        let chosen = QuicSection {
            agent_port: Some(40_001),
            coordinator_port: Some(40_002),
            ..QuicSection::default()
        };
        add(&path, &chosen).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(written), "{text}");
        let config = Config::load(&path).unwrap().unwrap();
        assert_eq!(config.quic.agent_port, Some(0));
        assert_eq!(config.quic.coordinator_port, Some(40_002));
        assert_eq!(config.quic.device_port, None);
    }

    #[test]
    fn a_file_without_the_section_gets_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("homing.toml");
        std::fs::write(&path, "relay = \"none\"\n").unwrap();
        let chosen = QuicSection {
            device_port: Some(40_003),
            ..QuicSection::default()
        };
        add(&path, &chosen).unwrap();
        let config = Config::load(&path).unwrap().unwrap();
        assert_eq!(config.quic.device_port, Some(40_003));
    }
}
