//! The HTTP service behind every rival: the same routes as an agent's, answered with as little work
//! as possible. It runs over TCP for the tunnels and over QUIC streams for the prototypes.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// About the size of an agent's health answer.
const SMALL: usize = 200;
/// Piece in which a blob is produced, in bytes.
const PIECE: usize = 64 * 1024;

/// The service. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    small: Bytes,
    piece: Bytes,
    store: Arc<PathBuf>,
}

/// A body of known length: the same piece over and over.
#[derive(Debug)]
pub(crate) struct Answer {
    piece: Bytes,
    left: u64,
}

impl Origin {
    /// An origin that writes uploads to `store`.
    pub(crate) fn new(store: PathBuf) -> Self {
        let mut small = br#"{"status":"ok","pad":""#.to_vec();
        small.resize(SMALL - 2, b'.');
        small.extend_from_slice(b"\"}");
        Self {
            small: small.into(),
            piece: vec![0x5a; PIECE].into(),
            store: Arc::new(store),
        }
    }

    /// Serves the HTTP connection on `io` until it ends.
    pub(crate) async fn serve<T>(self, io: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let origin = self.clone();
            async move { Ok::<_, Infallible>(origin.answer(request).await) }
        });
        // A connection that ends early is the client's affair.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .half_close(true)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades()
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let small = || Response::new(self.whole(self.small.clone()));
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/api/health") => small(),
            (&Method::GET, "/api/blob") => {
                let query = request.uri().query().unwrap_or_default();
                let bytes = query
                    .strip_prefix("bytes=")
                    .and_then(|text| text.parse().ok());
                Response::new(Answer {
                    piece: self.piece.clone(),
                    left: bytes.unwrap_or(0),
                })
            }
            (&Method::POST, "/api/sink") => match drain(request.into_body()).await {
                Ok(()) => small(),
                Err(_) => self.refusal(StatusCode::BAD_REQUEST),
            },
            (&Method::PUT, "/api/files/bench.bin") => {
                match write(request.into_body(), &self.store).await {
                    Ok(()) => small(),
                    Err(_) => self.refusal(StatusCode::INTERNAL_SERVER_ERROR),
                }
            }
            (&Method::GET, "/ws") => self.upgrade(request),
            _ => self.refusal(StatusCode::NOT_FOUND),
        }
    }

    fn upgrade(&self, request: Request<Incoming>) -> Response<Answer> {
        let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
            return self.refusal(StatusCode::BAD_REQUEST);
        };
        let accept = derive_accept_key(key.as_bytes());
        let upgraded = hyper::upgrade::on(request);
        tokio::spawn(async move {
            if let Ok(io) = upgraded.await {
                pong(TokioIo::new(io)).await;
            }
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_ACCEPT, accept);
        let nothing = self.whole(Bytes::new());
        response
            .body(nothing)
            .unwrap_or_else(|_| self.refusal(StatusCode::BAD_REQUEST))
    }

    fn refusal(&self, status: StatusCode) -> Response<Answer> {
        let mut response = Response::new(self.whole(Bytes::new()));
        *response.status_mut() = status;
        response
    }

    fn whole(&self, piece: Bytes) -> Answer {
        let left = piece.len() as u64;
        Answer { piece, left }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let part = self.left.min(self.piece.len() as u64);
        self.left -= part;
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..part as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Serves the origin on a free loopback port until `ready`'s reader is gone.
pub(crate) async fn listen(origin: Origin) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::role::ready(&serde_json::json!({ "address": listener.local_addr()? }))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(origin.clone().serve(stream));
    }
}

async fn pong<T: AsyncRead + AsyncWrite + Unpin>(io: T) {
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text()
            && socket
                .send(Message::text(r#"{"type":"pong"}"#))
                .await
                .is_err()
        {
            return;
        }
    }
}

async fn drain(mut body: Incoming) -> Result<()> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

async fn write(mut body: Incoming, path: &PathBuf) -> Result<()> {
    let mut file = File::create(path).await?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            file.write_all(&data).await?;
        }
    }
    file.flush().await?;
    Ok(())
}
