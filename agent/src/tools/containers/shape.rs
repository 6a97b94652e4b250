//! What of the engine's answers a model reads. Only named fields are taken over: environments,
//! arguments and labels hold secrets.

use serde_json::{Value, json};

use crate::tools::bounds::clip;

/// Bytes of one text of the engine. With [`MAX_PARTS`], one container always fits into a result.
const MAX_WORDS: usize = 200;
/// Ports, mounts, networks or variables told of one container.
const MAX_PARTS: usize = 32;
/// Letters of an id that people use.
const SHORT_ID: usize = 12;

/// One line of the list.
pub(super) fn line(container: &Value) -> Value {
    let id = words(&container["Id"]);
    let name = container["Names"][0].as_str().unwrap_or_default();
    let mut line = json!({
        "id": id.get(..SHORT_ID).unwrap_or(&id),
        "name": name.trim_start_matches('/'),
        "image": words(&container["Image"]),
        "state": words(&container["State"]),
        "status": words(&container["Status"]),
        "ports": ports(&container["Ports"]),
    });
    let project = &container["Labels"]["com.docker.compose.project"];
    if project.is_string() {
        line["compose_project"] = words(project).into();
    }
    line
}

/// Which engine it is.
pub(super) fn version(version: &Value) -> Value {
    let podman = version["Components"]
        .as_array()
        .is_some_and(|parts| parts.iter().any(|part| part["Name"] == "Podman Engine"));
    json!({
        "name": if podman { "podman" } else { "docker" },
        "version": words(&version["Version"]),
    })
}

/// Everything of one container.
pub(super) fn details(inspected: &Value) -> Value {
    let (state, config, host) = (
        &inspected["State"],
        &inspected["Config"],
        &inspected["HostConfig"],
    );
    let mut details = json!({
        "id": words(&inspected["Id"]).get(..SHORT_ID).unwrap_or_default(),
        "name": words(&inspected["Name"]).trim_start_matches('/'),
        "image": words(&config["Image"]),
        "state": words(&state["Status"]),
        "running": state["Running"].as_bool().unwrap_or(false),
        "exit_code": state["ExitCode"].as_i64(),
        "out_of_memory": state["OOMKilled"].as_bool().unwrap_or(false),
        "started_at": words(&state["StartedAt"]),
        "finished_at": words(&state["FinishedAt"]),
        "restarts": inspected["RestartCount"].as_u64().unwrap_or(0),
        "restart_policy": words(&host["RestartPolicy"]["Name"]),
        "program": words(&inspected["Path"]),
        "variables": variables(&config["Env"]),
        "mounts": parts(&inspected["Mounts"]).map(mount).collect::<Vec<_>>(),
        "networks": networks(&inspected["NetworkSettings"]["Networks"]),
    });
    let more = [&config["Env"], &inspected["Mounts"]]
        .iter()
        .any(|list| list.as_array().is_some_and(|list| list.len() > MAX_PARTS));
    details["truncated"] = more.into();
    let health = &state["Health"]["Status"];
    if health.as_str().is_some_and(|health| !health.is_empty()) {
        details["health"] = words(health).into();
    }
    let error = words(&state["Error"]);
    if !error.is_empty() {
        details["error"] = error.into();
    }
    details
}

/// What it uses now.
pub(super) fn usage(stats: &Value) -> Value {
    let memory = &stats["memory_stats"];
    // As `docker stats` counts it: pages that can be dropped at any time are not in use.
    let cache = memory["stats"]["inactive_file"]
        .as_u64()
        .or(memory["stats"]["total_inactive_file"].as_u64());
    let used = memory["usage"].as_u64().unwrap_or(0);
    let sum = |name: &str| -> u64 {
        let networks = stats["networks"].as_object();
        let each = networks.into_iter().flat_map(serde_json::Map::values);
        each.filter_map(|network| network[name].as_u64())
            .fold(0, u64::saturating_add)
    };
    json!({
        "cpu_percent": cpu_percent(stats),
        "memory_bytes": used.saturating_sub(cache.unwrap_or(0)),
        "memory_limit_bytes": memory["limit"].as_u64(),
        "received_bytes": sum("rx_bytes"),
        "sent_bytes": sum("tx_bytes"),
        "processes": stats["pids_stats"]["current"].as_u64(),
    })
}

/// 100 is one core. None without an earlier reading to compare with.
fn cpu_percent(stats: &Value) -> Option<f64> {
    let (now, before) = (&stats["cpu_stats"], &stats["precpu_stats"]);
    let system_before = before["system_cpu_usage"]
        .as_f64()
        .filter(|value| *value > 0.0)?;
    let system = now["system_cpu_usage"].as_f64()? - system_before;
    let own =
        now["cpu_usage"]["total_usage"].as_f64()? - before["cpu_usage"]["total_usage"].as_f64()?;
    let cores = now["online_cpus"].as_f64().filter(|cores| *cores > 0.0)?;
    if system <= 0.0 || own < 0.0 {
        return None;
    }
    Some((own / system * cores * 1_000.0).round() / 10.0)
}

fn words(value: &Value) -> String {
    clip(value.as_str().unwrap_or_default(), MAX_WORDS)
        .0
        .to_owned()
}

fn parts(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten().take(MAX_PARTS)
}

fn ports(list: &Value) -> Vec<String> {
    let mut ports: Vec<String> = parts(list)
        .map(|port| {
            let inside = format!(
                "{}/{}",
                port["PrivatePort"].as_u64().unwrap_or(0),
                words(&port["Type"])
            );
            match port["PublicPort"].as_u64() {
                Some(public) => format!("{}:{public}->{inside}", words(&port["IP"])),
                None => inside,
            }
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

/// Names without values.
fn variables(list: &Value) -> Vec<String> {
    parts(list)
        .filter_map(|one| one.as_str()?.split('=').next())
        .map(|name| clip(name, MAX_WORDS).0.to_owned())
        .collect()
}

fn mount(mount: &Value) -> Value {
    json!({
        "type": words(&mount["Type"]),
        "source": words(&mount["Source"]),
        "destination": words(&mount["Destination"]),
        "writable": mount["RW"].as_bool().unwrap_or(false),
    })
}

fn networks(networks: &Value) -> Vec<Value> {
    let each = networks.as_object().into_iter().flatten().take(MAX_PARTS);
    each.map(|(name, network)| {
        json!({
            "name": clip(name, MAX_WORDS).0,
            "address": words(&network["IPAddress"]),
        })
    })
    .collect()
}
