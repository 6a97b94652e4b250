//! News of the network for whoever uses this device: a new device, a revoked one, a burned invitation.

use std::sync::Arc;
use std::time::Duration;

use homing_protocol::control::{ControlReply, ControlRequest, Notice};
use homing_transport::backoff::Backoff;
use homing_transport::clock::wall_clock;
use homing_transport::controlling::ControlError;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Device;
use crate::output::{Output, rfc3339};

/// First wait after the coordinator could not be asked.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest wait: the coordinator may be away for days.
const RETRY_LONGEST: Duration = Duration::from_secs(300);

/// Tells news on stderr until `shutdown`. What happened before the start is old.
pub(crate) async fn tell(device: Arc<Device>, output: Output, shutdown: CancellationToken) {
    let started = wall_clock().0;
    let mut after = 0;
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
    loop {
        let asked = tokio::select! {
            () = shutdown.cancelled() => return,
            asked = ask(&device, after) => asked,
        };
        match asked {
            Ok(ControlReply::Notices(notices)) => {
                backoff.reset();
                after = notices
                    .iter()
                    .map(|notice| notice.number)
                    .max()
                    .unwrap_or(after);
                for notice in notices.iter().filter(|notice| notice.time >= started) {
                    tell_one(output, notice);
                }
            }
            Ok(_) => return,
            Err(error) => {
                debug!(%error, "no news from the coordinator");
                let wait = backoff.next(device.endpoint().id().as_bytes()[1]);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

/// The next notices, and with them the revocation log: whatever is revoked makes a notice.
async fn ask(device: &Device, after: u64) -> Result<ControlReply, ControlError> {
    device.refresh_log().await?;
    device
        .control()
        .request(&ControlRequest::Notices { after })
        .await
}

fn tell_one(output: Output, notice: &Notice) {
    output.notice(&format!("{}  {}", rfc3339(notice.time), notice.text));
}
