//! The one thread that works on the [`Authority`]: callers queue for it, and what a commit has to
//! tell the world is told from here, in the order of the commits, before the caller hears of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use homing_transport::crash;
use tokio::sync::{mpsc, oneshot, watch};

use crate::authority::{Authority, SignedDelta};

/// Calls that wait for the thread. One takes a few milliseconds, so a full queue is seconds of work.
const QUEUE: usize = 256;

/// Runs on the thread right after every commit that continued the log.
pub(crate) type Push = Box<dyn Fn(&SignedDelta) + Send>;

type Answer = Box<dyn FnOnce() + Send>;
type Job = Box<dyn FnOnce(&mut Authority) -> Answer + Send>;

/// The authority is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator is shutting down")]
pub struct Stopped;

/// Asks the authority from async code. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuthorityHandle {
    jobs: mpsc::Sender<Option<Job>>,
    notices: watch::Receiver<u64>,
    admissions: watch::Receiver<u64>,
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Writer {
    thread: JoinHandle<()>,
    jobs: mpsc::Sender<Option<Job>>,
}

impl AuthorityHandle {
    /// Runs a call on the authority's thread. What it has committed is pushed before this returns.
    ///
    /// # Errors
    /// [`Stopped`] after the shutdown.
    pub async fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Authority) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |authority| {
            let result = call(authority);
            // The caller may have gone; its change stands all the same.
            Box::new(move || drop(sender.send(result)))
        });
        self.jobs.send(Some(job)).await.map_err(|_| Stopped)?;
        receiver.await.map_err(|_| Stopped)
    }

    /// Number of the newest notice, as it rises.
    #[must_use]
    pub fn notices(&self) -> watch::Receiver<u64> {
        self.notices.clone()
    }

    /// Changes when a waiting device was let in or turned away.
    #[must_use]
    pub fn admissions(&self) -> watch::Receiver<u64> {
        self.admissions.clone()
    }
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        authority: Authority,
        push: Push,
    ) -> Result<(Self, AuthorityHandle), std::io::Error> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (notices, notices_seen) = watch::channel(authority.newest_notice());
        let (admissions, admissions_seen) = watch::channel(authority.admissions());
        let thread = std::thread::Builder::new()
            .name("coordinator-db".to_owned())
            .spawn(move || serve(authority, queue, &push, &notices, &admissions))?;
        let handle = AuthorityHandle {
            jobs: jobs.clone(),
            notices: notices_seen,
            admissions: admissions_seen,
        };
        Ok((Self { thread, jobs }, handle))
    }

    /// Ends the thread after what is queued, and closes the database.
    pub(crate) async fn stop(self) {
        // Fails only when the thread has ended already.
        let _ = self.jobs.send(None).await;
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the coordinator's database thread ended by a panic");
        }
    }
}

fn serve(
    mut authority: Authority,
    mut queue: mpsc::Receiver<Option<Job>>,
    push: &Push,
    notices: &watch::Sender<u64>,
    admissions: &watch::Sender<u64>,
) {
    while let Some(Some(job)) = queue.blocking_recv() {
        // A panic rolls its transaction back; the state in memory changes only after a commit. The
        // thread must go on, or one bad request would end all revocations.
        let answer = catch_unwind(AssertUnwindSafe(|| job(&mut authority)));
        let deltas = authority.take_deltas();
        for delta in &deltas {
            push(delta);
        }
        if !deltas.is_empty() {
            crash::point("after_push");
        }
        update(notices, authority.newest_notice());
        update(admissions, authority.admissions());
        match answer {
            Ok(answer) => answer(),
            Err(_) => tracing::error!("a call on the coordinator's database panicked"),
        }
    }
}

fn update(watched: &watch::Sender<u64>, value: u64) {
    watched.send_if_modified(|known| std::mem::replace(known, value) != value);
}
