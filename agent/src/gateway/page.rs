//! `GET /`: one small page that shows the agent, the caller, and a chat over `/ws`.
//!
//! Script and style are files of their own, so that nothing inline may run.

use axum::body::Body;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderName, HeaderValue, Response};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// A page that opens this one in a window keeps no handle on it.
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

pub(super) async fn index() -> Response<Body> {
    part("text/html; charset=utf-8", include_str!("page/index.html"))
}

pub(super) async fn script() -> Response<Body> {
    part(
        "text/javascript; charset=utf-8",
        include_str!("page/app.js"),
    )
}

pub(super) async fn icon() -> Response<Body> {
    part("image/svg+xml", include_str!("page/icon.svg"))
}

pub(super) async fn style() -> Response<Body> {
    part("text/css; charset=utf-8", include_str!("page/app.css"))
}

fn part(kind: &'static str, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
