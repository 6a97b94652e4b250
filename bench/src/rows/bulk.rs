//! One large transfer each way, and the CPU time that it takes: rows 6 and 7.

use std::time::Duration;

use anyhow::{Context, Result};

use super::Row;
use crate::lab::Lab;
use crate::load::bulk::{self, Upload};
use crate::process;
use crate::report::{Goal, Report};
use crate::systems::OURS;

const DOWN: &str = "one transfer, down";
const UP: &str = "one transfer, up";
const DOWN_CPU: &str = "CPU of both ends, down";
const UP_CPU: &str = "CPU of both ends, up";
const DOWN_CPU_ALL: &str = "CPU of both ends and the origin, down";
const UP_CPU_ALL: &str = "CPU of both ends and the origin, up";
const GIB: f64 = (1_u64 << 30) as f64;

pub(super) async fn run(lab: &mut Lab, report: &mut Report) -> Result<()> {
    measure(lab, report, Upload::File).await?;
    let pairs = [
        (Row::Bulk, DOWN, "ssh -L", Goal::AtLeast(1.0)),
        (Row::Bulk, UP, "ssh -L", Goal::AtLeast(0.9)),
        (Row::Bulk, DOWN, "raw iroh", Goal::AtLeast(0.95)),
        (Row::Bulk, UP, "raw iroh", Goal::AtLeast(0.95)),
        (Row::Cpu, DOWN_CPU, "ssh -L", Goal::AtMost(1.0)),
        (Row::Cpu, UP_CPU, "ssh -L", Goal::AtMost(1.0)),
    ];
    for (row, metric, rival, goal) in pairs {
        let (ours, theirs) = (report.value(metric, OURS), report.value(metric, rival));
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => report.compare(row, metric, ours, rival, theirs, goal),
            (None, _) => report.not_run(row, metric, lab.why_absent(OURS)),
            (_, None) => report.not_run(row, metric, lab.why_absent(rival)),
        }
    }
    Ok(())
}

/// Transfers through all systems, interleaved.
pub(super) async fn measure(lab: &mut Lab, report: &mut Report, target: Upload) -> Result<()> {
    let size = lab.sizes.bulk;
    let per_gib = |spent: Duration| spent.as_secs_f64() * GIB / size as f64;
    for round in 0..lab.sizes.rounds {
        if round > 0 {
            lab.renew().await?;
        }
        let calm = &lab.calm;
        let rate = calm
            .measure(report, async || lab.iroh.download(size).await)
            .await;
        report.add(DOWN, "MiB/s", "raw iroh", rate.context("raw iroh")?);
        let rate = calm
            .measure(report, async || lab.iroh.upload(size).await)
            .await;
        report.add(UP, "MiB/s", "raw iroh", rate.context("raw iroh")?);
        let rate = calm
            .measure(report, async || lab.quinn.download(size).await)
            .await;
        report.add(DOWN, "MiB/s", "raw quinn", rate.context("raw quinn")?);
        let rate = calm
            .measure(report, async || lab.quinn.upload(size).await)
            .await;
        report.add(UP, "MiB/s", "raw quinn", rate.context("raw quinn")?);
        for front in &lab.fronts {
            let (name, pids) = (front.name, front.pids());
            let mut with_origin = pids.clone();
            if !front.answers {
                with_origin.push(lab.origin());
            }
            let usage = || anyhow::Ok((process::cpu(&pids)?, process::cpu(&with_origin)?));
            for (down, rate_name, ends_name, all_name) in [
                (true, DOWN, DOWN_CPU, DOWN_CPU_ALL),
                (false, UP, UP_CPU, UP_CPU_ALL),
            ] {
                let load = async || {
                    let before = usage()?;
                    let rate = match down {
                        true => bulk::download(front.address, size).await?,
                        false => bulk::upload(front.address, size, target).await?,
                    };
                    let after = usage()?;
                    anyhow::Ok((rate, after.0 - before.0, after.1 - before.1))
                };
                let done = calm.measure(report, load).await;
                let (rate, ends, all) =
                    done.with_context(|| format!("a transfer through {name}"))?;
                report.add(rate_name, "MiB/s", name, rate);
                if !pids.is_empty() {
                    report.add(ends_name, "s/GiB", name, per_gib(ends));
                    report.add(all_name, "s/GiB", name, per_gib(all));
                }
            }
        }
    }
    Ok(())
}
