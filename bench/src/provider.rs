//! A model API that says when it speaks: OpenAI's Chat Completions as server-sent events on loopback.
//!
//! The last message of the person is the [`Ask`]: how many tokens, how far apart. The text of a token
//! is the time at which it is written, on the clock that all processes of a machine share, so that
//! whoever reads it knows how long it was under way.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// Most headers of a request.
const MAX_HEADERS: usize = 32;
/// Largest request: a conversation of the bench is far below.
const MAX_REQUEST: usize = 8 << 20;

/// What an answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// Tokens of the answer.
    pub(crate) tokens: u32,
    /// Until the first token, in microseconds.
    pub(crate) first_us: u64,
    /// Between two tokens, in microseconds; 0 sends all of them at once.
    pub(crate) gap_us: u64,
}

impl Ask {
    /// A single token, at once.
    pub(crate) const ONE: Self = Self {
        tokens: 1,
        first_us: 0,
        gap_us: 0,
    };

    /// As a person would type it.
    pub(crate) fn text(&self) -> String {
        json!(self).to_string()
    }

    /// The body of a request that has this as its only message.
    pub(crate) fn body(&self) -> String {
        let message = json!({ "role": "user", "content": self.text() });
        json!({ "model": "bench", "stream": true, "messages": [message] }).to_string()
    }

    fn of(body: &[u8]) -> Result<Self> {
        let body: Value = serde_json::from_slice(body).context("a request's body")?;
        let messages = body.get("messages").and_then(Value::as_array);
        let last = messages.and_then(|messages| messages.last());
        let text = last.and_then(|message| message.get("content")?.as_str());
        serde_json::from_str(text.context("no last message")?).context("not an ask of the bench")
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds: the same for all processes of a machine.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// How long ago each token of this text was written.
pub(crate) fn ages(text: &str, now: u64) -> impl Iterator<Item = Duration> {
    let stamps = text
        .split_whitespace()
        .filter_map(|word| word.parse::<u64>().ok());
    stamps.map(move |stamp| Duration::from_nanos(now.saturating_sub(stamp)))
}

/// Serves on a port of its own.
pub(crate) async fn listen() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::role::ready(&json!({ "address": listener.local_addr()? }))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that goes away is not the provider's failure; what it sees, its client reports.
            let _ = serve(stream).await;
        });
    }
}

async fn serve(mut stream: TcpStream) -> Result<()> {
    let mut bytes = Vec::new();
    while let Some(body) = request(&mut stream, &mut bytes).await? {
        answer(&mut stream, Ask::of(&body)?).await?;
    }
    Ok(())
}

/// The body of the next request; `None` at the end of the connection.
async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    loop {
        if let Some((head, length)) = head(bytes)?
            && bytes.len() >= head + length
        {
            let rest = bytes.split_off(head + length);
            let body = std::mem::replace(bytes, rest).split_off(head);
            return Ok(Some(body));
        }
        if bytes.len() > MAX_REQUEST {
            bail!("a request above {MAX_REQUEST} bytes");
        }
        if stream.read_buf(bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// Where the body begins and how long it is.
fn head(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).context("a request's head")? else {
        return Ok(None);
    };
    let length = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = match length {
        Some(header) => std::str::from_utf8(header.value)?.trim().parse()?,
        None => 0,
    };
    Ok(Some((head, length)))
}

async fn answer(stream: &mut TcpStream, ask: Ask) -> Result<()> {
    let start = Instant::now() + Duration::from_micros(ask.first_us);
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    for number in 0..ask.tokens {
        let wait = Duration::from_micros(ask.gap_us) * number;
        // The timer counts whole milliseconds, and waits for one even when the time has come.
        if ask.first_us + ask.gap_us > 0 {
            sleep_until(start + wait).await;
        }
        let delta = format!("{{\"content\":\"{} \"}}", now());
        event(stream, &choice(&delta, "null")).await?;
    }
    event(stream, &choice("{}", "\"stop\"")).await?;
    let tokens = ask.tokens;
    let usage = format!(
        "{{\"choices\":[],\"usage\":{{\"prompt_tokens\":10,\"completion_tokens\":{tokens}}}}}"
    );
    event(stream, &usage).await?;
    event(stream, "[DONE]").await?;
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(())
}

fn choice(delta: &str, reason: &str) -> String {
    format!(
        "{{\"id\":\"bench\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"bench\",\
         \"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}"
    )
}

/// One event, in a chunk and a write of its own.
async fn event(stream: &mut TcpStream, data: &str) -> Result<()> {
    let event = format!("data: {data}\n\n");
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    stream.write_all(chunk.as_bytes()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ask_is_read_from_the_last_message() {
        let ask = Ask {
            tokens: 3,
            first_us: 1,
            gap_us: 2,
        };
        assert_eq!(Ask::of(ask.body().as_bytes()).unwrap(), ask);
        assert!(Ask::of(b"{}").is_err());
    }

    #[test]
    fn the_age_of_each_token_of_a_text_is_known() {
        let ages: Vec<Duration> = ages("1000 4000 what 5000 ", 6_000).collect();
        assert_eq!(ages, [5, 2, 1].map(Duration::from_micros));
    }

    #[test]
    fn an_event_is_json() {
        let value: Value = serde_json::from_str(&choice("{\"content\":\"1 \"}", "null")).unwrap();
        assert_eq!(value["choices"][0]["delta"]["content"], "1 ");
    }
}
