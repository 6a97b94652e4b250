//! What the process that runs an agent asks of it.

use std::path::PathBuf;
use std::sync::Arc;

use homing_transport::Trust;
use homing_transport::clock::wall_clock;

use super::AgentHandle;
use crate::audit::{Entry, Kind};
use crate::configuration::{ConfigError, Configured};
use crate::confirmed_time;

impl AgentHandle {
    /// The trust state that requests are judged by.
    #[must_use]
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// The owner of this host says that its clock is right now.
    ///
    /// # Errors
    /// It could not be written down: it holds until the next start.
    pub fn confirm_time(&self) -> std::io::Result<()> {
        let now = wall_clock();
        self.trust.confirm_time(now);
        confirmed_time::write(&self.state.settings.dir, now)
    }

    /// Keeps programs that the agent starts from a TCP port, such as the loopback proxy's.
    pub fn hide_port(&self, port: u16) {
        // 0 is no port, but a wish for any.
        if port != 0 {
            self.state.confinement.hide_port(port);
        }
    }

    /// Number of live connections of devices.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.registry.len()
    }

    /// The agent's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.settings.name
    }

    /// Where the agent keeps its files.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.state.settings.dir.clone()
    }

    /// Reads the configuration again and lets take effect what can while the agent runs.
    ///
    /// # Errors
    /// [`ConfigError`]; what was in effect stays.
    pub async fn reload_config(&self) -> Result<Configured, ConfigError> {
        let apply = |live| self.state.apply(live);
        let configured = self.state.configuration.reload(apply).await?;
        self.state
            .audit
            .note(Entry::new(Kind::Call).call("config", "reload"));
        Ok(configured)
    }
}
