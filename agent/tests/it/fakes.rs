//! Model APIs as plain TCP servers that say, byte by byte, what they are told to: each request takes
//! the next script, and the last one stays.

pub(crate) mod anthropic;
pub(crate) mod openai;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One step of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Bytes, at once.
    Send(Vec<u8>),
    /// A rest before the next step.
    Rest(Duration),
    /// Says nothing more, and keeps the connection.
    Hang,
}

/// A whole answer; the connection ends after it.
pub(crate) type Script = Vec<Step>;

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    }
}

/// A server; it ends when it is dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _serving: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, scripts, seen.clone()));
        Self {
            address,
            seen,
            _serving: serving,
        }
    }

    /// One that answers every request the same.
    pub(crate) async fn always(script: Script) -> Self {
        Self::start(vec![script]).await
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(listener: TcpListener, scripts: Vec<Script>, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut answering = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (scripts, seen) = (scripts.clone(), seen.clone());
        answering.spawn(async move {
            // A client that goes away, or that speaks TLS, is no failure of the server.
            let _ = answer(stream, &scripts, &seen).await;
        });
    }
}

async fn answer(
    mut stream: TcpStream,
    scripts: &[Script],
    seen: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
    let Some(request) = read(&mut stream).await? else {
        return Ok(());
    };
    let at = {
        let mut seen = seen.lock().unwrap();
        seen.push(request);
        seen.len() - 1
    };
    let script = scripts.get(at).or(scripts.last()).cloned();
    for step in script.unwrap_or_default() {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes).await?,
            Step::Rest(pause) => tokio::time::sleep(pause).await,
            Step::Hang => {
                // Until the other side goes.
                let _ = stream.read(&mut [0; 16]).await;
            }
        }
    }
    stream.shutdown().await
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Seen>> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 || bytes.first() == Some(&0x16) {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let request = Seen {
        head,
        body: Vec::new(),
    };
    let length: usize = request
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Seen {
        body: bytes[head_end..].to_vec(),
        ..request
    }))
}

/// An answer that is not a stream.
pub(crate) fn status(status: u16, headers: &str, body: &str) -> Script {
    let length = body.len();
    vec![Step::Send(
        format!(
            "HTTP/1.1 {status} Reason\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n{headers}\r\n{body}"
        )
        .into_bytes(),
    )]
}

/// Head of a stream that ends with its connection.
pub(crate) const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// A stream of these events.
pub(crate) fn stream(events: &[String]) -> Script {
    vec![Step::Send(
        format!("{STREAM_HEAD}{}", events.concat()).into_bytes(),
    )]
}
