//! `/api/files/{name}`: the caller's own files, up and down, as streams.
//!
//! What is served is always a download: a file of one device must not run as a page of the agent.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_RANGE,
    RANGE,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::Principal;
use super::auth::CallerContext;
use super::error::ApiError;
use super::upload::refuse_announced;
use crate::files::{StoredFile, Target};
use crate::state::AgentState;

/// Bytes read from the disk at once.
const READ_CHUNK: usize = 128 << 10;

pub(super) async fn put(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Extension(context): Extension<Arc<CallerContext>>,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Result<Json<StoredFile>, ApiError> {
    let limit = state.files.sizes().file;
    refuse_announced(request.headers(), limit, 0)?;
    let body = request.into_body().into_data_stream();
    let cancel = context.caller.revoked();
    let user = principal.user_id;
    let stored = state
        .files
        .store(user, Target::Exactly(name), body, limit, &cancel)
        .await?;
    state
        .feeds
        .of(user)
        .publish("file", "updated", stored.filename.clone());
    Ok(Json(stored))
}

pub(super) async fn get(
    State(state): State<Arc<AgentState>>,
    Extension(principal): Extension<Arc<Principal>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let (mut file, length) = state.files.open_file(principal.user_id, &name).await?;
    let part = match wanted(&headers, length) {
        Wanted::All => None,
        Wanted::Part(from, to) => Some((from, to)),
        Wanted::Nothing => return Ok(unsatisfiable(length)),
    };
    let (from, to) = part.unwrap_or((0, length));
    if from > 0 {
        file.seek(SeekFrom::Start(from)).await.map_err(|error| {
            tracing::error!(%error, "a stored file could not be read");
            ApiError::internal()
        })?;
    }
    let mut response = Response::new(Body::from_stream(read(file, to - from)));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A clean name has no character that would need quoting.
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    if part.is_some() {
        let range = format!("bytes {from}-{}/{length}", to - 1);
        if let Ok(value) = HeaderValue::from_str(&range) {
            headers.insert(CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// What of a file is asked for; `to` is one past the end.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(u64, u64),
    Nothing,
}

/// RFC 9110, 14.2: one range is served, several or unreadable ones are ignored. There are no
/// validators, so a conditional range is never known to hold.
fn wanted(headers: &HeaderMap, length: u64) -> Wanted {
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let Some(range) = range.and_then(|value| value.strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    if headers.contains_key(IF_RANGE) || range.contains(',') {
        return Wanted::All;
    }
    let Some((from, to)) = range.trim().split_once('-') else {
        return Wanted::All;
    };
    let (from, to) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => (from, to.saturating_add(1).min(length)),
        (Ok(from), Err(_)) if to.is_empty() => (from, length),
        (Err(_), Ok(last)) if from.is_empty() && last > 0 => (length.saturating_sub(last), length),
        (Err(_), Ok(0)) if from.is_empty() => return Wanted::Nothing,
        _ => return Wanted::All,
    };
    if from < to {
        Wanted::Part(from, to)
    } else {
        Wanted::Nothing
    }
}

fn unsatisfiable(length: u64) -> Response<Body> {
    let error = ApiError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "bad_range",
        format!("the file has {length} bytes"),
        "ask for a part that lies within it",
    );
    let mut response = error.into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

fn read(file: File, left: u64) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold((file, left), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let size = usize::try_from(left).unwrap_or(READ_CHUNK).min(READ_CHUNK);
        let mut chunk = BytesMut::with_capacity(size);
        let count = (&mut file).take(size as u64).read_buf(&mut chunk).await?;
        if count == 0 {
            // Shorter than announced: an error, so that the client does not take it for whole.
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((chunk.freeze(), (file, left - count as u64))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_the_standard_says() {
        let ask = |range: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_static(range));
            wanted(&headers, 100)
        };
        assert_eq!(wanted(&HeaderMap::new(), 100), Wanted::All);
        assert_eq!(ask("bytes=0-9"), Wanted::Part(0, 10));
        assert_eq!(ask("bytes=90-"), Wanted::Part(90, 100));
        assert_eq!(ask("bytes=-5"), Wanted::Part(95, 100));
        assert_eq!(ask("bytes=-500"), Wanted::Part(0, 100));
        assert_eq!(ask("bytes=50-5000"), Wanted::Part(50, 100));
        assert_eq!(ask("bytes=100-"), Wanted::Nothing);
        assert_eq!(ask("bytes=-0"), Wanted::Nothing);
        for ignored in [
            "bytes=0-1,5-6",
            "lines=1-2",
            "bytes=9-1",
            "bytes=",
            "bytes=a-b",
            "bytes=--5",
        ] {
            assert_eq!(ask(ignored), Wanted::All, "{ignored}");
        }
    }
}
