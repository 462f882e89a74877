//! Mints and verifies OAuth tokens (databricks-api.md#oauth).
//!
//! Emulates the workspace's own OAuth endpoint and those of the clouds (databricks-api.md#azure,
//! databricks-api.md#google-and-others). The HTTP routes are in `http/oauth.rs`.

use crate::clock;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A workspace rejects a token that expires within this time (databricks-api.md#oauth).
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);

/// Which tokens are issued, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct TokenSettings {
    /// Secrets of service principals, by client id.
    pub(crate) principals: HashMap<String, SecretString>,
    /// For token exchange: the issuer's JWK set as JSON, and the required audience.
    pub(crate) trusted_issuer: Option<(String, Option<String>)>,
    /// The lifetime of minted tokens.
    pub(crate) lifetime: Duration,
    /// Tokens that are valid from the start, with their lifetimes.
    pub(crate) expiring: Vec<(SecretString, Duration)>,
}

impl Default for TokenSettings {
    fn default() -> Self {
        Self {
            principals: HashMap::new(),
            trusted_issuer: None,
            lifetime: Duration::from_hours(1),
            expiring: Vec::new(),
        }
    }
}

/// Whether a bearer token is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenStatus {
    Unknown,
    Valid,
    Expired,
    /// Rejected, because it expires within [`EXPIRY_MARGIN`].
    ExpiresSoon,
}

#[derive(Debug)]
struct IssuedToken {
    token: String,
    /// Since the epoch.
    expires_at: Duration,
}

/// Issues tokens and remembers them.
#[derive(Debug)]
pub(crate) struct TokenIssuer {
    settings: TokenSettings,
    trusted_keys: Option<JwkSet>,
    /// The expiring tokens of the settings come first.
    issued: Mutex<Vec<IssuedToken>>,
}

impl TokenIssuer {
    pub(crate) fn new(settings: TokenSettings) -> Self {
        let trusted_keys =
            settings.trusted_issuer.as_ref().and_then(|(keys, _)| serde_json::from_str(keys).ok());
        let now = clock::now();
        let issued = settings.expiring.iter().map(|(token, lifetime)| IssuedToken {
            token: token.expose_secret().to_owned(),
            expires_at: now.saturating_add(*lifetime),
        });
        Self { issued: Mutex::new(issued.collect()), trusted_keys, settings }
    }

    /// Returns the status of a token at a time since the epoch.
    pub(crate) fn status(&self, token: &str, now: Duration) -> TokenStatus {
        let issued = self.lock();
        let Some(found) = issued.iter().find(|issued| issued.token == token) else {
            return TokenStatus::Unknown;
        };
        match found.expires_at.saturating_sub(now) {
            Duration::ZERO => TokenStatus::Expired,
            left if left <= EXPIRY_MARGIN => TokenStatus::ExpiresSoon,
            _ => TokenStatus::Valid,
        }
    }

    pub(crate) fn minted_count(&self) -> usize {
        self.lock().len().saturating_sub(self.settings.expiring.len())
    }

    /// Makes every token issued so far expire after `left`.
    pub(crate) fn expire_in(&self, left: Duration) {
        let expires_at = clock::now().saturating_add(left);
        for issued in self.lock().iter_mut() {
            issued.expires_at = expires_at;
        }
    }

    /// Returns a new token and its lifetime in seconds.
    pub(crate) fn mint(&self, prefix: &str) -> (String, u64) {
        let mut issued = self.lock();
        let token = format!("{prefix}-{}-{:016x}", issued.len() + 1, fastrand::u64(..));
        issued.push(IssuedToken {
            token: token.clone(),
            expires_at: clock::now().saturating_add(self.settings.lifetime),
        });
        (token, self.settings.lifetime.as_secs())
    }

    /// True if this is the secret of the service principal.
    pub(crate) fn is_client_secret(&self, client_id: &str, secret: &str) -> bool {
        let known = self.settings.principals.get(client_id);
        known.is_some_and(|known| known.expose_secret() == secret)
    }

    /// Verifies the signature, expiry and audience of a token of the trusted issuer.
    pub(crate) fn verify_subject_token(&self, token: &str) -> Result<(), String> {
        let keys = self.trusted_keys.as_ref().ok_or("no issuer is trusted")?;
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        let key = match &header.kid {
            Some(kid) => keys.find(kid),
            None => keys.keys.first(),
        };
        let key = key.ok_or("the token's key is not in the trusted JWK set")?;
        let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
        let mut validation = Validation::new(header.alg);
        match self.settings.trusted_issuer.as_ref().and_then(|(_, audience)| audience.as_ref()) {
            Some(audience) => validation.set_audience(&[audience]),
            None => validation.validate_aud = false,
        }
        jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)
            .map(|_claims| ())
            .map_err(|error| error.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<IssuedToken>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
