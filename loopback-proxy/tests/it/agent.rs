//! Agents for the tests, reached over TCP: one is hyper with axum, the other answers with bytes
//! that a test scripts.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Query, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use homing_loopback_proxy::{Upstream, UpstreamError, UpstreamStream};
use http_body_util::BodyExt;
use hyper::body::Frame;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Streams over TCP connections: finish is a FIN, reset and drop are an RST.
#[derive(Debug)]
pub(crate) struct TcpUpstream {
    pub(crate) agent: SocketAddr,
    /// Answered before any stream is opened.
    pub(crate) errors: Mutex<VecDeque<UpstreamError>>,
    pub(crate) resets: Arc<Mutex<Vec<u32>>>,
}

impl TcpUpstream {
    pub(crate) fn new(agent: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            agent,
            errors: Mutex::default(),
            resets: Arc::default(),
        })
    }
}

impl Upstream for TcpUpstream {
    type Stream = TcpUpstreamStream;

    async fn open(&self) -> Result<TcpUpstreamStream, UpstreamError> {
        let error = self.errors.lock().unwrap().pop_front();
        if let Some(error) = error {
            return Err(error);
        }
        let stream = TcpStream::connect(self.agent)
            .await
            .map_err(|e| UpstreamError {
                code: "not_reachable".to_owned(),
                message: e.to_string(),
                hint: String::new(),
            })?;
        stream.set_nodelay(true).unwrap();
        Ok(TcpUpstreamStream {
            stream,
            finished: false,
            resets: Arc::clone(&self.resets),
        })
    }

    fn agent(&self) -> Option<String> {
        Some("tests".to_owned())
    }
}

#[derive(Debug)]
pub(crate) struct TcpUpstreamStream {
    stream: TcpStream,
    finished: bool,
    resets: Arc<Mutex<Vec<u32>>>,
}

impl UpstreamStream for TcpUpstreamStream {
    fn reset(&mut self, code: u32) {
        self.finished = false;
        self.resets.lock().unwrap().push(code);
    }
}

impl Drop for TcpUpstreamStream {
    fn drop(&mut self) {
        if !self.finished {
            self.stream.set_zero_linger().unwrap();
        }
    }
}

impl AsyncRead for TcpUpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TcpUpstreamStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.finished = true;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A hyper server as an agent runs one.
pub(crate) async fn hyper_agent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new()
        .route("/small", get(|| async { "x".repeat(200) }))
        .route("/head", any(show_head))
        .route("/count", post(count))
        .route(
            "/echo",
            post(|request: Request| async { Response::new(request.into_body()) }),
        )
        .route("/zeros", get(zeros))
        .route("/events", get(events))
        .route("/trailers", get(trailers))
        .route(
            "/early",
            post(|| async { (axum::http::StatusCode::PAYLOAD_TOO_LARGE, "no") }),
        )
        .route("/slow", get(slow))
        .route("/ws", any(websocket))
        .route("/flood", any(flood));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(app.clone());
            tokio::spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .half_close(true)
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            });
        }
    });
    address
}

/// An agent that reads a request head, then lets `script` answer it, for each connection.
pub(crate) async fn scripted_agent<F, R>(script: F) -> SocketAddr
where
    F: Fn(usize, String, TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            tokio::spawn(script(number, String::from_utf8(head).unwrap(), stream));
        }
    });
    address
}

async fn show_head(request: Request) -> String {
    let mut out = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        out.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    out
}

async fn count(request: Request) -> String {
    let mut body = request.into_body();
    let mut total = 0;
    let mut trailers = String::new();
    while let Some(frame) = body.frame().await {
        match frame.unwrap().into_data() {
            Ok(data) => total += data.len(),
            Err(frame) => trailers = format!("{:?}", frame.into_trailers().unwrap()),
        }
    }
    format!("{total} {trailers}")
}

#[derive(serde::Deserialize)]
struct Size {
    size: usize,
}

async fn zeros(Query(Size { size }): Query<Size>) -> Response {
    const PIECE: usize = 64 * 1024;
    let piece = Bytes::from(vec![b'0'; PIECE]);
    let pieces = futures_util::stream::iter(
        (0..size.div_ceil(PIECE))
            .map(move |i| Ok::<_, Infallible>(piece.slice(..PIECE.min(size - i * PIECE)))),
    );
    (
        [("content-length", size.to_string())],
        Body::from_stream(pieces),
    )
        .into_response()
}

/// An event at once, and one more each time; the stream never ends.
async fn events() -> Response {
    let stream = futures_util::stream::unfold(0u64, |n| async move {
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some((
            Ok::<_, Infallible>(Bytes::from(format!("id: {n}\ndata: event {n}\n\n"))),
            n + 1,
        ))
    });
    (
        [("content-type", "text/event-stream")],
        Body::from_stream(stream),
    )
        .into_response()
}

async fn trailers() -> Response {
    let mut fields = axum::http::HeaderMap::new();
    fields.insert("x-checksum", "abc".parse().unwrap());
    let frames = futures_util::stream::iter([
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"hello"))),
        Ok(Frame::trailers(fields)),
    ]);
    let body = Body::new(http_body_util::StreamBody::new(frames));
    ([("trailer", "x-checksum")], body).into_response()
}

/// Answers after a while, so that a client has time to half close.
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(300)).await;
    "done"
}

async fn websocket(upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .protocols(["homing.v1"])
        .on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Message::Text(_) | Message::Binary(_))
                    && socket.send(message).await.is_err()
                {
                    break;
                }
            }
        })
}

/// Small frames as fast as they go.
async fn flood(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| async move {
        let (mut sink, _stream) = socket.split();
        loop {
            if sink
                .send(Message::Binary(Bytes::from_static(&[7; 64])))
                .await
                .is_err()
            {
                break;
            }
        }
    })
}
