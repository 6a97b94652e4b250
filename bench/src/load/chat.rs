//! Conversations: a person who asks on `/ws` and reads to the end of the answer, and a program that
//! asks the provider itself.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::websocket;
use crate::provider::{Ask, ages, now};
use crate::stats::Samples;

/// Without a frame for so long, an answer has got stuck.
const LIMIT: Duration = Duration::from_secs(60);

/// One socket of one person.
#[derive(Debug)]
pub(crate) struct Person {
    socket: WebSocketStream<TcpStream>,
    session: String,
    said: u32,
}

/// What one turn looked like from outside.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// From the message to its acknowledgement.
    pub(crate) acknowledged: Duration,
    /// How old the first token was when its frame came.
    pub(crate) first: Duration,
    /// How old each token was.
    pub(crate) ages: Samples,
    /// From the first token's frame to the last one's.
    pub(crate) span: Duration,
    /// Number of the session's last frame.
    pub(crate) seq: u64,
}

/// The parts of a frame that are looked at.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client_msg_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    seq: Option<u64>,
}

impl Person {
    /// Opens `/ws`; what is said goes into this session.
    pub(crate) async fn meet(address: SocketAddr, session: &str) -> Result<Self> {
        Ok(Self {
            socket: websocket::connect(address).await?,
            session: session.to_owned(),
            said: 0,
        })
    }

    /// Asks, and reads to the end of the turn.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Result<Turn> {
        self.said += 1;
        let id = format!("{}-{}", now(), self.said);
        let message = json!({
            "type": "text_final",
            "session_id": self.session,
            "text": ask.text(),
            "client_msg_id": id,
        });
        let mut turn = Turn::default();
        let mut first_at = None;
        let before = Instant::now();
        self.send(message.to_string()).await?;
        loop {
            let text = self.read().await?;
            let at = now();
            let frame = parse(&text)?;
            turn.seq = frame.seq.unwrap_or(turn.seq);
            match &*frame.kind {
                "message" if frame.client_msg_id.as_deref() == Some(&id) => {
                    turn.acknowledged = before.elapsed();
                }
                "delta" => {
                    for age in ages(frame.text.as_deref().unwrap_or_default(), at) {
                        if turn.ages.len() == 0 {
                            turn.first = age;
                        }
                        turn.ages.push(age);
                    }
                    turn.span = Duration::from_nanos(at - *first_at.get_or_insert(at));
                }
                "error" => bail!("instead of an answer: {text}"),
                "turn_complete" => {
                    ensure!(frame.reason.as_deref() == Some("done"), "a turn: {text}");
                    ensure!(
                        turn.ages.len() == ask.tokens as usize,
                        "{} of {} tokens came",
                        turn.ages.len(),
                        ask.tokens
                    );
                    return Ok(turn);
                }
                _ => {}
            }
        }
    }

    /// What is said from now on goes into this session.
    pub(crate) fn turn_to(&mut self, session: String) {
        self.session = session;
    }

    /// Has the session replayed from its first frame to this one; how long that takes.
    pub(crate) async fn replay(&mut self, last: u64) -> Result<Duration> {
        let open = json!({ "type": "session_open", "session_id": self.session, "from_seq": 1 });
        let before = Instant::now();
        self.send(open.to_string()).await?;
        let mut next = 1;
        while next <= last {
            let text = self.read().await?;
            // Only what belongs to a session is numbered.
            if let Some(seq) = parse(&text)?.seq {
                ensure!(seq == next, "frame {seq} came in place of {next}: {text}");
                next += 1;
            }
        }
        Ok(before.elapsed())
    }

    async fn send(&mut self, text: String) -> Result<()> {
        let sent = self.socket.send(Message::text(text)).await;
        sent.context("sending a frame")
    }

    async fn read(&mut self) -> Result<tokio_tungstenite::tungstenite::Utf8Bytes> {
        loop {
            let frame = timeout(LIMIT, self.socket.next()).await;
            let frame = frame.context("an answer got stuck")?;
            match frame.context("the WebSocket ended")?.context("a frame")? {
                Message::Text(text) => return Ok(text),
                Message::Close(frame) => bail!("the WebSocket was closed: {frame:?}"),
                _ => {}
            }
        }
    }
}

fn parse(text: &str) -> Result<Frame<'_>> {
    serde_json::from_str(text).with_context(|| format!("a frame that is no JSON: {text}"))
}

/// The answer of the provider itself: how old each token was.
pub(crate) async fn direct(provider: SocketAddr, ask: Ask) -> Result<Samples> {
    let work = async {
        let mut stream = TcpStream::connect(provider).await?;
        stream.set_nodelay(true)?;
        let body = ask.body();
        let length = body.len();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {provider}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut samples = Samples::default();
        let mut lines = BufReader::new(stream).lines();
        // Every event is a line of its own, whatever the framing around it.
        while let Some(line) = lines.next_line().await? {
            let at = now();
            match line.strip_prefix("data: ") {
                Some("[DONE]") => return Ok(samples),
                Some(event) => {
                    let event: serde_json::Value = serde_json::from_str(event)?;
                    let text = event["choices"][0]["delta"]["content"].as_str();
                    ages(text.unwrap_or_default(), at).for_each(|age| samples.push(age));
                }
                None => {}
            }
        }
        bail!("the answer ended before its end")
    };
    timeout(LIMIT, work).await.context("an answer got stuck")?
}
