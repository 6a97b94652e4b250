//! The life of a command that goes on running: ready, then a signal or the end of a part, then an
//! orderly stop.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::output::Output;

/// From a signal to the end of the process.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

type Ended = Result<anyhow::Result<()>, JoinError>;

/// What runs. `tasks` serve the process itself and end with `shutdown`.
pub(super) struct Serving {
    pub(super) parts: JoinSet<anyhow::Result<()>>,
    pub(super) tasks: JoinSet<()>,
    pub(super) shutdown: CancellationToken,
}

impl Serving {
    /// Waits for `ready`, then for the end; the first part that ends takes the others with it.
    /// `last` runs when all have ended.
    pub(super) async fn until_end(
        self,
        output: Output,
        ready: impl Future<Output = anyhow::Result<()>>,
        last: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self {
            mut parts,
            mut tasks,
            shutdown,
        } = self;
        let mut result = Ok(());
        let mut first_end = tokio::select! {
            ready = ready => {
                result = ready;
                None
            }
            ended = parts.join_next() => ended,
        };
        if first_end.is_none() && result.is_ok() {
            first_end = tokio::select! {
                () = shutdown.cancelled() => None,
                ended = parts.join_next() => ended,
            };
        }
        shutdown.cancel();
        let stop = async {
            result = result.and(flatten(first_end));
            while let Some(ended) = parts.join_next().await {
                result = std::mem::replace(&mut result, Ok(())).and(flatten(Some(ended)));
            }
            while tasks.join_next().await.is_some() {}
            last.await;
            result
        };
        match tokio::time::timeout(SHUTDOWN_DEADLINE, stop).await {
            Ok(result) => result,
            Err(_) => {
                output.warn("some connections did not end in time");
                Ok(())
            }
        }
    }
}

fn flatten(ended: Option<Ended>) -> anyhow::Result<()> {
    match ended {
        None => Ok(()),
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(anyhow::Error::new(error).context("a part of homing failed")),
    }
}
