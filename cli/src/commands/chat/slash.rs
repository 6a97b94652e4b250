//! What a line means, pure: a message, or a command of the chat or of the agent.

/// Commands of the chat, with what each does.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("help", "lists the commands"),
    ("new", "begins a new session"),
    ("sessions", "lists your sessions"),
    ("session", "ID: goes on in another session"),
    (
        "model",
        "[ID]: says which model answers, or pins another one to this session",
    ),
    (
        "status",
        "says what the session is doing and how full the model's context is",
    ),
    ("usage", "says what the session has used"),
    (
        "context",
        "[detail]: says what the model is told before the conversation",
    ),
    ("stop", "stops the running answer and removes what waits"),
    ("clear", "forgets this session's history"),
    ("attach", "FILE: sends a file with the next message"),
    (
        "approve",
        "NUMBER: lets the agent run the tool that it asks for",
    ),
    ("deny", "NUMBER: does not"),
    ("quit", "leaves; a running answer goes on"),
];

/// A line that was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    Nothing,
    Message(String),
    Help,
    New,
    Sessions,
    Session(String),
    Model(Option<String>),
    Attach(String),
    /// Number of the approval, and whether it may run.
    Answer(i64, bool),
    Quit,
    /// For the agent to know.
    Agents(String),
    /// A command without what it needs.
    Incomplete(&'static str),
}

/// What a line means. Two slashes send a text that begins with one.
pub(super) fn read(line: &str) -> Meant {
    let line = line.trim();
    if line.is_empty() {
        return Meant::Nothing;
    }
    let Some(command) = line.strip_prefix('/') else {
        return Meant::Message(line.to_owned());
    };
    if command.starts_with('/') {
        return Meant::Message(command.to_owned());
    }
    let (name, argument) = match command.split_once(char::is_whitespace) {
        Some((name, argument)) => (name, argument.trim()),
        None => (command, ""),
    };
    let given = (!argument.is_empty()).then(|| argument.to_owned());
    let answer = |approve| match argument.parse() {
        Ok(id) => Meant::Answer(id, approve),
        Err(_) => Meant::Incomplete("the number of the approval"),
    };
    match name {
        "help" | "?" => Meant::Help,
        "new" => Meant::New,
        "sessions" => Meant::Sessions,
        "session" => given.map_or(Meant::Incomplete("the id of a session"), Meant::Session),
        "model" => Meant::Model(given),
        "attach" => given.map_or(Meant::Incomplete("a file"), Meant::Attach),
        "approve" => answer(true),
        "deny" => answer(false),
        "quit" | "exit" | "q" => Meant::Quit,
        "" => Meant::Help,
        other => Meant::Agents(match given {
            Some(argument) => format!("{other} {argument}"),
            None => other.to_owned(),
        }),
    }
}

/// The list of commands for people.
pub(super) fn help() -> String {
    let lines = NAMES
        .iter()
        .map(|(name, what)| format!("  /{name:<9} {what}"));
    let lines: Vec<String> = lines.collect();
    format!(
        "{}\nOther commands go to the agent. A line that ends with \\ goes on in the next one; // sends a slash.\n\
         Ctrl-C stops the answer, twice leaves; Ctrl-D leaves.",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_or_a_command() {
        for (line, meant) in [
            ("  hello /x ", Meant::Message("hello /x".into())),
            (
                "//etc is a folder",
                Meant::Message("/etc is a folder".into()),
            ),
            ("/session  tg:1 ", Meant::Session("tg:1".into())),
            ("/session", Meant::Incomplete("the id of a session")),
            ("/attach a file.txt", Meant::Attach("a file.txt".into())),
            ("/approve 7", Meant::Answer(7, true)),
            ("/deny x", Meant::Incomplete("the number of the approval")),
            ("/model", Meant::Model(None)),
            ("/stop", Meant::Agents("stop".into())),
            ("/context  detail ", Meant::Agents("context detail".into())),
            ("", Meant::Nothing),
        ] {
            assert_eq!(read(line), meant, "{line}");
        }
        for (name, _) in NAMES {
            assert!(help().contains(name));
        }
    }
}
