//! The connection to a program: messages on its pipes, its stderr into the log, its end.

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ErrorData, RequestId, ServerJsonRpcMessage};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::lines::{Line, Lines, MAX_MESSAGE};
use super::logs::MAX_LINE;
use super::shared::Shared;
use super::spawn::{Process, Started};

/// Messages that may wait for a program that does not read; callers wait beyond that.
const OUTBOX: usize = 16;
/// Lines in a row that are not MCP, after which the program is given up. Programs greet on stdout,
/// they do not talk there for ever.
const MAX_GARBAGE: usize = 1_000;
/// Of those, how many go into the log.
const LOGGED_GARBAGE: usize = 20;
/// How long what a program wrote right before its end may take to be read. Its group is dead by
/// then; only something that left the group could still hold the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Ends the program when it is dropped.
#[derive(Debug)]
pub(super) struct StdioTransport {
    shared: Arc<Shared>,
    outbox: Option<mpsc::Sender<Vec<u8>>>,
    lines: Lines<ChildStdout>,
    process: Process,
    ended: bool,
    garbage: usize,
    /// The writer and the reader of stderr; they end with the pipes, at the latest when this is dropped.
    tasks: JoinSet<()>,
}

impl StdioTransport {
    pub(super) fn new(started: Started, shared: Arc<Shared>) -> Self {
        let (outbox, waiting) = mpsc::channel(OUTBOX);
        let mut tasks = JoinSet::new();
        tasks.spawn(write(started.stdin, waiting));
        tasks.spawn(log(started.stderr, shared.clone()));
        Self {
            shared,
            outbox: Some(outbox),
            lines: Lines::new(started.stdout, MAX_MESSAGE),
            process: started.process,
            ended: false,
            garbage: 0,
            tasks,
        }
    }

    async fn line(&mut self) -> Line {
        if !self.ended {
            tokio::select! {
                biased;
                line = self.lines.next() => return line,
                status = self.process.ended() => {
                    self.ended = true;
                    let status = status.map_or_else(|| "gone".to_owned(), |status| status.to_string());
                    self.shared.log("agent", &format!("the program has ended: {status}"));
                }
            }
        }
        let rest = tokio::time::timeout(LAST_WORDS, self.lines.next());
        rest.await.unwrap_or(Line::End)
    }

    fn parse(&mut self, line: &[u8]) -> Option<ServerJsonRpcMessage> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        let parsed = serde_json::from_slice(line).ok();
        if parsed.is_some() {
            self.garbage = 0;
            return parsed;
        }
        self.garbage += 1;
        if self.garbage <= LOGGED_GARBAGE {
            let text = String::from_utf8_lossy(line.get(..MAX_LINE).unwrap_or(line));
            self.shared.log("stdout", &text);
        }
        None
    }
}

impl Transport<RoleClient> for StdioTransport {
    type Error = std::io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let outbox = self.outbox.clone();
        async move {
            let closed = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
            let mut text = serde_json::to_vec(&item)?;
            text.push(b'\n');
            let outbox = outbox.ok_or_else(closed)?;
            outbox.send(text).await.map_err(|_| closed())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            match self.line().await {
                Line::Whole(line) => {
                    if let Some(message) = self.parse(&line) {
                        return Some(message);
                    }
                    if self.garbage >= MAX_GARBAGE {
                        let text = "the program writes what is not MCP; it is stopped";
                        self.shared.log("agent", text);
                        return None;
                    }
                }
                Line::TooLong(id) => {
                    let text =
                        format!("a message of more than {MAX_MESSAGE} bytes was thrown away");
                    self.shared.log("agent", &text);
                    if let Some(id) = id {
                        // Whoever waits for it hears at once what became of it.
                        let error = ErrorData::internal_error(text, None);
                        let id = RequestId::Number(id);
                        return Some(ServerJsonRpcMessage::error(error, Some(id)));
                    }
                }
                Line::End => return None,
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        // The writer ends with its channel and closes the program's input.
        self.outbox = None;
        self.process.stop().await;
        self.tasks.shutdown().await;
        Ok(())
    }
}

async fn write(mut stdin: ChildStdin, mut waiting: mpsc::Receiver<Vec<u8>>) {
    while let Some(text) = waiting.recv().await {
        if stdin.write_all(&text).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

async fn log(stderr: ChildStderr, shared: Arc<Shared>) {
    // What is longer than a line of the log is thrown away by the reader, with its middle.
    let mut lines = Lines::new(stderr, 8 * MAX_LINE);
    loop {
        match lines.next().await {
            Line::Whole(line) => shared.log("stderr", &String::from_utf8_lossy(&line)),
            Line::TooLong(_) => shared.log("stderr", "(a line that is too long)"),
            Line::End => return,
        }
    }
}
