//! Whoever mints tokens: the workspace's own OAuth (DA §4.5), and stand-ins for what the clouds have (DA §4.6, §4.7).
//! Tokens that it minted are accepted by the workspace until they end, are revoked, or are about to end.

mod endpoints;

use crate::builder::EmulatorBuilder;
use crate::clock;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use endpoints::{router, standing_of};

/// A workspace refuses a token that ends this soon (DA §4.5).
const ENDS_SOON: Duration = Duration::from_secs(30);

/// How tokens are minted.
#[derive(Clone, Debug)]
pub(crate) struct Minting {
    /// Secrets of service principals, by client id.
    pub(crate) principals: HashMap<String, SecretString>,
    /// The keys of those whose tokens are taken in exchange, as a JWK set in JSON, and the audience they must name.
    pub(crate) trusted: Option<(String, Option<String>)>,
    pub(crate) lifetime: Duration,
}

impl Default for Minting {
    fn default() -> Self {
        Self { principals: HashMap::new(), trusted: None, lifetime: Duration::from_hours(1) }
    }
}

/// How a token that is shown stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was never minted here.
    Unknown,
    Accepted,
    /// It has ended, or was revoked.
    Ended,
    /// It is not taken any more, because it ends soon.
    EndsSoon,
}

#[derive(Debug)]
struct Minted {
    token: String,
    /// Since the epoch.
    ends: Duration,
}

/// Mints tokens and knows them again.
#[derive(Debug)]
pub(crate) struct Authority {
    minting: Minting,
    trusted: Option<JwkSet>,
    /// Those that the workspace was started with come first.
    minted: Mutex<Vec<Minted>>,
    given: usize,
}

impl Authority {
    pub(crate) fn new(settings: &EmulatorBuilder) -> Self {
        let minting = settings.minting.clone();
        let trusted =
            minting.trusted.as_ref().and_then(|(keys, _)| serde_json::from_str(keys).ok());
        let now = clock::now();
        let given: Vec<Minted> = settings
            .expiring_tokens
            .iter()
            .map(|(token, lifetime)| Minted {
                token: token.expose_secret().to_owned(),
                ends: now.saturating_add(*lifetime),
            })
            .collect();
        Self { minting, trusted, given: given.len(), minted: Mutex::new(given) }
    }

    /// How a bearer token of this authority stands at that time since the epoch.
    pub(crate) fn standing(&self, token: &str, now: Duration) -> Standing {
        let minted = self.lock();
        let Some(found) = minted.iter().find(|minted| minted.token == token) else {
            return Standing::Unknown;
        };
        match found.ends.saturating_sub(now) {
            Duration::ZERO => Standing::Ended,
            left if left <= ENDS_SOON => Standing::EndsSoon,
            _ => Standing::Accepted,
        }
    }

    /// How many tokens were minted.
    pub(crate) fn count(&self) -> usize {
        self.lock().len().saturating_sub(self.given)
    }

    /// Lets every token that was minted so far end after that time.
    pub(crate) fn end_in(&self, left: Duration) {
        let ends = clock::now().saturating_add(left);
        for minted in self.lock().iter_mut() {
            minted.ends = ends;
        }
    }

    /// A new token, and its lifetime in seconds.
    fn mint(&self, kind: &str) -> (String, u64) {
        let mut minted = self.lock();
        let token = format!("{kind}-{}-{:016x}", minted.len() + 1, fastrand::u64(..));
        minted.push(Minted {
            token: token.clone(),
            ends: clock::now().saturating_add(self.minting.lifetime),
        });
        (token, self.minting.lifetime.as_secs())
    }

    /// Whether that is the principal's secret.
    fn knows(&self, client_id: &str, secret: &str) -> bool {
        self.minting.principals.get(client_id).is_some_and(|known| known.expose_secret() == secret)
    }

    /// Checks the signature, the end and the audience of somebody else's token.
    fn verify(&self, token: &str) -> Result<(), String> {
        let keys = self.trusted.as_ref().ok_or("no issuer is trusted")?;
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        let key = match &header.kid {
            Some(kid) => keys.find(kid),
            None => keys.keys.first(),
        };
        let key = key.ok_or("the token names a key that is not trusted")?;
        let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
        let mut validation = Validation::new(header.alg);
        match self.minting.trusted.as_ref().and_then(|(_, audience)| audience.as_ref()) {
            Some(audience) => validation.set_audience(&[audience]),
            None => validation.validate_aud = false,
        }
        jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation)
            .map(|_claims| ())
            .map_err(|error| error.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Minted>> {
        self.minted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
