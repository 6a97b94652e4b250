//! Short readings every two seconds for whoever watches. One task for all watchers, and none while
//! nobody watches.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Reading, SystemProbe};

/// Between two snapshots: what an eye follows, at a cost that no one notices.
const EVERY: Duration = Duration::from_secs(2);
/// A reading that old may be told again: what a tool has just asked for.
const FRESH: Duration = Duration::from_secs(1);

/// How busy the machine is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Snapshot {
    /// Use of all cores together, 0 to 100.
    pub cpu_percent: f32,
    /// Memory in use, 0 to 100.
    pub ram_percent: f32,
    /// Use of the disk at `/`, else of the fullest one, 0 to 100.
    pub disk_percent: f32,
}

/// Where snapshots come from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    probe: SystemProbe,
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// Some while the task runs.
    running: Mutex<Option<watch::Sender<Option<Snapshot>>>>,
}

/// The snapshots of one watcher: only the newest one, however slow it is.
#[derive(Debug)]
pub struct Watch {
    newest: watch::Receiver<Option<Snapshot>>,
}

impl Snapshots {
    /// Through a probe; the task is one of `tasks` and ends with `stopping`.
    #[must_use]
    pub fn new(probe: SystemProbe, tasks: TaskTracker, stopping: CancellationToken) -> Self {
        Self {
            inner: Arc::new(Inner {
                probe,
                tasks,
                stopping,
                running: Mutex::new(None),
            }),
        }
    }

    /// Begins to watch. The reading goes on until the last watcher is dropped.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let mut running = self.inner.lock();
        if let Some(sender) = &*running {
            let mut newest = sender.subscribe();
            newest.mark_changed();
            return Watch { newest };
        }
        let (sender, newest) = watch::channel(None);
        *running = Some(sender);
        let inner = self.inner.clone();
        self.inner.tasks.spawn(inner.read_on());
        Watch { newest }
    }

    /// Whether anything is being read.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.inner.lock().is_some()
    }
}

impl Watch {
    /// The next snapshot that this watcher has not seen. `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Snapshot> {
        loop {
            self.newest.changed().await.ok()?;
            if let Some(snapshot) = *self.newest.borrow_and_update() {
                return Some(snapshot);
            }
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<watch::Sender<Option<Snapshot>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_on(self: Arc<Self>) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopping.cancelled() => {
                    *self.lock() = None;
                    return;
                }
                _ = tick.tick() => {}
            }
            let reading = self.probe.read_within(FRESH).await;
            let mut running = self.lock();
            let watched = running
                .as_ref()
                .is_some_and(|sender| sender.receiver_count() > 0);
            // Under the lock: whoever comes now finds either this task or none.
            if !watched {
                *running = None;
                return;
            }
            match (reading, &*running) {
                (Ok(reading), Some(sender)) => {
                    sender.send_replace(Some(snapshot(&reading)));
                }
                (Err(error), _) => tracing::warn!(%error, "no snapshot could be taken"),
                (Ok(_), None) => return,
            }
        }
    }
}

fn snapshot(reading: &Reading) -> Snapshot {
    let used = |disk: &super::Disk| percent(disk.total.saturating_sub(disk.available), disk.total);
    let root = reading.disks.iter().find(|disk| disk.mount == "/");
    let fullest = || reading.disks.iter().map(used).fold(0.0, f32::max);
    Snapshot {
        cpu_percent: reading.cpu_percent,
        ram_percent: percent(reading.memory_used, reading.memory_total),
        disk_percent: root.map_or_else(fullest, used),
    }
}

fn percent(part: u64, whole: u64) -> f32 {
    if whole == 0 {
        return 0.0;
    }
    // A tenth of a percent is exact in both types.
    let tenths = u128::from(part) * 1_000 / u128::from(whole);
    f32::from(u16::try_from(tenths.min(1_000)).unwrap_or(1_000)) / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_never_above_a_hundred_nor_of_nothing() {
        assert_eq!(percent(1, 8), 12.5);
        assert_eq!(percent(9, 8), 100.0);
        assert_eq!(percent(1, 0), 0.0);
        assert_eq!(percent(u64::MAX, u64::MAX), 100.0);
    }
}
