//! What this machine and this process are doing: CPU, memory, disks, load, uptime.
//!
//! In a container the numbers are the host's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use sysinfo::{Disks, ProcessRefreshKind, ProcessesToUpdate, System};

/// Two readings of the CPU must lie this far apart to say anything.
const CPU_WINDOW: Duration = Duration::from_millis(250);
/// A reading older than this is taken anew.
const FRESH: Duration = Duration::from_secs(2);
/// How long the process's own memory is remembered; the health report is asked for often.
const MEMORY_FRESH: Duration = Duration::from_secs(1);

/// One reading.
#[derive(Debug, Clone, Serialize)]
pub struct Reading {
    /// Use of all cores together, 0 to 100.
    pub cpu_percent: f32,
    /// Cores.
    pub cores: usize,
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

/// The machine could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system could not be read")]
pub struct ProbeFailed;

/// Reads the machine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SystemProbe {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    system: Mutex<Machine>,
    memory: AtomicU64,
    /// Milliseconds after `started`, plus one; 0 for never.
    memory_at: AtomicU64,
}

#[derive(Debug)]
struct Machine {
    /// `None` where the platform has nothing to read.
    system: Option<System>,
    last: Option<(Instant, Reading)>,
}

impl Default for SystemProbe {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                started: Instant::now(),
                system: Mutex::new(Machine {
                    system: System::new().ok(),
                    last: None,
                }),
                memory: AtomicU64::new(0),
                memory_at: AtomicU64::new(0),
            }),
        }
    }
}

impl SystemProbe {
    /// A reading of the last seconds; takes a quarter of a second when there is none.
    ///
    /// # Errors
    /// When the platform has nothing to read, or the reading thread is gone at shutdown.
    pub async fn read(&self) -> Result<Reading, ProbeFailed> {
        let inner = self.inner.clone();
        let read = move || {
            let mut machine = inner.system.lock().unwrap_or_else(PoisonError::into_inner);
            machine.read()
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| ProbeFailed)?
    }

    /// Seconds since this process's probe was made.
    #[must_use]
    pub fn process_uptime(&self) -> Duration {
        self.inner.started.elapsed()
    }

    /// Resident memory of this process, in bytes, at most a second old.
    #[must_use]
    pub fn process_memory(&self) -> u64 {
        let inner = &self.inner;
        let now = u64::try_from(inner.started.elapsed().as_millis()).unwrap_or(u64::MAX) + 1;
        let at = inner.memory_at.load(Ordering::Relaxed);
        let fresh = u64::try_from(MEMORY_FRESH.as_millis()).unwrap_or(u64::MAX);
        let stale = at == 0 || now.saturating_sub(at) >= fresh;
        // Whoever wins the exchange reads; the others answer with what is there.
        let wins = || {
            inner
                .memory_at
                .compare_exchange(at, now, Ordering::Relaxed, Ordering::Relaxed)
        };
        if stale && wins().is_ok() {
            inner.memory.store(own_memory(), Ordering::Relaxed);
        }
        inner.memory.load(Ordering::Relaxed)
    }
}

impl Machine {
    fn read(&mut self) -> Result<Reading, ProbeFailed> {
        if let Some((at, reading)) = &self.last
            && at.elapsed() < FRESH
        {
            return Ok(reading.clone());
        }
        let system = self.system.as_mut().ok_or(ProbeFailed)?;
        system.refresh_cpu_usage();
        std::thread::sleep(CPU_WINDOW);
        system.refresh_cpu_usage();
        system.refresh_memory();
        let load = System::load_average().map(|load| [load.one, load.five, load.fifteen]);
        let reading = Reading {
            cpu_percent: system.global_cpu_usage(),
            cores: system.cpus().len(),
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

fn own_memory() -> u64 {
    let Ok(pid) = sysinfo::get_current_pid() else {
        return 0;
    };
    let Ok(mut system) = System::new() else {
        return 0;
    };
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        false,
        ProcessRefreshKind::nothing().with_memory(),
    );
    system.process(pid).map_or(0, sysinfo::Process::memory)
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
        if disk.total_space() == 0 || seen.contains(&name) {
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
