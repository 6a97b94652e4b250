use serde_json::{Value, json};

use super::*;

fn check(draft: Value) -> Result<ServerConfig, ConfigError> {
    serde_json::from_value::<Draft>(draft).unwrap().check(None)
}

#[test]
fn a_command_may_be_a_word_or_a_list_and_asks_by_default() {
    let one = check(json!({"name": "a", "command": "npx", "args": ["-y", "x"]})).unwrap();
    let many = check(json!({"name": "a", "command": ["npx", "-y", "x"]})).unwrap();
    assert_eq!(one, many);
    assert_eq!(one.rule("anything"), Action::Ask);
    let ruled = json!({"name": "a", "command": "x", "policy": "deny", "tools": {"t": "allow"}});
    let ruled = check(ruled).unwrap();
    assert_eq!(
        (ruled.rule("t"), ruled.rule("u")),
        (Action::Allow, Action::Deny)
    );
}

#[test]
fn what_is_neither_or_both_or_out_of_bounds_is_refused() {
    for (draft, error) in [
        (json!({"name": "a"}), ConfigError::Place),
        (
            json!({"name": "a", "command": "x", "url": "https://h"}),
            ConfigError::Place,
        ),
        (
            json!({"name": "a", "url": "https://h", "args": ["x"]}),
            ConfigError::Place,
        ),
        (json!({"name": "A", "command": "x"}), ConfigError::Name),
        (json!({"command": "x"}), ConfigError::Name),
        (json!({"name": "a", "command": ""}), ConfigError::Command),
        (json!({"name": "a", "command": []}), ConfigError::Command),
        (
            json!({"name": "a", "command": ["x", "\0"]}),
            ConfigError::Command,
        ),
        (
            json!({"name": "a", "command": "x", "cwd": "y"}),
            ConfigError::Cwd,
        ),
        (
            json!({"name": "a", "command": "x", "timeout_s": 0}),
            ConfigError::Timeout,
        ),
        (
            json!({"name": "a", "command": "x", "timeout_s": 601}),
            ConfigError::Timeout,
        ),
    ] {
        assert_eq!(check(draft.clone()), Err(error), "{draft}");
    }
    for draft in [
        json!({"name": "a", "command": "x", "env": {"A-B": "1"}}),
        json!({"name": "a", "command": "x", "env": {"1A": "1"}}),
        json!({"name": "a", "command": "x", "env": {"A": "1\0"}}),
        json!({"name": "a", "command": "x", "env": {"A": "****"}}),
        json!({"name": "a", "command": "x", "headers": {"A": "1"}}),
        json!({"name": "a", "url": "https://h", "env": {"A": "1"}}),
        json!({"name": "a", "url": "https://h", "headers": {"Host": "1"}}),
        json!({"name": "a", "url": "https://h", "headers": {"mcp-session-id": "1"}}),
        json!({"name": "a", "url": "https://h", "headers": {"A": "1\n2"}}),
    ] {
        check(draft.clone()).unwrap_err();
    }
}

#[test]
fn plain_http_reaches_no_public_address_and_no_name() {
    let url = |url: &str| check(json!({"name": "a", "url": url}));
    for near in [
        "https://example.org/mcp",
        "http://localhost:3001/mcp",
        "http://127.0.0.1:1/",
        "http://[::1]:1/",
        "http://192.168.1.4/mcp",
        "http://[fd00::1]/mcp",
    ] {
        url(near).unwrap();
    }
    for far in [
        "http://example.org/",
        "http://8.8.8.8/",
        "http://169.254.169.254/",
        "http://localhost.example.org/",
        "http://[::ffff:8.8.8.8]/",
        "https://user:pass@example.org/",
        "https://example.org/#x",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "localhost",
    ] {
        url(far).unwrap_err();
    }
}

#[test]
fn secrets_are_kept_by_their_mask_and_stored_sealed_for_their_row() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let first = check(json!({"name": "a", "command": "x", "env": {"K": "hunter22"}})).unwrap();
    assert!(!format!("{first:?}").contains("hunter22"));
    let (config, sealed) = first.store("me", &sealer).unwrap();
    assert!(!config.contains("hunter22"));
    let read =
        |name, owner| ServerConfig::load(name, owner, (&config, &sealed), true, &sealer).unwrap();
    assert_eq!(read("a", "me").0, first);
    for (name, owner) in [("b", "me"), ("a", "you")] {
        let (config, error) = read(name, owner);
        assert!(matches!(error, Some(SealError::DoesNotOpen)));
        assert!(config.secrets.is_empty());
    }
    let next: Draft =
        serde_json::from_value(json!({"name": "a", "command": "y", "env": {"K": "****"}})).unwrap();
    assert!(!format!("{next:?}").contains("hunter22"));
    let next = next.check(Some(&first)).unwrap();
    assert_eq!(next.secrets["K"].reveal(), "hunter22");
    assert!(!next.same_server(&first));
}

#[test]
fn a_field_that_is_not_known_is_refused() {
    let draft = json!({"name": "a", "command": "x", "shell": true});
    serde_json::from_value::<Draft>(draft).unwrap_err();
}
