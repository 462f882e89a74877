//! Pages of a response as a stream.

use futures_util::{Stream, stream};

use crate::Error;

/// A page of a response.
pub(super) trait Page {
    /// Returns the token of the next page. `None` on the last page.
    fn next(&self) -> Option<&str>;
}

/// Returns a token that is not empty: the last page has an empty token, or none.
pub(super) fn token(token: Option<&str>) -> Option<&str> {
    token.filter(|token| !token.is_empty())
}

/// Returns the page with the token `first`, and the pages after it. Ends at the first error.
pub(super) fn pages<P, F>(
    first: Option<String>,
    read: impl Fn(Option<String>) -> F,
) -> impl Stream<Item = Result<P, Error>>
where
    P: Page,
    F: Future<Output = Result<P, Error>>,
{
    stream::try_unfold((Some(first), read), async |(token, read)| {
        let Some(token) = token else { return Ok(None) };
        let page = read(token).await?;
        let next = page.next().map(|next| Some(next.to_owned()));
        Ok(Some((page, (next, read))))
    })
}
