//! The agent's HTTP interface for commands: one question and one answer, or a stream that speaks
//! HTTP/1.1.
//!
//! The way there is the proxy of the process that runs in this directory, over its Unix socket and
//! with its token; when nothing runs, a connection of this command's own with the device's certificate.
//! What the answers mean is the commands' to know.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use homing_protocol::ErrorBody;
use homing_protocol::local::{LocalCommand, LocalReply};
use homing_transport::pool::Pool;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Body, Frame};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::commands::network;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::device::Device;
use crate::failure::Failure;
use crate::files;

/// From the first byte of a question to the last of its answer: a test of a provider waits for the
/// provider's server, and that for 60 s at most.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);
/// Bytes of one answer; lists come in pages that are far smaller.
const MAX_ANSWER: usize = 8 << 20;
/// Bytes of a file that are read at once.
const FILE_CHUNK: usize = 64 << 10;

/// A way to the agent's HTTP interface.
pub(crate) struct AgentApi {
    way: Way,
}

enum Way {
    /// Through the proxy of the running process.
    Proxy { socket: PathBuf, token: PathBuf },
    /// A connection of our own.
    Own(Box<Own>),
}

struct Own {
    device: std::sync::Arc<Device>,
    pool: Pool,
    driver: JoinSet<()>,
    shutdown: CancellationToken,
}

/// A stream to the agent that speaks HTTP/1.1, with what every request on it has to carry.
pub(crate) struct AgentStream {
    pub(crate) io: Box<dyn Io>,
    pub(crate) headers: HeaderMap,
}

/// Both directions of a stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl AgentApi {
    /// A way to an agent by name or NodeId; `None` is the one of the running process, or the only one.
    pub(crate) async fn open(dir: &DataDir, agent: Option<&str>) -> anyhow::Result<Self> {
        let way = match network::ask_running(dir, LocalCommand::Status).await? {
            Some(LocalReply::Status(status)) => through_proxy(dir, &status["device"], agent)?,
            Some(_) => return Err(network::unexpected().into()),
            None => Way::Own(Box::new(Own::dial(dir, agent).await?)),
        };
        Ok(Self { way })
    }

    /// Asks for a document.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Sends a request, with a JSON body if there is one, and gives the document of the answer (null
    /// when it is empty). What the agent refuses comes back as a [`Failure`] with the agent's code,
    /// sentence and next step.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let head = Request::builder().method(method).uri(path);
        let head = match body {
            Some(_) => head.header(CONTENT_TYPE, "application/json"),
            None => head,
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let exchange = async { exchange(self.stream().await?, head, Full::from(body)).await };
        match tokio::time::timeout(ANSWER_DEADLINE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(timeout().into()),
        }
    }

    /// Sends an open file as it is and gives the document of the answer.
    pub(crate) async fn put_file(
        &self,
        path: &str,
        file: tokio::fs::File,
        length: u64,
    ) -> anyhow::Result<Value> {
        let head = Request::builder()
            .method(Method::PUT)
            .uri(path)
            .header(CONTENT_LENGTH, length);
        // Read as it is sent. How long that takes is for the line to say: QUIC and the agent notice
        // a peer that is gone.
        let chunks = stream::try_unfold(file, |mut file| async move {
            let mut chunk = BytesMut::with_capacity(FILE_CHUNK);
            let count = file.read_buf(&mut chunk).await?;
            Ok::<_, std::io::Error>((count > 0).then(|| (Frame::data(chunk.freeze()), file)))
        });
        exchange(
            self.stream().await?,
            head,
            StreamBody::new(Box::pin(chunks)),
        )
        .await
    }

    /// A new stream, for a WebSocket or for an answer that has no end.
    pub(crate) async fn stream(&self) -> anyhow::Result<AgentStream> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let io: Box<dyn Io> = match &self.way {
            Way::Proxy { socket, token } => {
                // Read every time: the process may have been started anew since the last stream.
                headers.insert(AUTHORIZATION, bearer(token)?);
                let stream = UnixStream::connect(socket)
                    .await
                    .context("the proxy of the running homing process did not answer")?;
                Box::new(stream)
            }
            Way::Own(own) => Box::new(own.pool.open().await.map_err(Failure)?),
        };
        Ok(AgentStream { io, headers })
    }

    /// Ends a connection of our own in an orderly way.
    pub(crate) async fn close(self) {
        if let Way::Own(mut own) = self.way {
            own.shutdown.cancel();
            while own.driver.join_next().await.is_some() {}
            own.device.control().close().await;
            own.device.endpoint().close().await;
        }
    }
}

