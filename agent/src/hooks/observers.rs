//! Where hooks run that only observe: beside the turns, a few at a time, and with an end when the
//! agent goes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Events that are told at once: each may run a program.
const RUNNING: usize = 8;
/// Events that wait or are told. Beyond, the observers cannot keep up, and events are lost.
const PENDING: usize = 256;
/// Time that is left when the agent goes, below the 7 s that it waits for its tasks.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Observers {
    tasks: TaskTracker,
    stopping: CancellationToken,
    running: Arc<Semaphore>,
    pending: Arc<Semaphore>,
}

impl Observers {
    pub(super) fn new(tasks: TaskTracker, stopping: CancellationToken) -> Self {
        Self {
            tasks,
            stopping,
            running: Arc::new(Semaphore::new(RUNNING)),
            pending: Arc::new(Semaphore::new(PENDING)),
        }
    }

    /// Tells one event. Returns at once.
    pub(super) fn run(&self, telling: impl Future<Output = ()> + Send + 'static) {
        let Ok(pending) = self.pending.clone().try_acquire_owned() else {
            tracing::warn!("hooks cannot keep up; an event was not told to those that observe");
            return;
        };
        let (running, stopping) = (self.running.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let told = async {
                // Never closed.
                let _running = running.acquire().await;
                telling.await;
            };
            let late = async {
                stopping.cancelled().await;
                tokio::time::sleep(GRACE).await;
            };
            tokio::select! {
                () = told => {}
                () = late => tracing::warn!("a hook was ended with the agent"),
            }
            drop(pending);
        });
    }
}
