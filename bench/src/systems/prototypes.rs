//! The prototypes of [`crate::mapping`] as processes: one far end, a near end for each kind.

use anyhow::Result;

use super::{Front, address};
use crate::child::Child;
use crate::lab::Place;
use crate::mapping::Kind;

/// Starts both ends of one kind.
pub(crate) async fn start(place: &Place, kind: Kind) -> Result<Front> {
    let dir = place.fresh(kind.word())?;
    let store = dir.join("upload");
    let far = Child::role(
        "mapping-agent",
        &[&store.to_string_lossy()],
        &dir.join("agent.log"),
    )
    .await?;
    let ready = far.ready.to_string();
    let args = [kind.word(), &ready, &dir.to_string_lossy()];
    let near = Child::role("mapping-proxy", &args, &dir.join("proxy.log")).await?;
    Ok(Front {
        name: kind.name(),
        address: address(&near)?,
        ends: vec![near, far],
        answers: true,
    })
}
