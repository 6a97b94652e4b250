//! The one table of who may call what. A route or a frame without a line here is refused.

/// What a principal needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Any admitted device.
    Admitted,
    /// This scope.
    Scope(&'static str),
}

/// How a call is counted and noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing; only counted in the audit log.
    Read,
    /// Changes something: audited before it runs.
    Write,
    /// Starts an agent run: audited before it runs.
    Run,
    /// Stops something: never refused for want of an audit line.
    Stop,
}

/// One line: a method of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// `GET` stands for `HEAD` too.
    pub method: &'static str,
    /// As in the router.
    pub path: &'static str,
    /// What the principal needs.
    pub need: Need,
    /// How it is counted.
    pub class: Class,
}

/// One line: a frame that a client may send on `/ws`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its `type`.
    pub name: &'static str,
    /// What the principal needs.
    pub need: Need,
    /// How it is counted.
    pub class: Class,
}

/// One line: a method that a client may call on `/rpc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// `service.method`; with a `*` at the end, all that begin so.
    pub name: &'static str,
    /// What the principal needs.
    pub need: Need,
    /// How it is counted.
    pub class: Class,
    /// Whether it has an effect and must carry an idempotency key.
    pub keyed: bool,
    /// Whether this version has it.
    pub here: bool,
}

use Class::{Read, Run, Stop, Write};
use Need::{Admitted, Scope};

/// All routes.
pub const ROUTES: &[Route] = &[
    route("GET", "/", Admitted, Read),
    route("GET", "/assets/app.js", Admitted, Read),
    route("GET", "/assets/app.css", Admitted, Read),
    route("GET", "/assets/icon.svg", Admitted, Read),
    route("GET", "/api/openapi.json", Admitted, Read),
    route("GET", "/api/health", Admitted, Read),
    route("GET", "/api/whoami", Admitted, Read),
    route("GET", "/api/agent-info", Admitted, Read),
    route("GET", "/api/devices", Admitted, Read),
    route("GET", "/api/approvals", Scope("exec.approve"), Read),
    route("GET", "/api/approvals/{id}", Scope("exec.approve"), Read),
    route(
        "POST",
        "/api/approvals/{id}/approve",
        Scope("exec.approve"),
        Write,
    ),
    route(
        "POST",
        "/api/approvals/{id}/deny",
        Scope("exec.approve"),
        Stop,
    ),
    route("GET", "/api/sessions", Scope("chat"), Read),
    route("POST", "/api/sessions/{id}/clear", Scope("chat"), Write),
    route("POST", "/api/sessions/{id}/pin", Scope("chat"), Write),
    route("GET", "/api/providers", Scope("models"), Read),
    route("POST", "/api/providers", Scope("models"), Write),
    route("POST", "/api/providers/detect", Scope("models"), Write),
    route("PUT", "/api/providers/{id}", Scope("models"), Write),
    route("DELETE", "/api/providers/{id}", Scope("models"), Write),
    route("POST", "/api/providers/{id}/test", Scope("models"), Write),
    route("GET", "/api/models", Scope("chat"), Read),
    route("GET", "/api/models/catalog", Scope("chat"), Read),
    route("GET", "/api/models/available", Scope("models"), Read),
    route("POST", "/api/models", Scope("models"), Write),
    route("PUT", "/api/models/{id}", Scope("models"), Write),
    route("DELETE", "/api/models/{id}", Scope("models"), Write),
    route("POST", "/api/models/{id}/enable", Scope("models"), Write),
    route("POST", "/api/models/{id}/disable", Scope("models"), Write),
    route("POST", "/api/upload", Scope("files"), Write),
    route("GET", "/api/files/{name}", Scope("files"), Read),
    route("PUT", "/api/files/{name}", Scope("files"), Write),
    route("GET", "/api/events", Scope("status.read"), Read),
    route("POST", "/api/echo", Scope("status.read"), Read),
    route("GET", "/api/blob", Scope("status.read"), Read),
    route("GET", "/api/logs", Scope("audit.read"), Read),
    route("GET", "/api/usage", Scope("chat"), Read),
    route("GET", "/api/usage/daily", Scope("chat"), Read),
    route("GET", "/api/config", Scope("config.read"), Read),
    route("PUT", "/api/config", Scope("config.write"), Write),
    route(
        "PATCH",
        "/api/config/{section}",
        Scope("config.write"),
        Write,
    ),
    route("POST", "/api/restart", Scope("config.write"), Write),
    route("POST", "/chat", Scope("chat"), Run),
    route("POST", "/v1/chat/completions", Scope("chat"), Run),
    route("POST", "/v1/responses", Scope("chat"), Run),
    route("GET", "/v1/models", Scope("chat"), Read),
    route("GET", "/v1/models/{*id}", Scope("chat"), Read),
    route("GET", "/api/mcps", Scope("mcp"), Read),
    route("POST", "/api/mcps", Scope("mcp"), Write),
    route("GET", "/api/mcps/{name}", Scope("mcp"), Read),
    route("PUT", "/api/mcps/{name}", Scope("mcp"), Write),
    route("DELETE", "/api/mcps/{name}", Scope("mcp"), Write),
    route("POST", "/api/mcps/{name}/enable", Scope("mcp"), Write),
    route("POST", "/api/mcps/{name}/disable", Scope("mcp"), Write),
    route("GET", "/api/mcps/{name}/logs", Scope("mcp"), Read),
    // Every tool behind it checks its own scope, and an agent run is counted as one.
    route("POST", "/mcp", Admitted, Read),
    route("GET", "/ws", Scope("chat"), Read),
    route("GET", "/rpc", Admitted, Read),
];

