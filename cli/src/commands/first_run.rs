//! Settings of a directory's first run: where the relay setting comes from.

use std::io::IsTerminal;

use crate::config::{Config, RelaySetting};
use crate::output::Output;

/// `--relay`, or the settings, or what a person at a terminal answers at first run.
pub(super) fn choose_relay(
    config: &mut Config,
    relay: Option<&str>,
    first_run: bool,
    output: Output,
) -> anyhow::Result<()> {
    if let Some(relay) = relay {
        config.relay = RelaySetting::from_arg(relay)?;
        return Ok(());
    }
    if !first_run {
        return Ok(());
    }
    if output.is_json() || !std::io::stdin().is_terminal() {
        output.progress("relay = \"none\": only this machine and the local network can reach the agent; homing.toml changes that");
        return Ok(());
    }
    output.progress(
        "How may devices reach this agent from other networks?\n  none    only this machine and the local network (nothing is contacted outside)\n  public  through iroh's public relays and look-up (they see keys and sizes, never content)\n  URL     through your own relay",
    );
    output.prompt("relay [none]: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let answer = answer.trim();
    config.relay = RelaySetting::from_arg(if answer.is_empty() { "none" } else { answer })?;
    Ok(())
}
