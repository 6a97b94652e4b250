//! The choice of how requests are mapped to streams: every prototype under every load, together with
//! the floors and ssh.

use anyhow::Result;

use super::{bulk, requests};
use crate::lab::Lab;
use crate::load::bulk::Upload;
use crate::process;
use crate::report::Report;

pub(super) async fn run(lab: &mut Lab, report: &mut Report) -> Result<()> {
    memory(lab, report, "RSS of both ends, idle")?;
    requests::measure(lab, report).await?;
    bulk::measure(lab, report, Upload::Sink).await?;
    memory(lab, report, "RSS of both ends, after the load")
}

fn memory(lab: &Lab, report: &mut Report, metric: &str) -> Result<()> {
    for front in lab.fronts.iter().filter(|front| !front.ends.is_empty()) {
        let bytes = process::rss(&front.pids())?;
        report.add(metric, "MiB", front.name, bytes as f64 / (1024.0 * 1024.0));
    }
    Ok(())
}
