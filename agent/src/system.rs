//! What this machine and this process are doing: CPU, memory, disks, load, uptime, network
//! interfaces, processes, sensors.
//!
//! In a container the numbers are the host's. Reading blocks, so it happens on threads for that, one
//! reader at a time.

mod machine;
mod network;
mod processes;
mod sensors;
mod snapshots;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

pub use machine::{Disk, Reading};
pub use network::{Interface, NetworkReading};
pub use processes::{MAX_PROCESSES, ProcessOrder, ProcessReading, RunningProcess};
pub use sensors::{Sensor, SensorReading};
pub use snapshots::{Snapshot, Snapshots, Watch};

use machine::Machine;

/// A reading older than this is taken anew.
const FRESH: Duration = Duration::from_secs(2);
/// How long the process's own memory is remembered; the health report is asked for often.
const MEMORY_FRESH: Duration = Duration::from_secs(1);

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
    machine: Mutex<Machine>,
    memory: AtomicU64,
    /// Milliseconds after `started`, plus one; 0 for never.
    memory_at: AtomicU64,
}

impl Default for SystemProbe {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                started: Instant::now(),
                machine: Mutex::new(Machine::new()),
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
        self.read_within(FRESH).await
    }

    /// A reading that is not older than `age`.
    ///
    /// # Errors
    /// As [`SystemProbe::read`].
    pub async fn read_within(&self, age: Duration) -> Result<Reading, ProbeFailed> {
        self.blocking(move |machine| machine.read(age)).await
    }

    /// Network interfaces with what they have carried and carry now; takes half a second when nobody
    /// has asked for a minute.
    ///
    /// # Errors
    /// As [`SystemProbe::read`].
    pub async fn network(&self) -> Result<NetworkReading, ProbeFailed> {
        self.blocking(Machine::network).await
    }

    /// The processes that use most, at most [`MAX_PROCESSES`].
    ///
    /// # Errors
    /// As [`SystemProbe::read`].
    pub async fn processes(
        &self,
        order: ProcessOrder,
        limit: usize,
    ) -> Result<ProcessReading, ProbeFailed> {
        self.blocking(move |_| processes::read(order, limit)).await
    }

    /// Temperatures.
    ///
    /// # Errors
    /// As [`SystemProbe::read`].
    pub async fn sensors(&self) -> Result<SensorReading, ProbeFailed> {
        self.blocking(|_| sensors::read()).await
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

    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Machine) -> Result<T, ProbeFailed> + Send + 'static,
    ) -> Result<T, ProbeFailed> {
        let inner = self.inner.clone();
        let read = move || {
            let mut machine = inner.machine.lock().unwrap_or_else(PoisonError::into_inner);
            read(&mut machine)
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| ProbeFailed)?
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
