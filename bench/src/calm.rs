//! Whether the machine was ours during a measurement.
//!
//! Other work does not just add noise. On a virtual machine a core that halts between two requests
//! takes tens of microseconds to wake, and a core that others keep busy does not halt: latencies under
//! foreign load came out at a fifth of those without. So every window is held against what others
//! used of the processor meanwhile, is repeated when that was much, and decides nothing when it
//! stays so.

use std::cell::Cell;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::process;
use crate::report::Report;

/// Cores that others may use, in the mean of a window. A compiler takes one; the background of an
/// idle machine stays below a fiftieth.
const CALM: f64 = 0.10;
/// How often a disturbed window is repeated.
const TRIES: u32 = 4;
/// Between two looks at a machine that is not calm.
const LOOK: Duration = Duration::from_millis(250);

/// Waits for calm within a budget for the whole run.
#[derive(Debug)]
pub(crate) struct Calm {
    left: Cell<Duration>,
    tries: u32,
}

struct Usage {
    others: Duration,
    stolen: Duration,
    at: Instant,
}

impl Calm {
    /// `patience` is what all waiting of a run may take; without any, nothing is repeated.
    pub(crate) fn new(patience: Duration) -> Self {
        let tries = if patience.is_zero() { 1 } else { TRIES };
        Self {
            left: Cell::new(patience),
            tries,
        }
    }

    /// Measures in a window that others did not disturb, as far as there is one; the report knows of
    /// what follows how much they did.
    pub(crate) async fn measure<T>(
        &self,
        report: &mut Report,
        mut work: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let mut attempt = 1;
        loop {
            self.wait().await?;
            let before = Usage::now()?;
            let value = work().await?;
            report.foreign = before.foreign()?;
            if report.foreign < CALM || attempt >= self.tries {
                return Ok(value);
            }
            attempt += 1;
        }
    }

    /// Waits until others use little, or the budget is spent.
    pub(crate) async fn wait(&self) -> Result<()> {
        while !self.left.get().is_zero() {
            let before = Usage::now()?;
            sleep(LOOK).await;
            if before.foreign()? < CALM {
                return Ok(());
            }
            self.left.set(self.left.get().saturating_sub(LOOK));
        }
        Ok(())
    }
}

/// Whether so many cores of others leave a measurement what it is.
pub(crate) fn is_calm(foreign: f64) -> bool {
    foreign < CALM
}

impl Usage {
    fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let stolen = stolen(&stat).context("/proc/stat is not as expected")?;
        Ok(Self {
            others: process::cpu_of_others(&[std::process::id()])?,
            stolen,
            at: Instant::now(),
        })
    }

    /// Cores that others have used since, and that the host took away.
    fn foreign(&self) -> Result<f64> {
        let now = Self::now()?;
        // Somebody's time vanished with it: how much it was nobody knows.
        let Some(others) = now.others.checked_sub(self.others) else {
            return Ok(f64::INFINITY);
        };
        let taken = others + now.stolen.saturating_sub(self.stolen);
        Ok(taken.as_secs_f64() / (now.at - self.at).as_secs_f64())
    }
}

fn stolen(stat: &str) -> Option<Duration> {
    let field = stat.lines().next()?.split_whitespace().nth(8)?;
    Some(process::TICK * field.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_the_eighth_number() {
        let stat = "cpu  100 20 30 5000 60 7 8 9 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(stolen(stat), Some(process::TICK * 9));
    }

    #[tokio::test]
    async fn a_process_that_spins_and_is_not_ours_disturbs() {
        // Its parent ends at once, so that it is nobody's child here; it ends by itself.
        let spin = "timeout 3 sh -c 'while :; do :; done' >/dev/null 2>&1 &";
        std::process::Command::new("setsid")
            .args(["sh", "-c", spin])
            .status()
            .unwrap();
        let start = Instant::now();
        loop {
            let before = Usage::now().unwrap();
            sleep(LOOK).await;
            if !is_calm(before.foreign().unwrap()) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(3), "it was not seen");
        }
    }

    #[tokio::test]
    async fn work_of_our_own_children_is_not_foreign_and_a_window_without_patience_runs_once() {
        let calm = Calm::new(Duration::ZERO);
        let mut report = Report::default();
        let mut runs = 0;
        let work = async || {
            runs += 1;
            Ok(())
        };
        calm.measure(&mut report, work).await.unwrap();
        assert_eq!(runs, 1);
        assert!(report.foreign.is_finite());
    }
}
