//! The passphrase of a backup: asked for at a terminal without an echo, or the first line of a file.
//! Never an argument, which every user of the machine could read.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Fewest characters of a new passphrase: with about a second of scrypt for every guess, twelve that
/// are not a known phrase are out of reach.
const MIN_LENGTH: usize = 12;
/// Longest line that is read.
const MAX_LINE: u64 = 4 * 1024;

/// The passphrase of a backup to be made; typed twice.
pub(crate) fn new(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    let passphrase = match file {
        Some(file) => from_file(file)?,
        None => {
            let first = ask("Passphrase of the backup: ")?;
            if *first != *ask("The same again: ")? {
                return Err(Failure::new(
                    "passphrase_differs",
                    "the two passphrases are not the same",
                    "run it again",
                )
                .into());
            }
            first
        }
    };
    if passphrase.chars().count() < MIN_LENGTH {
        return Err(Failure::new(
            "passphrase_short",
            format!("a backup's passphrase has at least {MIN_LENGTH} characters"),
            "four random words are good and can be remembered",
        )
        .into());
    }
    Ok(passphrase)
}

/// The passphrase of a backup that exists.
pub(crate) fn existing(file: Option<&Path>) -> anyhow::Result<Zeroizing<String>> {
    match file {
        Some(file) => from_file(file),
        None => ask("Passphrase of the backup: "),
    }
}

fn from_file(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let file = File::open(path).map_err(|error| {
        Failure::new(
            "not_read",
            format!("{} could not be opened: {error}", path.display()),
            "check the path of --passphrase-file",
        )
    })?;
    let meta = file.metadata().context("the passphrase file")?;
    // A pipe from a password store has no mode that means anything.
    if meta.is_file() && meta.permissions().mode() & 0o077 != 0 {
        return Err(Failure::new(
            "passphrase_exposed",
            format!("{} can be read by other users", path.display()),
            format!("chmod 600 {}", path.display()),
        )
        .into());
    }
    first_line(file)
}

/// Asks a person at a terminal for something that is not shown.
pub(crate) fn ask(question: &str) -> anyhow::Result<Zeroizing<String>> {
    let terminal = File::options().read(true).write(true).open("/dev/tty");
    let mut terminal = match terminal {
        Ok(terminal) if terminal.is_terminal() => terminal,
        _ => {
            return Err(Failure::new(
                "no_passphrase",
                "there is no terminal to ask for the passphrase",
                "write it to a file of mode 0600 and pass --passphrase-file FILE",
            )
            .into());
        }
    };
    // Silent before the question: what is typed at once is neither shown nor lost.
    let silent = Silent::begin(&terminal)?;
    write!(terminal, "{question}").context("the terminal could not be written to")?;
    let line = first_line(terminal.try_clone().context("the terminal")?);
    drop(silent);
    writeln!(terminal).context("the terminal could not be written to")?;
    line
}

fn first_line(reader: impl Read) -> anyhow::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(reader.take(MAX_LINE))
        .read_line(&mut line)
        .context("the passphrase could not be read")?;
    let kept = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(kept);
    Ok(line)
}

/// A terminal that does not show what is typed, until it is dropped.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn begin(terminal: &File) -> anyhow::Result<Self> {
        let before = tcgetattr(terminal).context("the terminal's mode could not be read")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent)
            .context("the terminal's echo could not be turned off")?;
        let terminal = terminal.try_clone().context("the terminal")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
