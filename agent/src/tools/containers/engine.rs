//! Questions to a container engine over its socket. Whoever may write there is root on this machine,
//! so the only thing that can be said is one of these questions, and each of them only reads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// Answers that are read whole, in bytes: a thousand containers with their labels.
const MAX_ANSWER: usize = 8 << 20;
/// Words of the engine that are passed on, in bytes.
const MAX_REASON: usize = 300;
/// Letters of a container's name or id.
const MAX_NAME: usize = 128;

/// Why the engine gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is none.
    #[error(
        "no container engine is here: there is no socket at {0}; if it is elsewhere, the owner sets \
         tools.containers.socket"
    )]
    NoSocket(String),
    /// Its socket cannot be used.
    #[error("the container engine's socket {path} cannot be used ({})", .source.kind())]
    Connect {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It broke off.
    #[error("the container engine broke off its answer")]
    Http(#[source] hyper::Error),
    /// It takes too long.
    #[error("the container engine did not answer in {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// It refuses; its own words.
    #[error("the container engine answered {status}: {reason}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Its words, shortened.
        reason: String,
    },
    /// No container has that name.
    #[error("there is no container {0}")]
    NoContainer(String),
    /// Not a name.
    #[error("a container is named by letters, digits, and _ . - after the first")]
    Name,
    /// More than anybody reads.
    #[error("the container engine's answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// Not what the interface says.
    #[error("the container engine's answer cannot be understood")]
    Malformed,
}

/// A name or id that can stand in a path.
#[derive(Debug, Clone)]
pub(super) struct ContainerName(String);

impl ContainerName {
    pub(super) fn parse(text: &str) -> Result<Self, EngineError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let letter = |c: char| c.is_ascii_alphanumeric();
        let good = text.len() <= MAX_NAME
            && text.starts_with(letter)
            && text.chars().all(|c| letter(c) || "_.-".contains(c));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(EngineError::Name)
        }
    }
}

/// All that can be asked.
#[derive(Debug)]
pub(super) enum Question {
    Version,
    List,
    Inspect(ContainerName),
    Stats(ContainerName),
    Logs { of: ContainerName, lines: usize },
}

impl Question {
    fn path(&self) -> String {
        match self {
            Self::Version => "/version".to_owned(),
            Self::List => "/containers/json?all=1".to_owned(),
            Self::Inspect(of) => format!("/containers/{}/json", of.0),
            Self::Stats(of) => format!("/containers/{}/stats?stream=0", of.0),
            Self::Logs { of, lines } => format!(
                "/containers/{}/logs?stdout=1&stderr=1&timestamps=1&tail={lines}",
                of.0
            ),
        }
    }

    fn container(&self) -> Option<&str> {
        match self {
            Self::Version | Self::List => None,
            Self::Inspect(of) | Self::Stats(of) | Self::Logs { of, .. } => Some(&of.0),
        }
    }
}

/// One engine.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    sockets: Vec<PathBuf>,
    patience: Duration,
}

impl Engine {
    /// The first of these sockets that is there is asked.
    pub(super) fn new(sockets: Vec<PathBuf>, patience: Duration) -> Self {
        Self { sockets, patience }
    }

    /// The answer as JSON.
    pub(super) async fn ask(&self, question: &Question) -> Result<Value, EngineError> {
        let (bytes, cut) = self.bytes(question, MAX_ANSWER).await?;
        if cut {
            return Err(EngineError::TooLong);
        }
        serde_json::from_slice(&bytes).map_err(|_| EngineError::Malformed)
    }

    /// The answer as it comes, up to `limit` bytes, and whether there is more.
    pub(super) async fn bytes(
        &self,
        question: &Question,
        limit: usize,
    ) -> Result<(Vec<u8>, bool), EngineError> {
        let asked = async {
            let stream = self.connect().await?;
            exchange(stream, question, limit).await
        };
        tokio::time::timeout(self.patience, asked)
            .await
            .map_err(|_| EngineError::TimedOut(self.patience))?
    }

    async fn connect(&self) -> Result<UnixStream, EngineError> {
        for path in &self.sockets {
            match UnixStream::connect(path).await {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(EngineError::Connect {
                        path: path.clone(),
                        source,
                    });
                }
            }
        }
        let paths: Vec<String> = self.sockets.iter().map(shown).collect();
        Err(EngineError::NoSocket(paths.join(", ")))
    }
}

async fn exchange(
    stream: UnixStream,
    question: &Question,
    limit: usize,
) -> Result<(Vec<u8>, bool), EngineError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(EngineError::Http)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(question.path())
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| EngineError::Name)?;
    let answer = async move {
        let response = sender
            .send_request(request)
            .await
            .map_err(EngineError::Http)?;
        let status = response.status();
        let (bytes, cut) = read(response.into_body(), limit).await?;
        match (status, question.container()) {
            (status, _) if status.is_success() => Ok((bytes, cut)),
            (StatusCode::NOT_FOUND, Some(name)) => Err(EngineError::NoContainer(name.to_owned())),
            (status, _) => Err(EngineError::Refused {
                status,
                reason: reason(&bytes),
            }),
        }
    };
    tokio::pin!(answer, connection);
    // The connection only moves while it is polled; when it is over, the answer is what has come.
    tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}

async fn read(mut body: Incoming, limit: usize) -> Result<(Vec<u8>, bool), EngineError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(EngineError::Http)?.into_data() else {
            continue;
        };
        let room = limit - bytes.len();
        if data.len() > room {
            bytes.extend_from_slice(&data[..room]);
            return Ok((bytes, true));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, false))
}

fn reason(bytes: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let said = answer["message"].as_str().unwrap_or("it gave no reason");
    crate::tools::bounds::clip(said, MAX_REASON).0.to_owned()
}

fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_to_another_path_or_question() {
        for name in ["web", "/web", "a1b2c3", "my_app-1.db"] {
            assert!(ContainerName::parse(name).is_ok(), "{name}");
        }
        let long = "a".repeat(MAX_NAME + 1);
        for name in [
            "", "/", "..", "../info", "a/json", "a?x", "a%2fb", "a b", "a\r\nb", "-a", "ä", "//a",
            &long,
        ] {
            assert!(ContainerName::parse(name).is_err(), "{name}");
        }
    }
}
