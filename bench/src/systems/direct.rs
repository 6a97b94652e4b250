//! The client straight at the origin: what no tunnel can beat.

use anyhow::Result;

use super::{Front, address};
use crate::child::Child;
use crate::lab::Place;

pub(crate) async fn start(place: &Place) -> Result<(Front, Child)> {
    let store = place.file("origin-upload");
    let origin = Child::role(
        "origin",
        &[&store.to_string_lossy()],
        &place.file("origin.log"),
    )
    .await?;
    let front = Front {
        name: "direct TCP",
        address: address(&origin)?,
        ends: Vec::new(),
        answers: false,
    };
    Ok((front, origin))
}
