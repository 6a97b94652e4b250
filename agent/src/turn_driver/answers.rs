//! What a model says, as events of the machine.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, ReadyChunks};

use crate::models::Price;
use crate::providers::{ModelEvent, ProviderError};
use crate::turn::Event;

/// Time without a word for people after which a model is given up, whatever it does: the providers notice
/// a silent server far earlier, and a model may think for minutes.
const IDLE: Duration = Duration::from_secs(600);
/// Pieces that are ready at the same moment and shown together.
const CHUNK: usize = 64;

pub(super) struct Answers(ReadyChunks<BoxStream<'static, Result<ModelEvent, ProviderError>>>);

impl Answers {
    pub(super) fn new(stream: BoxStream<'static, Result<ModelEvent, ProviderError>>) -> Self {
        Self(stream.ready_chunks(CHUNK))
    }
}

/// What comes next; never, while no model is asked.
///
/// Also whether the provider had taken the request when it failed, if it did.
pub(super) async fn next(
    answers: &mut Option<Answers>,
    price: Option<Price>,
) -> (Vec<Event>, bool) {
    let Some(Answers(stream)) = answers else {
        return std::future::pending().await;
    };
    let chunk = match tokio::time::timeout(IDLE, stream.next()).await {
        Ok(Some(chunk)) => chunk,
        Ok(None) => vec![Err(ProviderError::BrokenOff)],
        Err(_) => vec![Err(ProviderError::Silent(IDLE.as_secs()))],
    };
    let taken = chunk.iter().any(|answer| match answer {
        Ok(_) => true,
        Err(error) => was_taken(error),
    });
    let events = chunk.into_iter().map(|answer| event_of(answer, price));
    (events.collect(), taken)
}

/// Whether the model says nothing more in this round.
pub(super) fn ends_round(event: &Event) -> bool {
    matches!(
        event,
        Event::Finished { .. } | Event::ModelFailed(_) | Event::ContextTooLong(_)
    )
}

/// Whether a call that ended so may have to be paid for, although nothing was heard: a model that thinks
/// says nothing for minutes.
fn was_taken(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::BrokenOff
            | ProviderError::Silent(_)
            | ProviderError::Malformed(_)
            | ProviderError::TooLong(_)
    )
}

fn event_of(answer: Result<ModelEvent, ProviderError>, price: Option<Price>) -> Event {
    match answer {
        Ok(ModelEvent::Text(text)) => Event::Text(text),
        Ok(ModelEvent::Call(call)) => Event::Call(call),
        Ok(ModelEvent::Finished(tokens)) => Event::Finished {
            tokens,
            cost: price.map(|price| price.cost(tokens)),
        },
        Err(error @ ProviderError::ContextTooLong) => Event::ContextTooLong(error.to_string()),
        Err(error) => Event::ModelFailed(error.to_string()),
    }
}
