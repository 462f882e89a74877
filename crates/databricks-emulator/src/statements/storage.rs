//! The storage that external links lead to. It takes a link for the only proof of who asks, and, as S3 does, refuses a
//! request that brings another one.

use super::answer::Chunk;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::collections::BTreeMap;

/// What external links have in common after the host.
pub(crate) const PREFIX: &str = "/emulator-storage/";

/// What the query of a link has to say.
const SIGNATURE: &str = "X-Amz-Signature=0e5b1c";

/// What comes of a request for what a link names.
pub(crate) type Stored = Response;

/// The statement and the chunk that a link names.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) chunk: usize,
}

impl Asked {
    pub(super) fn parse(path: &str, query: &str) -> Option<Self> {
        let (id, chunk) = path.strip_prefix(PREFIX)?.split_once('/')?;
        (query == SIGNATURE).then_some(Self { id: id.to_owned(), chunk: chunk.parse().ok()? })
    }
}

pub(super) fn link(base: &str, id: &str, chunk: usize) -> String {
    format!("{base}{PREFIX}{id}/{chunk}?{SIGNATURE}")
}

pub(super) fn answer(
    found: Option<(Chunk, BTreeMap<String, String>)>,
    headers: &HeaderMap,
) -> Stored {
    if headers.contains_key(header::AUTHORIZATION) {
        return refusal(
            StatusCode::BAD_REQUEST,
            "InvalidArgument",
            "Only one way to sign in is allowed",
        );
    }
    let Some((chunk, wanted)) = found else {
        return refusal(StatusCode::FORBIDDEN, "AccessDenied", "The link is not valid");
    };
    let has = |(name, value): (&String, &String)| {
        headers.get(name.as_str()).is_some_and(|given| given.as_bytes() == value.as_bytes())
    };
    if !wanted.iter().all(has) {
        return refusal(StatusCode::FORBIDDEN, "AccessDenied", "A header of the link is missing");
    }
    axum::Json(chunk.rows).into_response()
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    (status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}
