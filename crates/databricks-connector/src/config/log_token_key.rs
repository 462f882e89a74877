//! The key that signs the page tokens of logs.

use std::fmt;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret as _, SecretString};

/// Signs tokens if the operator configured no key. Not a secret.
const PUBLIC_KEY: &[u8] = b"flyte-connector-databricks log token";

/// Signs and verifies page tokens. Every replica needs the same key.
#[derive(Clone)]
pub(crate) struct LogTokenKey(hmac::Key);

impl fmt::Debug for LogTokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogTokenKey")
    }
}

impl LogTokenKey {
    /// Creates the key from the operator's secret. Without a secret, corrupt tokens and tokens of other runs are still
    /// rejected, but tokens can be forged.
    pub(crate) fn new(secret: Option<&SecretString>) -> Self {
        let secret = secret.map(|secret| secret.expose_secret().as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.unwrap_or(PUBLIC_KEY)))
    }

    pub(crate) fn key(&self) -> &hmac::Key {
        &self.0
    }
}
