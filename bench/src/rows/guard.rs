//! What the guard costs: row 5. The product's loopback proxy with and without its guard, and an opaque
//! splice, in pairs that follow each other closely.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Row;
use crate::lab::Lab;
use crate::load::requests;
use crate::mapping::Kind;
use crate::report::Report;
use crate::stats;

const PATH: &str = "/api/health";
/// Pairs for each round: the difference in question is smaller than what single rounds differ by.
const PAIRS: u32 = 8;
/// Pairs with the same instances.
const RENEW: u32 = 2;
/// What the guard may add.
const MOST: f64 = 1.05;

const P50: &str = "guard: small GET, 1 connection, p50";
const NEW: &str = "guard: a new connection for each request, time";

pub(super) async fn run(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let kinds = [Kind::Relayed, Kind::Unguarded, Kind::Splice];
    let mut order: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    for pair in 0..lab.sizes.rounds * PAIRS {
        if pair > 0 && pair % RENEW == 0 {
            lab.renew().await?;
        }
        // Whoever comes first may find the caches cold, so the order turns.
        order.rotate_left(1);
        for name in &order {
            let front = lab.front(name).with_context(|| lab.why_absent(name))?;
            let time = lab.sizes.time.min(Duration::from_millis(500));
            let load = async || requests::keep_alive(front.address, PATH, 1, time).await;
            let run = lab.calm.measure(report, load).await?;
            report.add(P50, "µs", name, run.samples.micros(50.0));
            let count = lab.sizes.new_connections / 8;
            let load = async || requests::new_connections(front.address, PATH, 8, count).await;
            let run = lab.calm.measure(report, load).await?;
            report.add(NEW, "µs", name, 1e6 / run.per_second);
        }
    }
    for (metric, other) in [
        (P50, Kind::Unguarded),
        (P50, Kind::Splice),
        (NEW, Kind::Unguarded),
        (NEW, Kind::Splice),
    ] {
        judge(report, metric, other.name());
    }
    Ok(())
}

fn judge(report: &mut Report, metric: &str, other: &str) {
    let guarded = report.values(metric, Kind::Relayed.name());
    let bare = report.values(metric, other);
    let ratios: Vec<f64> = guarded
        .iter()
        .zip(bare)
        .map(|(guarded, bare)| guarded / bare)
        .collect();
    let (low, middle, high) = (
        stats::at(&ratios, 0.25),
        stats::median(&ratios),
        stats::at(&ratios, 0.75),
    );
    let what = format!("{metric}, against {other}");
    let goal = format!("at most {MOST} ×");
    let reason = format!(
        "median {middle:.3} ×, quartiles {low:.3} to {high:.3} over {} pairs",
        ratios.len()
    );
    let doubt = [Kind::Relayed.name(), other]
        .into_iter()
        .find_map(|system| report.value(metric, system).and_then(|value| value.doubt()));
    if let Some(doubt) = doubt {
        report.undecided(Row::Guard, &what, &goal, format!("{reason}; {doubt}"));
    } else if low <= MOST && high > MOST {
        report.undecided(Row::Guard, &what, &goal, reason);
    } else {
        report.verdict(Row::Guard, &what, &goal, high <= MOST, reason);
    }
}
