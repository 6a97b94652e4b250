//! Many devices with one ticket at the same time: row 16.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use homing_certs::Ticket;
use homing_transport::Endpoint;
use homing_transport::enrolling::{EnrollError, Enrolling, Introduction, Outcome};
use tokio::time::sleep;

use super::Row;
use crate::lab::Lab;
use crate::network;
use crate::report::Report;
use crate::systems::OURS;

/// The coordinator lets 200 handshakes a second begin, so many of a thousand have to come again.
const LIMIT: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(250);
/// Keys of these devices are none of the other rows'.
const FIRST: u32 = 100_000;

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Enrolled,
    Refused,
    None(String),
}

pub(super) async fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let (network, _) = lab.ours()?;
    let count: u32 = if lab.sizes.quick { 50 } else { 1000 };
    let text = network.ticket(&["--name", "contested"]).await?;
    let mut endpoints = Vec::new();
    for number in FIRST..FIRST + count {
        endpoints.push(network::endpoint(network::device(number)).await?);
    }
    let before = Instant::now();
    let answers = join_all(endpoints.iter().map(|endpoint| redeem(endpoint, &text))).await;
    let answers: Vec<Answer> = answers.into_iter().collect::<Result<_>>()?;
    let took = before.elapsed();
    join_all(endpoints.iter().map(Endpoint::close)).await;
    let enrolled = answers
        .iter()
        .filter(|answer| **answer == Answer::Enrolled)
        .count();
    let refused = answers
        .iter()
        .filter(|answer| **answer == Answer::Refused)
        .count();
    report.add(
        "parallel redemptions of one ticket",
        "s",
        OURS,
        took.as_secs_f64(),
    );
    let what = format!("{count} parallel redemptions of one ticket");
    let reason = format!("{enrolled} succeeded, {refused} were refused");
    let silent = answers.iter().find_map(|answer| match answer {
        Answer::None(error) => Some(error),
        _ => None,
    });
    match silent {
        Some(error) if enrolled == 1 => {
            let reason = format!("{reason}, the rest got no answer: {error}");
            report.undecided(Row::Redemption, &what, "exactly one succeeds", reason);
        }
        _ => report.verdict(
            Row::Redemption,
            &what,
            "exactly one succeeds",
            enrolled == 1,
            reason,
        ),
    }
    Ok(())
}

async fn redeem(endpoint: &Endpoint, ticket: &str) -> Result<Answer> {
    let give_up = Instant::now() + LIMIT;
    loop {
        let ticket = Ticket::decode(ticket).context("the ticket")?;
        let outcome = match Enrolling::start(endpoint, ticket, Introduction::default()).await {
            Ok(mut enrolling) => enrolling.answer(endpoint, false).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Outcome::Enrolled(_)) => return Ok(Answer::Enrolled),
            Ok(Outcome::Pending { .. }) => {
                return Ok(Answer::None("it waits for approval".to_owned()));
            }
            Err(EnrollError::Refused(error)) if error.code != "busy" => return Ok(Answer::Refused),
            Err(error) if Instant::now() > give_up => return Ok(Answer::None(error.to_string())),
            Err(_) => sleep(AGAIN).await,
        }
    }
}
