//! What the agent does for a conversation besides asking a model: rows 22 and 23.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::Row;
use crate::lab::Lab;
use crate::load::chat::Person;
use crate::process;
use crate::provider::Ask;
use crate::report::Report;
use crate::systems::OURS;
use crate::systems::talking::Talking;

/// Tokens of one turn in the session that is replayed: far enough apart for a frame each.
const LONG: Ask = Ask {
    tokens: 2_000,
    first_us: 1_000,
    gap_us: 1_000,
};
/// Replays of a round.
const REPLAYS: u32 = 5;
/// Turns of one session: as many as people have, so that what is measured is a turn and not the
/// reading of a history that no person has.
const TURNS_EACH: u32 = 20;
/// After the load, until what an idle agent uses is measured.
const SETTLE: Duration = Duration::from_secs(2);

const REPLAY: &str = "replay of a session from its first frame";
const TURN: &str = "CPU of the agent for a turn of one token";

/// A session of many frames, opened from the beginning.
pub(super) async fn replay(lab: &Lab, report: &mut Report) -> Result<()> {
    let count = if lab.sizes.quick { 500 } else { 10_000 };
    let mut talking = Talking::start(lab, "replay").await?;
    let address = talking.add_devices(1).await?;
    let address = *address.first().context("no device")?;
    let mut author = Person::meet(address, "long").await?;
    let mut last = 0;
    while last < count {
        last = author.ask(LONG).await?.seq;
    }
    for _ in 0..lab.sizes.rounds * REPLAYS {
        // A device that comes back: its socket is open, its session is not.
        let load = async || Person::meet(address, "long").await?.replay(count).await;
        let took = lab.calm.measure(report, load).await?;
        report.add(REPLAY, "ms", OURS, took.as_secs_f64() * 1e3);
    }
    let value = report.value(REPLAY, OURS).context("no replay")?;
    let what = format!("{REPLAY}, {count} frames");
    report.bound(Row::Replay, &what, value, 150.0, "ms");
    talking.stop().await;
    Ok(())
}

/// Turns whose answer is one token, one after the other: CPU time of `homing up` for each, its
/// kernel time included, less what it uses when nothing is asked of it.
pub(super) async fn cost(lab: &Lab, report: &mut Report) -> Result<()> {
    let (warm_up, turns, rest) = match lab.sizes.quick {
        true => (2, 10, Duration::from_millis(500)),
        false => (50, 500, Duration::from_secs(10)),
    };
    report.settings.push(format!(
        "turn-cost: {turns} turns of one token, {TURNS_EACH} in each session, through a homing proxy, CPU of the process homing up less {rest:?} of rest"
    ));
    let mut talking = Talking::start(lab, "turn-cost").await?;
    let address = talking.add_devices(1).await?;
    let address = *address.first().context("no device")?;
    let agent = [talking.agent()];
    for round in 0..lab.sizes.rounds {
        let load = async || {
            let mut person = Person::meet(address, "short").await?;
            for _ in 0..warm_up {
                person.ask(Ask::ONE).await?;
            }
            let (start, before) = (Instant::now(), process::cpu(&agent)?);
            let mut waited = Duration::ZERO;
            for turn in 0..turns {
                if turn % TURNS_EACH == 0 {
                    person.turn_to(format!("short {round} {turn}"));
                }
                waited += person.ask(Ask::ONE).await?.acknowledged;
            }
            let (took, spent) = (start.elapsed(), process::cpu(&agent)? - before);
            anyhow::Ok((took, spent, waited))
        };
        let (took, spent, waited) = lab.calm.measure(report, load).await?;
        sleep(SETTLE).await;
        let (start, before) = (Instant::now(), process::cpu(&agent)?);
        sleep(rest).await;
        let idle = (process::cpu(&agent)? - before).as_secs_f64() / start.elapsed().as_secs_f64();
        let spent = spent.as_secs_f64() - idle * took.as_secs_f64();
        let each = |seconds: f64| seconds * 1e3 / f64::from(turns);
        report.add(TURN, "ms", OURS, each(spent));
        report.add(
            "time of a turn of one token",
            "ms",
            OURS,
            each(took.as_secs_f64()),
        );
        report.add(
            "message to its acknowledgement, mean",
            "ms",
            OURS,
            each(waited.as_secs_f64()),
        );
    }
    let value = report.value(TURN, OURS).context("no turns")?;
    report.bound(Row::TurnCost, TURN, value, 1.0, "ms");
    talking.stop().await;
    Ok(())
}
