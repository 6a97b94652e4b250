//! The machine: its state, its interfaces, its processes, its temperatures.

use serde_json::Value;

use super::{MAX_NAMED, list, number, text};

pub(super) fn host(system: &Value) -> String {
    format!(
        "This is {}.",
        system["host"].as_str().unwrap_or("an unnamed machine")
    )
}

pub(super) fn cpu(system: &Value) -> String {
    format!(
        "CPU: {:.0} % of {} cores.",
        number(system, "cpu_percent"),
        number(system, "cores")
    )
}

pub(super) fn memory(system: &Value) -> String {
    let (used, total) = (
        number(system, "memory_used"),
        number(system, "memory_total"),
    );
    format!(
        "Memory: {:.1} of {:.1} GB in use.",
        gigabytes(used),
        gigabytes(total)
    )
}

pub(super) fn swap(system: &Value) -> String {
    let (used, total) = (number(system, "swap_used"), number(system, "swap_total"));
    if total == 0.0 {
        return "Swap: this machine has none.".to_owned();
    }
    format!(
        "Swap: {:.1} of {:.1} GB in use.",
        gigabytes(used),
        gigabytes(total)
    )
}

pub(super) fn disk(system: &Value) -> String {
    let disks = system["disks"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if disks.is_empty() {
        return "Disk: none is visible from here.".to_owned();
    }
    let list: Vec<String> = disks
        .iter()
        .map(|disk| {
            let mount = disk["mount"].as_str().unwrap_or("?");
            let (free, total) = (number(disk, "available"), number(disk, "total"));
            format!(
                "{mount} has {:.1} of {:.1} GB free",
                gigabytes(free),
                gigabytes(total)
            )
        })
        .collect();
    format!("Disk: {}.", list.join(", "))
}

pub(super) fn load(system: &Value) -> String {
    let load = |at: usize| system["load"][at].as_f64().unwrap_or(0.0);
    format!(
        "Load: {:.2}, {:.2}, {:.2} over 1, 5 and 15 minutes.",
        load(0),
        load(1),
        load(2)
    )
}

pub(super) fn uptime(system: &Value) -> String {
    let seconds = system["uptime_seconds"].as_u64().unwrap_or(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    format!("Uptime: {days} days, {hours} hours, {minutes} minutes.")
}

pub(super) fn network(network: &Value) -> String {
    let interfaces = list(network, "interfaces").iter().filter(|one| {
        // What nobody has put a cable into is not what somebody asks about.
        one["state"] != "down" && one["name"] != "lo"
    });
    let named: Vec<String> = interfaces
        .take(MAX_NAMED)
        .map(|one| {
            let address = list(one, "addresses").first().and_then(Value::as_str);
            format!(
                "{} ({}) receives {} and sends {}",
                text(one, "name"),
                address.unwrap_or("no address"),
                rate(number(one, "received_per_second")),
                rate(number(one, "sent_per_second"))
            )
        })
        .collect();
    match named.is_empty() {
        true => "Network: no interface is up.".to_owned(),
        false => format!("Network: {}.", named.join("; ")),
    }
}

pub(super) fn processes(processes: &Value) -> String {
    let named: Vec<String> = list(processes, "processes")
        .iter()
        .take(MAX_NAMED)
        .map(|one| {
            format!(
                "{} ({:.0} % CPU, {:.1} GB)",
                text(one, "name"),
                number(one, "cpu_percent"),
                gigabytes(number(one, "memory_bytes"))
            )
        })
        .collect();
    format!(
        "Processes: {:.0}, the busiest are {}.",
        number(processes, "total"),
        named.join(", ")
    )
}

pub(super) fn sensors(sensors: &Value) -> String {
    let named: Vec<String> = list(sensors, "sensors")
        .iter()
        .take(MAX_NAMED)
        .map(|one| format!("{} {:.0} °C", text(one, "label"), number(one, "celsius")))
        .collect();
    match named.is_empty() {
        true => "Sensors: this machine tells no temperatures.".to_owned(),
        false => format!("Sensors: {}.", named.join(", ")),
    }
}

fn rate(bytes: f64) -> String {
    if bytes >= 1e6 {
        return format!("{:.1} MB/s", bytes / 1e6);
    }
    format!("{:.1} kB/s", bytes / 1e3)
}

fn gigabytes(bytes: f64) -> f64 {
    bytes / 1e9
}
