//! The object storage behind external links.
//!
//! A link is signed. Like S3, the storage rejects a request that also has an `Authorization` header.

use super::response::Chunk;
use crate::api::endpoint::EXTERNAL_LINK_PREFIX;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use std::collections::BTreeMap;

/// The query string of every link.
const SIGNATURE: &str = "X-Amz-Signature=0e5b1c";

/// The statement and the chunk of a link.
pub(super) struct LinkTarget {
    pub(super) id: String,
    pub(super) chunk: usize,
}

impl LinkTarget {
    pub(super) fn parse(path: &str, query: &str) -> Option<Self> {
        let (id, chunk) = path.strip_prefix(EXTERNAL_LINK_PREFIX)?.split_once('/')?;
        (query == SIGNATURE).then_some(Self { id: id.to_owned(), chunk: chunk.parse().ok()? })
    }
}

pub(super) fn link(base: &str, id: &str, chunk: usize) -> String {
    format!("{base}{EXTERNAL_LINK_PREFIX}{id}/{chunk}?{SIGNATURE}")
}

/// Returns the rows of a chunk, or an error as S3 formats it.
pub(super) fn respond(
    found: Option<(Chunk, BTreeMap<String, String>)>,
    headers: &HeaderMap,
) -> Response {
    if headers.contains_key(header::AUTHORIZATION) {
        return error(
            StatusCode::BAD_REQUEST,
            "InvalidArgument",
            "Only one auth mechanism allowed",
        );
    }
    let Some((chunk, required_headers)) = found else {
        return error(StatusCode::FORBIDDEN, "AccessDenied", "The link is not valid");
    };
    let is_present = |(name, value): (&String, &String)| {
        headers.get(name.as_str()).is_some_and(|given| given.as_bytes() == value.as_bytes())
    };
    if !required_headers.iter().all(is_present) {
        return error(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "A required header of the link is missing",
        );
    }
    axum::Json(chunk.rows).into_response()
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    (status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}
