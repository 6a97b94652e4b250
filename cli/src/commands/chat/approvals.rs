//! Questions to the person at the terminal: may the agent run this tool? Only what is typed after the
//! question answers it, and nothing else ever does.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;

/// Longest line that is looked at.
const MAX_LINE: usize = 1024;

/// Approvals that wait for an answer here, asked one after another.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: VecDeque<i64>,
    asked: Option<Question>,
}

impl Questions {
    /// Asks, now or after those that were asked before. False when there is no terminal to ask.
    pub(super) fn ask(&mut self, id: i64) -> bool {
        if self.asked.is_some() {
            self.waiting.push_back(id);
            return true;
        }
        self.asked = Question::ask(id).ok();
        self.asked.is_some()
    }

    /// The approval has its end, here or elsewhere. True when its question still stands on the line.
    pub(super) fn resolved(&mut self, id: i64) -> bool {
        self.waiting.retain(|waiting| *waiting != id);
        let stands = self.asked.as_ref().is_some_and(|asked| asked.id == id);
        if stands {
            self.next();
        }
        stands
    }

    /// The next answer: which approval, and whether it may run. Without a question there is none.
    pub(super) async fn answer(&mut self) -> (i64, bool) {
        let Some(question) = &mut self.asked else {
            return std::future::pending().await;
        };
        let answer = (question.id, question.decision().await);
        self.next();
        answer
    }

    fn next(&mut self) {
        // First the old one's end, which puts the terminal back.
        self.asked = None;
        while let Some(id) = self.waiting.pop_front() {
            if let Ok(question) = Question::ask(id) {
                self.asked = Some(question);
                return;
            }
        }
    }
}

/// One question, on the terminal for as long as this lives.
#[derive(Debug)]
struct Question {
    id: i64,
    terminal: AsyncFd<File>,
    before: Termios,
    typed: Vec<u8>,
}

impl Question {
    fn ask(id: i64) -> std::io::Result<Self> {
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits();
        let terminal = File::options()
            .read(true)
            .write(true)
            .custom_flags(nonblock.cast_signed())
            .open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut asking = before.clone();
        asking
            .local_modes
            .insert(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        // Forgets what was typed before the question, which cannot have been meant for it.
        tcsetattr(&terminal, OptionalActions::Flush, &asking)?;
        #[allow(
            deprecated,
            reason = "sound for a File, which keeps its descriptor; the successor is unsafe"
        )]
        let terminal = AsyncFd::new(terminal)?;
        let mut question = Self {
            id,
            terminal,
            before,
            typed: Vec::new(),
        };
        question.prompt();
        Ok(question)
    }

    async fn decision(&mut self) -> bool {
        loop {
            let line = self.line().await;
            match line.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" => return true,
                "n" | "no" => return false,
                _ => self.prompt(),
            }
        }
    }

    /// A line; keeps what was read of it when it is not waited for to its end.
    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.typed.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.typed.drain(..=end).collect();
                return String::from_utf8_lossy(&line).into_owned();
            }
            self.typed.truncate(MAX_LINE);
            let Ok(mut ready) = self.terminal.readable_mut().await else {
                return std::future::pending().await;
            };
            let mut bytes = [0; 256];
            match ready.try_io(|terminal| terminal.get_mut().read(&mut bytes)) {
                // The terminal's end, or the terminal is gone: silence is no answer.
                Ok(Ok(0)) => return std::future::pending().await,
                Ok(Ok(count)) => self.typed.extend_from_slice(&bytes[..count]),
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(_)) => return std::future::pending().await,
                Err(_would_block) => {}
            }
        }
    }

    fn prompt(&mut self) {
        let _ = write!(self.terminal.get_mut(), "Allow {}? [y/n] ", self.id);
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal.get_ref(), OptionalActions::Now, &self.before);
    }
}
