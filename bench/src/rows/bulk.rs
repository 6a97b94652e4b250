//! One large transfer each way, and the CPU time that it takes: rows 6 and 7.

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

pub(super) async fn run(lab: &Lab, report: &mut Report) -> Result<()> {
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
        let (ours, theirs) = (report.median(metric, OURS), report.median(metric, rival));
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => report.compare(row, metric, ours, rival, theirs, goal),
            (None, _) => report.not_run(row, metric, lab.why_absent(OURS)),
            (_, None) => report.not_run(row, metric, lab.why_absent(rival)),
        }
    }
    Ok(())
}

/// Transfers through all systems, interleaved.
pub(super) async fn measure(lab: &Lab, report: &mut Report, target: Upload) -> Result<()> {
    let size = lab.sizes.bulk;
    for _ in 0..lab.sizes.rounds {
        let rate = lab.iroh.download(size).await.context("raw iroh")?;
        report.add(DOWN, "MiB/s", "raw iroh", rate);
        report.add(
            UP,
            "MiB/s",
            "raw iroh",
            lab.iroh.upload(size).await.context("raw iroh")?,
        );
        let rate = lab.quinn.download(size).await.context("raw quinn")?;
        report.add(DOWN, "MiB/s", "raw quinn", rate);
        report.add(
            UP,
            "MiB/s",
            "raw quinn",
            lab.quinn.upload(size).await.context("raw quinn")?,
        );
        for front in &lab.fronts {
            let (name, pids) = (front.name, front.pids());
            let mut with_origin = pids.clone();
            if !front.answers {
                with_origin.push(lab.origin());
            }
            let usage = || anyhow::Ok((process::cpu(&pids)?, process::cpu(&with_origin)?));
            let per_gib = |spent: std::time::Duration| spent.as_secs_f64() * GIB / size as f64;

            let before = usage()?;
            let rate = bulk::download(front.address, size).await;
            report.add(
                DOWN,
                "MiB/s",
                name,
                rate.with_context(|| format!("a download through {name}"))?,
            );
            let between = usage()?;
            let rate = bulk::upload(front.address, size, target).await;
            report.add(
                UP,
                "MiB/s",
                name,
                rate.with_context(|| format!("an upload through {name}"))?,
            );
            let after = usage()?;
            if !pids.is_empty() {
                report.add(DOWN_CPU, "s/GiB", name, per_gib(between.0 - before.0));
                report.add(UP_CPU, "s/GiB", name, per_gib(after.0 - between.0));
                report.add(DOWN_CPU_ALL, "s/GiB", name, per_gib(between.1 - before.1));
                report.add(UP_CPU_ALL, "s/GiB", name, per_gib(after.1 - between.1));
            }
        }
    }
    Ok(())
}
