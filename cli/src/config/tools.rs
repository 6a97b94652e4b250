//! The `[tools.*]` part of a first run's `homing.toml`.

use std::path::Path;

use homing_agent::tools::ToolSettings;

/// The sections with a comment on every key.
pub(super) fn to_text(tools: &ToolSettings) -> String {
    let socket = match &tools.containers.socket {
        Some(path) => format!("socket = {}", quoted(path)),
        None => "# socket = \"/run/docker.sock\"".to_owned(),
    };
    let roots = match &tools.files.roots {
        Some(roots) => {
            let roots: Vec<String> = roots.iter().map(|root| quoted(root)).collect();
            format!("roots = [{}]", roots.join(", "))
        }
        None => "# roots = [\"/srv/media\"]".to_owned(),
    };
    let fetch = &tools.fetch;
    let ranges: Vec<String> = fetch
        .allow_private
        .iter()
        .map(|range| format!("\"{range}\""))
        .collect();
    format!(
        r#"
# What the agent's tools may reach when a model or the built-in assistant asks for them.
[tools.containers]
# Socket of Docker or Podman, of which the tool only reads. By default the first that is there of
# /var/run/docker.sock, /run/podman/podman.sock and $XDG_RUNTIME_DIR/podman/podman.sock.
{socket}

[tools.files]
# Folders that every device with the scope files may read through the agent, and write when somebody
# approves it. By default only agent/workspace in this directory. A folder that holds this directory,
# or lies in it, stays closed.
{roots}

[tools.fetch]
# Whether the agent may read web pages that a model names. Default false.
enabled = {enabled}
# Ports that may be asked.
ports = {ports:?}
# Private addresses or ranges that may be asked all the same, such as ["10.0.0.5"].
allow_private = [{ranges}]
"#,
        enabled = fetch.enabled,
        ports = fetch.ports,
        ranges = ranges.join(", "),
    )
}

/// As a TOML string: a path may hold quotes and backslashes.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}
