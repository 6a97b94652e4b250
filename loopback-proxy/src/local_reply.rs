//! Answers that the proxy writes itself: errors as `{"error":{code,message,hint}}` and its status
//! page. Each ends its connection. It does not decide when to answer.

use serde_json::json;

use crate::upstream::UpstreamError;

/// What a client may try again in a second.
const RETRY_AFTER_SECONDS: u8 = 1;

const PAGE_POLICY: &str = "frame-ancestors 'none'";

/// A browser that shows a refusal asks for nothing more in its name, not even an icon: of what was
/// refused, nothing reaches the agent.
const ERROR_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// A whole answer, to be rendered for the method that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalReply {
    status: u16,
    body: String,
}

impl LocalReply {
    pub(crate) fn ok(body: &serde_json::Value) -> Self {
        Self {
            status: 200,
            body: format!("{body}\n"),
        }
    }

    pub(crate) fn error(status: u16, code: &str, message: &str, hint: &str) -> Self {
        let body = json!({"error": {"code": code, "message": message, "hint": hint}});
        Self {
            status,
            body: format!("{body}\n"),
        }
    }

    /// `head_only` for an answer to HEAD: same fields, no body.
    pub(crate) fn render(&self, head_only: bool) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             cache-control: no-store\r\nx-content-type-options: nosniff\r\n\
             content-security-policy: {}\r\nconnection: close\r\n",
            self.status,
            phrase(self.status),
            self.body.len(),
            if self.status == 200 {
                PAGE_POLICY
            } else {
                ERROR_POLICY
            },
        );
        match self.status {
            401 => head.push_str("www-authenticate: Bearer realm=\"homing\"\r\n"),
            405 => head.push_str("allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"),
            429 | 503 => head.push_str(&format!("retry-after: {RETRY_AFTER_SECONDS}\r\n")),
            _ => {}
        }
        head.push_str("\r\n");
        if !head_only {
            head.push_str(&self.body);
        }
        head.into_bytes()
    }
}

impl From<&UpstreamError> for LocalReply {
    fn from(error: &UpstreamError) -> Self {
        let hint = match (error.hint.as_str(), error.code.as_str()) {
            ("", "revoked") => "ask the owner of the network for a new invitation",
            ("", "cert_expired") => "let this device reach its coordinator once, to renew",
            ("", _) => "run `homing doctor` on this device",
            (hint, _) => hint,
        };
        Self::error(error.status(), &error.code, &error.message, hint)
    }
}

const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_json_with_a_length_and_ends_the_connection() {
        let error = UpstreamError {
            code: "revoked".to_owned(),
            message: "this device was \"revoked\"".to_owned(),
            hint: String::new(),
        };
        let reply = LocalReply::from(&error);
        let text = String::from_utf8(reply.render(false)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"));
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())));
        assert!(head.contains("\r\nconnection: close"));
        assert!(head.contains("default-src 'none'; frame-ancestors 'none'\r\n"));
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["error"]["code"], "revoked");
        assert!(
            json["error"]["hint"]
                .as_str()
                .unwrap()
                .contains("invitation")
        );
        assert!(reply.render(true).ends_with(b"\r\n\r\n"));
    }
}
