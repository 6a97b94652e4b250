//! A terminal of its own for the program under test, made by `script` of util-linux, and a person at it.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::kit::LIMIT;

/// A program at a terminal.
pub(crate) struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    screen: Arc<Screen>,
    /// How much of what was shown has been looked at.
    seen: usize,
}

#[derive(Default)]
struct Screen {
    shown: Mutex<(String, bool)>,
    changed: Condvar,
}

impl Terminal {
    /// Runs a command at a new terminal of 80 columns.
    pub(crate) fn open(command: &Command) -> Self {
        let quote =
            |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''"));
        let mut line = "stty cols 80 rows 24 && exec ".to_owned();
        line += &quote(command.get_program());
        for arg in command.get_args() {
            line = line + " " + &quote(arg);
        }
        let mut script = Command::new("script");
        script
            .args([
                "--quiet",
                "--flush",
                "--return",
                "--echo",
                "never",
                "--command",
                &line,
                "/dev/null",
            ])
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let mut child = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is installed");
        let mut stdout = child.stdout.take().unwrap();
        let screen = Arc::new(Screen::default());
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let count = stdout.read(&mut buffer).unwrap_or(0);
                bytes.extend_from_slice(&buffer[..count]);
                // A character may come in two pieces.
                let whole = match std::str::from_utf8(&bytes) {
                    Ok(_) => bytes.len(),
                    Err(error) => error.valid_up_to(),
                };
                let text = String::from_utf8(bytes.drain(..whole).collect()).unwrap();
                let mut state = shown.shown.lock().unwrap();
                state.0 += &text;
                state.1 = count == 0;
                shown.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self {
            keys: child.stdin.take(),
            child,
            screen,
            seen: 0,
        }
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        let stdin = self.keys.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Types a line.
    pub(crate) fn enter(&mut self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    /// Waits until this is shown, and gives everything up to there since the last time, as it came.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let start = Instant::now();
        let mut state = self.screen.shown.lock().unwrap();
        loop {
            if let Some(at) = state.0[self.seen..].find(text) {
                let end = self.seen + at + text.len();
                let shown = state.0[self.seen..end].to_owned();
                self.seen = end;
                return shown;
            }
            let left = LIMIT.saturating_sub(start.elapsed());
            assert!(
                !left.is_zero() && !state.1,
                "{text:?} was not shown, but {:?}",
                &state.0[self.seen..]
            );
            state = self.screen.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits for the end of the program; how it ended, and what was shown since the last time.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let mut state = self.screen.shown.lock().unwrap();
        while !state.1 {
            let left = LIMIT.saturating_sub(start.elapsed());
            assert!(!left.is_zero(), "it goes on: {:?}", &state.0[self.seen..]);
            state = self.screen.changed.wait_timeout(state, left).unwrap().0;
        }
        let rest = state.0[self.seen..].to_owned();
        drop(state);
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.keys = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
