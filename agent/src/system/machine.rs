//! The kept reader of CPU, memory, disks, load and uptime.

use std::time::{Duration, Instant};

use serde::Serialize;
use sysinfo::{Disks, System};

use super::ProbeFailed;
use super::network::Traffic;

/// Two readings of the CPU must lie this far apart to say anything.
pub(super) const CPU_WINDOW: Duration = Duration::from_millis(250);
/// Disks told; a host of containers mounts one for each.
const MAX_DISKS: usize = 64;

/// One reading.
#[derive(Debug, Clone, Serialize)]
pub struct Reading {
    /// Use of all cores together, 0 to 100.
    pub cpu_percent: f32,
    /// Cores.
    pub cores: usize,
    /// Use of each core, 0 to 100.
    pub per_core_percent: Vec<f32>,
    /// Memory, in bytes.
    pub memory_total: u64,
    /// Memory in use, in bytes.
    pub memory_used: u64,
    /// Swap, in bytes.
    pub swap_total: u64,
    /// Swap in use, in bytes.
    pub swap_used: u64,
    /// Load over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Seconds since the machine started.
    pub uptime_seconds: u64,
    /// Mounted disks, without duplicates.
    pub disks: Vec<Disk>,
    /// Host name, operating system and kernel, for people.
    pub host: String,
}

/// One disk.
#[derive(Debug, Clone, Serialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Size, in bytes.
    pub total: u64,
    /// Free for this user, in bytes.
    pub available: u64,
}

#[derive(Debug)]
pub(super) struct Machine {
    /// `None` where the platform has nothing to read.
    system: Option<System>,
    pub(super) traffic: Option<Traffic>,
    last: Option<(Instant, Reading)>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            system: System::new().ok(),
            traffic: None,
            last: None,
        }
    }

    pub(super) fn read(&mut self, age: Duration) -> Result<Reading, ProbeFailed> {
        if let Some((at, reading)) = &self.last
            && at.elapsed() < age
        {
            return Ok(reading.clone());
        }
        let system = self.system.as_mut().ok_or(ProbeFailed)?;
        system.refresh_cpu_usage();
        std::thread::sleep(CPU_WINDOW);
        system.refresh_cpu_usage();
        system.refresh_memory();
        let load = System::load_average().map(|load| [load.one, load.five, load.fifteen]);
        let per_core = system.cpus().iter().map(|cpu| tenths(cpu.usage()));
        let reading = Reading {
            cpu_percent: tenths(system.global_cpu_usage()),
            cores: system.cpus().len(),
            per_core_percent: per_core.collect(),
            memory_total: system.total_memory(),
            memory_used: system.used_memory(),
            swap_total: system.total_swap(),
            swap_used: system.used_swap(),
            load: load.unwrap_or_default(),
            uptime_seconds: System::uptime().unwrap_or_default(),
            disks: disks(),
            host: host(),
        };
        self.last = Some((Instant::now(), reading.clone()));
        Ok(reading)
    }
}

/// Nobody reads more digits than that of a percentage.
pub(super) fn tenths(percent: f32) -> f32 {
    (percent * 10.0).round() / 10.0
}

fn disks() -> Vec<Disk> {
    let mut seen = Vec::new();
    let mut disks = Vec::new();
    let Ok(list) = Disks::new_with_refreshed_list() else {
        return vec![];
    };
    for disk in &*list {
        // The same device mounted twice would be counted twice.
        let name = disk.name().to_owned();
        if disk.total_space() == 0 || seen.contains(&name) || disks.len() == MAX_DISKS {
            continue;
        }
        seen.push(name);
        disks.push(Disk {
            mount: disk.mount_point().display().to_string(),
            total: disk.total_space(),
            available: disk.available_space(),
        });
    }
    disks
}

fn host() -> String {
    let name = System::host_name()
        .map(|name| format!("{name}, "))
        .unwrap_or_default();
    let system = System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned());
    format!("{name}{system}")
}
