//! The one table of who may call what. A route or a frame without a line here is refused.

use http::Method;

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

use Class::{Read, Run, Stop, Write};
use Need::{Admitted, Scope};

/// All routes.
pub const ROUTES: &[Route] = &[
    route("GET", "/", Admitted, Read),
    route("GET", "/assets/app.js", Admitted, Read),
    route("GET", "/assets/app.css", Admitted, Read),
    route("GET", "/assets/icon.svg", Admitted, Read),
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
];

/// All frames of `/ws`.
pub const FRAMES: &[Frame] = &[
    frame("auth", Admitted, Read),
    frame("ping", Admitted, Read),
    frame("session_open", Scope("chat"), Read),
    frame("text_final", Scope("chat"), Run),
    frame("interrupt", Scope("chat"), Stop),
    frame("command", Scope("chat"), Write),
    frame("subscribe", Scope("status.read"), Read),
    frame("unsubscribe", Scope("status.read"), Read),
    frame("approval_answer", Scope("exec.approve"), Write),
];

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
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Route> {
    let method = if method == Method::HEAD {
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
            find(&Method::HEAD, "/api/health"),
            find(&Method::GET, "/api/health")
        );
        assert!(find(&Method::DELETE, "/api/health").is_none());
        assert!(find_frame("audio_chunk_in").is_none());
    }

    #[test]
    fn every_scope_in_the_table_is_one_that_certificates_know() {
        let needs = ROUTES
            .iter()
            .map(|route| route.need)
            .chain(FRAMES.iter().map(|frame| frame.need));
        for need in needs {
            if let Need::Scope(scope) = need {
                assert!(homing_certs::KNOWN_SCOPES.contains(&scope), "{scope}");
            }
        }
    }
}
