//! Bounded reading of response bodies.

use bytes::Bytes;

use super::request::ByteRange;

/// Reads the body up to the limit. Returns false if there is more.
pub(crate) async fn read_up_to(
    response: &mut reqwest::Response,
    limit: usize,
) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = limit - body.len();
        if let Some(start) = chunk.get(..room).filter(|_| chunk.len() > room) {
            body.extend_from_slice(start);
            return Ok((Bytes::from(body), false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((Bytes::from(body), true))
}

/// Reads the range from a body that contains the whole file. Reads nothing after the range.
pub(super) async fn read_range(
    response: &mut reqwest::Response,
    range: ByteRange,
) -> Result<Bytes, reqwest::Error> {
    let mut to_skip = usize::try_from(range.offset).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    while body.len() < range.length
        && let Some(mut chunk) = response.chunk().await?
    {
        let skipped = to_skip.min(chunk.len());
        to_skip -= skipped;
        let rest = chunk.split_off(skipped);
        body.extend(rest.into_iter().take(range.length - body.len()));
    }
    Ok(Bytes::from(body))
}
