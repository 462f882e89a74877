//! The Files API for volumes (databricks-api.md#files-api). The file path is part of the URL.

use super::query::Query;
use crate::api::error::{ApiError, invalid};
use crate::state::AppState;
use crate::storage::data_files::FileRange;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

pub(super) fn list(state: &AppState, parts: &Parts, query: &Query) -> Result<Value, ApiError> {
    let path = path(parts, "/api/2.0/fs/directories")?;
    state.data_files.volume_list(&path, query.integer("page_size")?, query.text("page_token"))
}

pub(super) fn read_file(state: &AppState, parts: &Parts) -> Response {
    let range = parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (first, last) = match range.map(parse_range) {
        None => (0, None),
        Some(Some(range)) => range,
        Some(None) => return invalid("Invalid range.").into_response(),
    };
    let read = path(parts, "/api/2.0/fs/files")
        .and_then(|path| state.data_files.volume_read(&path, first, last));
    match read {
        Err(error) => error.into_response(),
        Ok(FileRange { first, total, .. }) if range.is_some() && first >= total => (
            StatusCode::RANGE_NOT_SATISFIABLE,
            [(header::CONTENT_RANGE, format!("bytes */{total}"))],
        )
            .into_response(),
        Ok(file) => {
            let end = file.first + file.content.len();
            let written = std::time::SystemTime::UNIX_EPOCH + file.written;
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::LAST_MODIFIED, httpdate::fmt_http_date(written)),
            ];
            if range.is_none() {
                return (headers, file.content).into_response();
            }
            let range = format!("bytes {}-{}/{}", file.first, end.saturating_sub(1), file.total);
            let range = [(header::CONTENT_RANGE, range)];
            (StatusCode::PARTIAL_CONTENT, headers, range, file.content).into_response()
        }
    }
}

/// Parses `bytes=first-last` or `bytes=first-`. Other ranges are not supported.
fn parse_range(text: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let last = if last.is_empty() { None } else { Some(last.parse().ok()?) };
    Some((first.parse().ok()?, last))
}

/// Returns the percent-decoded file path.
fn path(parts: &Parts, endpoint: &str) -> Result<String, ApiError> {
    let text = parts.uri.path().strip_prefix(endpoint).unwrap_or_default();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(invalid("Invalid escape in the path."));
        };
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_invalid| invalid("The path is not UTF-8."))
}
