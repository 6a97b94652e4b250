//! The prototype with pooled streams: hyper serves the client, hyper asks the agent, and a bi-stream
//! goes back to the pool when its answer has been read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use anyhow::Result;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use iroh::endpoint::Connection;
use serde_json::json;
use tokio::io::{copy_bidirectional, join};
use tokio::net::TcpListener;

struct Pool {
    connection: Connection,
    idle: Mutex<Vec<SendRequest<Incoming>>>,
}

/// The agent's body, which gives the stream back at its end.
struct Relayed {
    body: Option<Incoming>,
    home: Option<(Arc<Pool>, SendRequest<Incoming>)>,
}

pub(super) async fn run(connection: Connection) -> Result<()> {
    let pool = Arc::new(Pool {
        connection,
        idle: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::role::ready(&json!({ "address": listener.local_addr()? }))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let pool = pool.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let pool = pool.clone();
                async move {
                    Ok::<_, Infallible>(
                        pool.forward(request)
                            .await
                            .unwrap_or_else(|_| bad_gateway()),
                    )
                }
            });
            // A connection that ends early is the client's affair.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
        });
    }
}

impl Pool {
    async fn forward(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Relayed>> {
        let client = hyper::upgrade::on(&mut request);
        let mut sender = self.take().await?;
        let mut response = sender.send_request(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let agent = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                if let (Ok(client), Ok(agent)) = (client.await, agent.await) {
                    let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
                    let _ = copy_bidirectional(&mut client, &mut agent).await;
                }
            });
            return Ok(response.map(|_| Relayed {
                body: None,
                home: None,
            }));
        }
        Ok(response.map(|body| {
            let mut relayed = Relayed {
                body: Some(body),
                home: Some((self, sender)),
            };
            if relayed.is_end_stream() {
                relayed.give_back();
            }
            relayed
        }))
    }

    async fn take(&self) -> Result<SendRequest<Incoming>> {
        loop {
            let idle = self.idle().pop();
            let Some(mut sender) = idle else { break };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let (send, receive) = self.connection.open_bi().await?;
        let (sender, driver) = handshake(TokioIo::new(join(receive, send))).await?;
        tokio::spawn(driver.with_upgrades());
        Ok(sender)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Incoming>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relayed {
    fn give_back(&mut self) {
        if let Some((pool, sender)) = self.home.take() {
            pool.idle().push(sender);
        }
    }
}

impl Body for Relayed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = self.body.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if matches!(frame, Some(Ok(_)) | None) && self.is_end_stream() {
            self.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

fn bad_gateway() -> Response<Relayed> {
    let mut response = Response::new(Relayed {
        body: None,
        home: None,
    });
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
