//! From the bytes of an answer to what the model said: the part that both wire formats share.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::http::{self, Ask, Http, Kind, MAX_ANSWER, Pieces};
use super::sse::{SseEvent, SseParser};
use super::{ModelEvent, ProviderError};

/// Bytes of the arguments of all tools that a model asks for in one round.
pub(super) const MAX_ARGUMENTS: usize = 1 << 20;

/// Whether an answer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// More may come.
    More,
    /// Nothing that counts comes any more.
    Over,
}

/// Reads one wire format.
pub(super) trait Decode: Send + 'static {
    /// Takes an event of the stream.
    fn event(
        &mut self,
        event: &SseEvent,
        out: &mut VecDeque<ModelEvent>,
    ) -> Result<Flow, ProviderError>;

    /// The stream has ended, or is over: gives what was kept, ending with `Finished`, or says that the
    /// answer is not whole.
    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), ProviderError>;
}

/// Sends a request and reads its answer.
pub(super) fn answer<D: Decode>(
    http: Http,
    ask: Ask,
    decode: D,
) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
    let opening = async move {
        let response = http.send(&ask).await?;
        let form = match http::kind(&response) {
            Kind::Json => Form::Document(Vec::new()),
            Kind::Page => return Err(ProviderError::Malformed("it is a web page")),
            Kind::Other => Form::Events(SseParser::default()),
        };
        let idle = http.times().idle;
        Ok(read(http::pieces(response), form, decode, idle))
    };
    stream::once(opening).try_flatten().boxed()
}

enum Form {
    Events(SseParser),
    /// A server that does not stream.
    Document(Vec<u8>),
}

struct Reading<D> {
    pieces: Pieces,
    form: Form,
    decode: D,
    idle: Duration,
    read: usize,
    events: VecDeque<SseEvent>,
    out: VecDeque<ModelEvent>,
    /// The decoder has said all that it will say.
    over: bool,
}

fn read<D: Decode>(
    pieces: Pieces,
    form: Form,
    decode: D,
    idle: Duration,
) -> BoxStream<'static, Result<ModelEvent, ProviderError>> {
    let reading = Reading {
        pieces,
        form,
        decode,
        idle,
        read: 0,
        events: VecDeque::new(),
        out: VecDeque::new(),
        over: false,
    };
    let next = |mut reading: Reading<D>| async move {
        let event = reading.next().await?;
        Ok(event.map(|event| (event, reading)))
    };
    stream::try_unfold(reading, next).boxed()
}

impl<D: Decode> Reading<D> {
    async fn next(&mut self) -> Result<Option<ModelEvent>, ProviderError> {
        loop {
            if let Some(event) = self.out.pop_front() {
                return Ok(Some(event));
            }
            if self.over {
                return Ok(None);
            }
            let flow = match self.events.pop_front() {
                Some(event) => self.decode.event(&event, &mut self.out)?,
                None => self.more().await?,
            };
            if flow == Flow::Over {
                self.over = true;
                self.decode.end(&mut self.out)?;
            }
        }
    }

    /// Reads a piece of the body.
    async fn more(&mut self) -> Result<Flow, ProviderError> {
        let piece = match tokio::time::timeout(self.idle, self.pieces.next()).await {
            Ok(Some(piece)) => piece?,
            Ok(None) => return self.body_ended(),
            Err(_) => return Err(ProviderError::Silent(self.idle.as_secs())),
        };
        self.read += piece.len();
        if self.read > MAX_ANSWER {
            return Err(ProviderError::TooLong("its body"));
        }
        match &mut self.form {
            Form::Events(parser) => parser.push(&piece, &mut self.events)?,
            Form::Document(body) => body.extend_from_slice(&piece),
        }
        Ok(Flow::More)
    }

    fn body_ended(&mut self) -> Result<Flow, ProviderError> {
        match &mut self.form {
            Form::Events(parser) => parser.finish(&mut self.events)?,
            Form::Document(body) => {
                let data = String::from_utf8(std::mem::take(body))
                    .map_err(|_| ProviderError::Malformed("its body is not UTF-8"))?;
                let name = String::new();
                self.events.push_back(SseEvent { name, data });
            }
        }
        while let Some(event) = self.events.pop_front() {
            if self.decode.event(&event, &mut self.out)? == Flow::Over {
                break;
            }
        }
        Ok(Flow::Over)
    }
}

/// The arguments of a tool, when all of them are there.
pub(super) fn arguments(text: &str) -> Result<serde_json::Value, ProviderError> {
    if text.trim().is_empty() {
        return Ok(serde_json::json!({}));
    }
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Null) => Ok(serde_json::json!({})),
        Ok(value @ serde_json::Value::Object(_)) => Ok(value),
        _ => Err(ProviderError::Malformed(
            "the arguments of a tool are not a JSON object",
        )),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;

    use super::*;

    /// What a decoder makes of a body that comes in these pieces.
    pub(in crate::providers) async fn decoded<D: Decode>(
        decode: D,
        pieces: Vec<&[u8]>,
    ) -> Vec<Result<ModelEvent, ProviderError>> {
        let pieces: Vec<_> = pieces
            .into_iter()
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let form = Form::Events(SseParser::default());
        let idle = Duration::from_secs(60);
        read(stream::iter(pieces).boxed(), form, decode, idle)
            .collect()
            .await
    }

    /// The same for a whole document.
    pub(in crate::providers) async fn decoded_document<D: Decode>(
        decode: D,
        body: &str,
    ) -> Vec<Result<ModelEvent, ProviderError>> {
        let pieces = stream::iter([Ok(Bytes::copy_from_slice(body.as_bytes()))]).boxed();
        let form = Form::Document(Vec::new());
        read(pieces, form, decode, Duration::from_secs(60))
            .collect()
            .await
    }
}