impl Own {
    async fn dial(dir: &DataDir, agent: Option<&str>) -> anyhow::Result<Self> {
        let config = Config::load(&dir.config())?.unwrap_or_default();
        let bind = config.quic_address(config.quic.device_port);
        let device = Device::open(dir, bind, config.relay.parse()?).await?;
        let agent = device.find_agent(agent).await?;
        let (pool, driver) = Pool::new(
            device.endpoint().clone(),
            agent.reach,
            device.credentials().clone(),
            device.clone(),
        );
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(driver.run(shutdown.clone()));
        Ok(Self {
            device,
            pool,
            driver: running,
            shutdown,
        })
    }
}

fn through_proxy(dir: &DataDir, device: &Value, agent: Option<&str>) -> Result<Way, Failure> {
    if device.is_null() {
        return Err(Failure::new(
            "no_network",
            "the process that runs here is not a device of the network",
            "run the command on a device that has joined",
        ));
    }
    let connected = |key: &str| device[key].as_str().unwrap_or_default();
    let known = [connected("agent"), connected("agent_node_id")];
    if let Some(wanted) = agent
        && !known.contains(&wanted)
    {
        return Err(Failure::new(
            "other_agent",
            format!("the process that runs here is connected to {}", known[0]),
            "leave --agent out, or stop that process first",
        ));
    }
    Ok(Way::Proxy {
        socket: dir.run().join("proxy.sock"),
        token: dir.run().join("proxy.token"),
    })
}

fn bearer(token: &Path) -> anyhow::Result<HeaderValue> {
    let token = files::read(token)?
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Zeroizing::new)
        .unwrap_or_default();
    let header = Zeroizing::new(format!("Bearer {}", token.trim()));
    let mut value = HeaderValue::from_str(&header).context("the proxy's token cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

async fn exchange<B>(
    stream: AgentStream,
    mut head: http::request::Builder,
    body: B,
) -> anyhow::Result<Value>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Some(headers) = head.headers_mut() {
        headers.extend(stream.headers);
    }
    let request = head.body(body).context("the request cannot be sent")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream.io))
        .await
        .context("the agent cannot be spoken to")?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .context("the connection to the agent ended before its answer")?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the agent's answer broke off: {error}"))?;
        document(status, &body.to_bytes())
    };
    // What was received before the connection ended is still read.
    let carried = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    let (answer, carried) = (pin!(answer), pin!(carried));
    tokio::select! {
        answer = answer => answer,
        never = carried => match never {},
    }
}

fn document(status: StatusCode, body: &[u8]) -> anyhow::Result<Value> {
    if status.is_success() && body.is_empty() {
        return Ok(Value::Null);
    }
    let document = serde_json::from_slice::<Value>(body).ok();
    match document {
        Some(document) if status.is_success() => Ok(document),
        _ => Err(refusal(status, body).into()),
    }
}

/// What the body of a refusal says, in the agent's or the proxy's own words.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let error = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|document| ErrorBody::deserialize(&document["error"]).ok());
    error.map_or_else(|| not_understood(status), Failure)
}

fn timeout() -> Failure {
    Failure::new(
        "timeout",
        "the agent did not answer in time",
        "homing dial says whether it can be reached",
    )
}

fn not_understood(status: StatusCode) -> Failure {
    Failure::new(
        "protocol",
        format!("the agent's answer was not understood (status {status})"),
        "check that both sides run the same version: homing --version",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_document_or_the_agents_own_words() {
        assert_eq!(document(StatusCode::NO_CONTENT, b"").unwrap(), Value::Null);
        assert_eq!(document(StatusCode::OK, b"{\"a\":1}").unwrap()["a"], 1);
        let body =
            br#"{"error":{"code":"forbidden","message":"no","hint":"ask","request_id":"1"}}"#;
        let error = document(StatusCode::FORBIDDEN, body).unwrap_err();
        let failure = error.downcast_ref::<Failure>().unwrap();
        assert_eq!(failure.0.code, "forbidden");
        assert_eq!(failure.0.hint, "ask");
        for (status, body) in [(200, "<html>"), (500, "{}"), (502, "")] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = document(status, body.as_bytes()).unwrap_err();
            assert_eq!(error.downcast_ref::<Failure>().unwrap().0.code, "protocol");
        }
    }
}
