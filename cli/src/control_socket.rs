//! The control socket of a running process, `<dir>/run/control.sock`: both sides.
//!
//! Who may use it: this user (peer credentials), and only with the token file inside `<dir>`, so that
//! a confined program of the same user that reaches the socket but not the directory is refused.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::BoxFuture;
use homing_protocol::ErrorBody;
use homing_protocol::frame::{self, MAX_SNAPSHOT_FRAME, PREFIX_LEN};
use homing_protocol::local::{LocalCommand, LocalReply, LocalRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::files;

/// From the accept to the whole request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// The longest command waits for a dial and for acknowledgements.
const REPLY_DEADLINE: Duration = Duration::from_secs(40);
/// Commands at once.
const MAX_COMMANDS: usize = 32;
/// Bytes in the token.
const TOKEN_LEN: usize = 32;
/// Longest path that fits a socket address; longer ones go through the folder's descriptor.
const MAX_SOCKET_PATH: usize = 100;

/// What answers commands.
pub(crate) trait Commands: Send + Sync + 'static {
    fn answer(self: Arc<Self>, command: LocalCommand) -> BoxFuture<'static, LocalReply>;
}

/// The bound socket of this process.
pub(crate) struct ControlSocket {
    listener: UnixListener,
    token: String,
    path: PathBuf,
}

impl ControlSocket {
    /// Binds the socket; the caller holds the directory, so an old one is stale.
    pub(crate) fn bind(dir: &DataDir) -> anyhow::Result<Self> {
        let path = dir.run().join("control.sock");
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("an old control socket could not be removed"),
        }
        let mut bytes = [0; TOKEN_LEN];
        getrandom::fill(&mut bytes).context("the operating system gave no randomness")?;
        let token = data_encoding::HEXLOWER.encode(&bytes);
        files::write(&token_path(dir), token.as_bytes())?;
        // The process's mask makes it 0600.
        let listener = with_short_path(&path, |short| UnixListener::bind(short))
            .context("the control socket could not be bound")?;
        Ok(Self {
            listener,
            token,
            path,
        })
    }

    /// Answers until `shutdown`.
    pub(crate) async fn run(self, commands: Arc<dyn Commands>, shutdown: CancellationToken) {
        let token: Arc<str> = self.token.into();
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = running.join_next(), if !running.is_empty() => {}
                accepted = self.listener.accept(), if running.len() < MAX_COMMANDS => match accepted {
                    Ok((stream, _)) => {
                        running.spawn(serve(stream, token.clone(), commands.clone()));
                    }
                    Err(error) => {
                        warn!(%error, "the control socket could not accept");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
        running.shutdown().await;
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Asks the process that holds the directory; `None` when nothing runs there.
pub(crate) async fn ask(
    dir: &DataDir,
    command: LocalCommand,
) -> anyhow::Result<Option<LocalReply>> {
    let path = dir.run().join("control.sock");
    let connecting = with_short_path(&path, |short| {
        std::os::unix::net::UnixStream::connect(short).and_then(|stream| {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        })
    });
    let Ok(mut stream) = connecting else {
        return Ok(None);
    };
    let token = files::read(&token_path(dir))?.unwrap_or_default();
    let token = String::from_utf8(token).unwrap_or_default();
    let exchange = async {
        write_frame(&mut stream, &LocalRequest { token, command }).await?;
        read_frame(&mut stream).await
    };
    match tokio::time::timeout(REPLY_DEADLINE, exchange).await {
        Ok(Ok(LocalReply::Error(error))) => Err(Failure(error).into()),
        Ok(Ok(reply)) => Ok(Some(reply)),
        Ok(Err(error)) => Err(error).context("the running homing process did not answer"),
        Err(_) => Err(Failure::new(
            "timeout",
            "the running homing process did not answer in time",
            "look at its log, or restart it",
        )
        .into()),
    }
}

async fn serve(mut stream: UnixStream, token: Arc<str>, commands: Arc<dyn Commands>) {
    let ours = rustix::process::geteuid().as_raw();
    if stream.peer_cred().map(|peer| peer.uid()).ok() != Some(ours) {
        return warn!("another user's program tried the control socket");
    }
    let request =
        tokio::time::timeout(REQUEST_DEADLINE, read_frame::<LocalRequest>(&mut stream)).await;
    let Ok(Ok(request)) = request else {
        return debug!("a command was not understood");
    };
    let reply = if constant_time_eq(request.token.as_bytes(), token.as_bytes()) {
        commands.answer(request.command).await
    } else {
        warn!("a program without the token tried the control socket");
        LocalReply::Error(ErrorBody::new(
            "forbidden",
            "the control socket needs the token that lies beside it",
            "use the homing command of the user who started the process",
        ))
    };
    if let Err(error) = write_frame(&mut stream, &reply).await {
        debug!(%error, "a command went away before its answer");
    }
}

fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn token_path(dir: &DataDir) -> PathBuf {
    dir.run().join("control.token")
}

async fn write_frame<T: Serialize>(stream: &mut UnixStream, message: &T) -> anyhow::Result<()> {
    stream
        .write_all(&frame::encode(message, MAX_SNAPSHOT_FRAME)?)
        .await?;
    Ok(())
}

async fn read_frame<T: DeserializeOwned>(stream: &mut UnixStream) -> anyhow::Result<T> {
    let mut prefix = [0; PREFIX_LEN];
    stream.read_exact(&mut prefix).await?;
    let mut payload = vec![0; frame::payload_len(prefix, MAX_SNAPSHOT_FRAME)?];
    stream.read_exact(&mut payload).await?;
    Ok(frame::decode(&payload)?)
}

/// Socket addresses hold about 100 bytes of path; data directories may be deeper than that.
fn with_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return act(path);
    }
    let folder = std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    act(&short.join(path.file_name().unwrap_or_default()))
}
