//! Downloads from a pre-signed URL, without the headers of a workspace.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tracing::Instrument as _;

use super::{
    body::read_up_to,
    trace,
    transport::{connection_error, no_response_within},
};
use crate::{Error, ErrorKind};

/// Downloads part of a result from its storage. The URL and error bodies contain secrets, so errors omit both.
///
/// # Errors
///
/// For every status other than 2xx, and for a body above the limit.
pub(crate) async fn download(
    http: &reqwest::Client,
    url: &str,
    headers: HeaderMap,
    timeout: Duration,
    max_bytes: usize,
) -> Result<Bytes, Error> {
    let exchange = async {
        let mut response = http.get(url).headers(headers).send().await.map_err(connection_error)?;
        let status = response.status();
        if !status.is_success() {
            let kind = match status.as_u16() {
                403 => ErrorKind::Forbidden,
                404 => ErrorKind::NotFound,
                429 | 500..=599 => ErrorKind::Unavailable,
                _ => ErrorKind::Decode,
            };
            let text = format!("the storage of the result returned {status}");
            return Err(Error::new(kind, text).with_status(status.as_u16()));
        }
        let (body, is_complete) =
            read_up_to(&mut response, max_bytes).await.map_err(connection_error)?;
        if is_complete {
            return Ok(body);
        }
        let text = format!("part of the result exceeds {max_bytes} bytes");
        Err(Error::new(ErrorKind::TooLarge, text).with_status(status.as_u16()))
    };
    let span = trace::other_host_span(&Method::GET, "result", url);
    let timed = tokio::time::timeout(timeout, exchange).instrument(span.clone());
    let outcome = timed.await.unwrap_or_else(|_elapsed| {
        let text = no_response_within(timeout, "response from the storage of the result");
        Err(Error::new(ErrorKind::Timeout, text))
    });
    trace::record_result(&span, None, outcome.as_ref().err());
    outcome
}
