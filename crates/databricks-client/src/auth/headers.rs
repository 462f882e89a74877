//! The headers that authenticate a request. The `Authorization` header is built here.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};

use super::secret::redact;
use crate::{Error, ErrorKind};

const BEARER: &str = "Bearer ";

/// The headers of one request to a workspace. All values are marked as sensitive.
#[derive(Debug)]
pub(crate) struct AuthHeaders {
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Identifies the token, so that a rejected one is not used again.
    pub(crate) token_generation: u64,
}

impl AuthHeaders {
    /// Removes the values of these headers from a text. The cache may have replaced the token since it was sent.
    pub(crate) fn redact(&self, text: &str) -> String {
        let values = self.headers.iter().filter_map(|(_, value)| value.to_str().ok());
        redact(text, values.map(|value| value.strip_prefix(BEARER).unwrap_or(value)))
    }
}

/// Returns `Authorization: Bearer …`. `source` names the token in the error.
///
/// # Errors
///
/// `Config` if the token contains characters that a header cannot contain.
pub(super) fn bearer(
    token: &SecretString,
    source: &str,
) -> Result<(HeaderName, HeaderValue), Error> {
    let value = sensitive(&format!("{BEARER}{}", token.expose_secret()), source)?;
    Ok((header::AUTHORIZATION, value))
}

/// Returns `Authorization: Basic …`.
pub(super) fn basic(id: &str, secret: &SecretString) -> Result<(HeaderName, HeaderValue), Error> {
    let text = STANDARD.encode(format!("{id}:{}", secret.expose_secret()));
    Ok((header::AUTHORIZATION, sensitive(&format!("Basic {text}"), "the client id and secret")?))
}

/// Returns a header value that is not logged.
pub(super) fn sensitive(text: &str, source: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(text).map_err(|_invalid| {
        let text = format!("{source} contains characters that are not allowed in a header");
        Error::new(ErrorKind::Config, text)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_sensitive_and_line_ends_are_rejected() {
        let (_, header) = bearer(&SecretString::from("dapi-1"), "x").unwrap();
        assert_eq!((header.as_bytes(), header.is_sensitive()), (&b"Bearer dapi-1"[..], true));
        let error = bearer(&SecretString::from("dapi-1\nx: y"), "x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
