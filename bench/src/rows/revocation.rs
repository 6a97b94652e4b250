//! From the commit of a revocation to the last answer that the device was given: row 14.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::time::timeout;

use super::Row;
use crate::lab::Lab;
use crate::load::http::Client;
use crate::load::requests;
use crate::report::{self, Report};
use crate::stats;
use crate::systems::OURS;
use crate::systems::homing::proxy_address;

/// A device that is answered for longer was not revoked.
const LIMIT: Duration = Duration::from_secs(10);
/// Requests before the revocation, so that the connection is warm.
const WARM_UP: usize = 50;

const METRIC: &str = "from the commit of a revocation to the last answer";

pub(super) async fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let (network, _) = lab.ours()?;
    let each = if lab.sizes.quick { 2 } else { 20 };
    for number in 0..lab.sizes.rounds * each {
        let device = network.join(&format!("lost-{number}")).await?;
        let proxy = device.proxy(0).await?;
        let address = proxy_address(&proxy)?;
        let mut client = Client::connect_small(address).await?;
        let request = requests::get(address, "/api/health");
        for _ in 0..WARM_UP {
            client.exchange(&request).await?;
        }
        let revoke = ["revoke", &device.name];
        let (last, revoked) = tokio::join!(asking(address, client), network.ask(&revoke));
        let committed = revoked?
            .get("committed_at_us")
            .and_then(Value::as_u64)
            .context("no commit time")?;
        let late = last?.saturating_sub(u128::from(committed));
        report.add(METRIC, "ms", OURS, late as f64 / 1e3);
        proxy.stop().await;
    }
    let values = report.values(METRIC, OURS).to_vec();
    let what = |part: &str| format!("{METRIC}, {part} of {}", values.len());
    report.bound(
        Row::Revocation,
        &what("p50"),
        report::Value::of(stats::median(&values)),
        200.0,
        "ms",
    );
    report.bound(
        Row::Revocation,
        &what("p99"),
        report::Value::of(stats::at(&values, 0.99)),
        1000.0,
        "ms",
    );
    report.not_run(
        Row::Revocation,
        "1,000 live agents",
        "there is no such load yet".to_owned(),
    );
    Ok(())
}

/// Asks without a pause until it is refused; when the last answer had arrived, in µs of the wall clock.
async fn asking(address: SocketAddr, mut client: Client) -> Result<u128> {
    let request = requests::get(address, "/api/health");
    let mut last = now();
    let work = async {
        while client.exchange(&request).await.is_ok() {
            last = now();
        }
    };
    if timeout(LIMIT, work).await.is_err() {
        bail!("a revoked device was still answered after {LIMIT:?}");
    }
    // A lost connection alone would not show that the device is kept out.
    if let Ok(mut again) = Client::connect_small(address).await
        && again.exchange(&request).await.is_ok()
    {
        bail!("a revoked device was answered on a new connection");
    }
    Ok(last)
}

fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros()
}