/// All frames of `/ws`.
pub const FRAMES: &[Frame] = &[
    frame("auth", Admitted, Read),
    frame("ping", Admitted, Read),
    frame("session_open", Scope("chat"), Read),
    frame("text_final", Scope("chat"), Run),
    frame("attachment", Scope("files"), Read),
    frame("interrupt", Scope("chat"), Stop),
    frame("command", Scope("chat"), Write),
    frame("subscribe", Scope("status.read"), Read),
    frame("unsubscribe", Scope("status.read"), Read),
    frame("approval_answer", Scope("exec.approve"), Write),
];

/// All methods of `/rpc`.
pub const METHODS: &[Method] = &[
    method("hello", Admitted, Read),
    method("status.get", Scope("status.read"), Read),
    method("session.resolve", Scope("chat"), Read),
    method("message.send", Scope("chat"), Run).keyed(),
    method("agent.run", Scope("chat"), Run).keyed(),
    method("agent.cancel", Scope("chat"), Stop),
    method("events.subscribe", Scope("chat"), Read),
    method("events.unsubscribe", Scope("chat"), Read),
    method("device.revoke", Scope("devices.revoke"), Stop),
    method("node.exec.request", Scope("exec.request"), Write)
        .keyed()
        .later(),
    method("node.exec.approve", Scope("exec.approve"), Write)
        .keyed()
        .later(),
    method("plugin.disable", Scope("config.write"), Write).later(),
    method("terminal.session.*", Scope("terminal"), Write).later(),
    method("jobs.*", Scope("jobs"), Write).later(),
    method("pairing.*", Scope("invite"), Write).later(),
    method("presence.*", Scope("status.read"), Read).later(),
    method("notifications.*", Scope("push"), Write).later(),
    method("agent.chat.*", Scope("chat"), Write).later(),
];

const fn method(name: &'static str, need: Need, class: Class) -> Method {
    Method {
        name,
        need,
        class,
        keyed: false,
        here: true,
    }
}

impl Method {
    const fn keyed(mut self) -> Self {
        self.keyed = true;
        self
    }

    const fn later(mut self) -> Self {
        self.here = false;
        self
    }
}

const fn route(method: &'static str, path: &'static str, need: Need, class: Class) -> Route {
    Route {
        method,
        path,
        need,
        class,
    }
}

const fn frame(name: &'static str, need: Need, class: Class) -> Frame {
    Frame { name, need, class }
}

/// The line of a method and a path as the router knows it.
pub(super) fn find(method: &http::Method, path: &str) -> Option<&'static Route> {
    let method = if method == http::Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    ROUTES
        .iter()
        .find(|route| route.method == method && route.path == path)
}

/// Whether a path has a line under any method.
pub(super) fn has_path(path: &str) -> bool {
    ROUTES.iter().any(|route| route.path == path)
}

/// The line of a frame.
pub(super) fn find_frame(name: &str) -> Option<&'static Frame> {
    FRAMES.iter().find(|frame| frame.name == name)
}

/// The line of a method.
pub(super) fn find_method(name: &str) -> Option<&'static Method> {
    METHODS
        .iter()
        .find(|line| match line.name.strip_suffix('*') {
            Some(start) => name.len() > start.len() && name.starts_with(start),
            None => line.name == name,
        })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_line_is_there_once_and_head_is_get() {
        let lines: HashSet<_> = ROUTES
            .iter()
            .map(|route| (route.method, route.path))
            .collect();
        assert_eq!(lines.len(), ROUTES.len());
        assert_eq!(
            find(&http::Method::HEAD, "/api/health"),
            find(&http::Method::GET, "/api/health")
        );
        assert!(find(&http::Method::DELETE, "/api/health").is_none());
        assert!(find_frame("audio_chunk_in").is_none());
    }

    #[test]
    fn every_scope_in_the_table_is_one_that_certificates_know() {
        let needs = ROUTES
            .iter()
            .map(|route| route.need)
            .chain(FRAMES.iter().map(|frame| frame.need))
            .chain(METHODS.iter().map(|method| method.need));
        for need in needs {
            if let Need::Scope(scope) = need {
                assert!(homing_certs::KNOWN_SCOPES.contains(&scope), "{scope}");
            }
        }
    }
}
