//! Layer that authorizes callers by bearer token and client certificate.

use std::{path::PathBuf, sync::Arc, time::Duration};

use connector_core::{Error, ErrorKind};
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tonic::body::Body;

use super::{
    middleware::{Middleware, Next, Rejection},
    route::{CallInfo, Route},
    tls::Peer,
    tls_reload::{Reloading, Source},
};
use crate::{config_error::ConfigError, metrics::RejectionReason};

/// The flag that names the file of tokens.
const TOKENS: &str = "--caller-tokens";

/// Minimum length of a token. Shorter ones can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// The authorized callers. A caller must meet every requirement that is set. The default has none.
#[derive(Debug, Clone, Default)]
pub struct Callers {
    tokens: Option<Arc<Reloading<Tokens>>>,
    names: Option<Arc<[String]>>,
}

impl Callers {
    /// Requires a bearer token of this file: one per line; blank lines and lines that start with # are skipped. The file is
    /// reloaded when it changes.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the file cannot be read or contains no valid token.
    pub fn with_tokens(self, path: PathBuf) -> Result<Self, ConfigError> {
        let tokens = Reloading::open(vec![Source { flag: TOKENS, path }], Tokens::parse)?;
        Ok(Self { tokens: Some(Arc::new(tokens)), ..self })
    }

    /// Requires a client certificate with one of these DNS names or URIs. Names must match in full.
    #[must_use]
    pub fn with_names(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { names: Some(names.into_iter().collect()), ..self }
    }

    /// Describes the requirements, for the log.
    pub(crate) fn describe(&self) -> &'static str {
        match (&self.tokens, &self.names) {
            (None, None) => "any",
            (Some(_), None) => "bearer token of --caller-tokens",
            (None, Some(_)) => "certificate name of --caller-names",
            (Some(_), Some(_)) => {
                "bearer token of --caller-tokens and certificate name of --caller-names"
            }
        }
    }

    /// Reloads the tokens when their file changes. Never completes.
    pub(crate) async fn reload(self, interval: Duration) {
        match self.tokens {
            Some(tokens) => tokens.reload(interval).await,
            None => std::future::pending().await,
        }
    }

    /// Checks one caller.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` if the caller is unknown, `Forbidden` if it is known and not authorized.
    fn authorize(&self, peer: Option<&Peer>, headers: &HeaderMap) -> Result<(), Error> {
        if let Some(allowed) = &self.names {
            authorize_name(allowed, peer)?;
        }
        match &self.tokens {
            Some(tokens) => tokens.current().authorize(headers),
            None => Ok(()),
        }
    }
}

fn authorize_name(allowed: &[String], peer: Option<&Peer>) -> Result<(), Error> {
    let Some(names) = peer.and_then(|peer| peer.names.as_ref()) else {
        return Err(Error::new(ErrorKind::Unauthenticated, "the caller sent no certificate"));
    };
    // Host names are case-insensitive. The URIs in use, SPIFFE ids, are lower case.
    if names.iter().any(|name| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Forbidden, "the caller's certificate has no authorized name")
        .with_detail(format!("its names are {}", names.join(", "))))
}

/// Digests of the valid tokens. The tokens themselves are not kept.
#[derive(Debug)]
struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    fn parse(files: &[(Source, SecretSlice<u8>)]) -> Result<Self, ConfigError> {
        let mut tokens = Vec::new();
        for (source, bytes) in files {
            for (line, number) in bytes.expose_secret().split(|byte| *byte == b'\n').zip(1..) {
                let line = line.trim_ascii();
                if line.is_empty() || line.starts_with(b"#") {
                    continue;
                }
                check(line)
                    .map_err(|reason| source.error(format_args!("line {number} {reason}")))?;
                tokens.push(Sha256::digest(line).into());
            }
            if tokens.is_empty() {
                return Err(source.error("contains no token"));
            }
        }
        Ok(Self(tokens))
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<(), Error> {
        let Some(token) = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()))
        else {
            return Err(Error::new(ErrorKind::Unauthenticated, "the call has no bearer token")
                .with_hint("send one in the `authorization` header"));
        };
        let digest: [u8; 32] = Sha256::digest(token).into();
        // Compares all of them, so that the time does not depend on the match.
        let is_known = self
            .0
            .iter()
            .fold(subtle::Choice::from(0), |known, valid| known | valid.ct_eq(&digest));
        if is_known.into() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Unauthenticated, "the call's bearer token is not valid"))
        }
    }
}

fn check(token: &[u8]) -> Result<(), String> {
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err("contains a space or a character that is not allowed in a header".to_owned());
    }
    if token.len() < MIN_TOKEN_BYTES {
        return Err(format!("is shorter than {MIN_TOKEN_BYTES} characters"));
    }
    Ok(())
}

/// Returns the token after the case-insensitive word `Bearer` (RFC 7235 section 2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (word, token) = value.split_at_checked("bearer ".len())?;
    word.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Access to the gRPC health service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum HealthAccess {
    /// Every client; health checkers seldom have a token.
    #[default]
    Open,
    /// Authorized callers.
    Callers,
    /// The service is not served.
    Off,
}

/// Rejects callers that are not authorized.
#[derive(Debug, Clone)]
pub(super) struct Authorization {
    pub(super) callers: Callers,
    pub(super) health: HealthAccess,
}

impl Authorization {
    fn authorize<B>(&self, request: &Request<B>) -> Result<(), Rejection> {
        if CallInfo::of(request).route == Route::Health && self.health == HealthAccess::Open {
            return Ok(());
        }
        let peer = request.extensions().get::<Arc<Peer>>();
        self.callers.authorize(peer.map(Arc::as_ref), request.headers()).map_err(|error| {
            let is_known = error.kind() == ErrorKind::Forbidden;
            let reason = if is_known {
                RejectionReason::Forbidden
            } else {
                RejectionReason::Unauthenticated
            };
            Rejection { reason, error }
        })
    }
}

impl<B: Send + 'static> Middleware<B> for Authorization {
    type NextBody = B;
    type Error = Rejection;

    async fn handle(
        self,
        request: Request<B>,
        next: impl Next<B>,
    ) -> Result<Response<Body>, Rejection> {
        self.authorize(&request)?;
        next.run(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-token-0123456789";
    const NEW: &str = "new-token-0123456789";

    fn tokens(content: &str) -> Result<Callers, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        Callers::default().with_tokens(file.path().to_owned())
    }

    fn kind(callers: &Callers, peer: &Peer, authorization: Option<&str>) -> Option<ErrorKind> {
        let headers = authorization
            .map(|value| (AUTHORIZATION, value.parse().unwrap()))
            .into_iter()
            .collect();
        callers.authorize(Some(peer), &headers).err().map(|error| error.kind())
    }

    #[test]
    fn default_authorizes_every_caller() {
        assert_eq!(kind(&Callers::default(), &Peer::default(), None), None);
    }

    #[test]
    fn only_tokens_of_the_file_are_valid() {
        let callers = tokens(&format!("# rotated in May\n{OLD}\r\n\n  {NEW}  \n")).unwrap();
        let unauthenticated = Some(ErrorKind::Unauthenticated);
        for (authorization, expected) in [
            (Some(format!("Bearer {OLD}")), None),
            (Some(format!("bearer {NEW}")), None),
            (Some(format!("Bearer {OLD}x")), unauthenticated),
            (Some(format!("Basic {OLD}")), unauthenticated),
            (Some(OLD.to_owned()), unauthenticated),
            (Some("Bearer ".to_owned()), unauthenticated),
            (Some("Bearer # rotated in May".to_owned()), unauthenticated),
            (Some(String::new()), unauthenticated),
            (None, unauthenticated),
        ] {
            assert_eq!(
                kind(&callers, &Peer::default(), authorization.as_deref()),
                expected,
                "{authorization:?}"
            );
        }
    }

    #[test]
    fn file_without_a_valid_token_is_rejected_without_revealing_it() {
        for (content, reason) in [
            ("", "contains no token"),
            ("# nothing\n", "contains no token"),
            ("short-canary", "line 1 is shorter than 16 characters"),
            (
                "\ncanary with blanks inside",
                "line 2 contains a space or a character that is not allowed in a header",
            ),
        ] {
            let error = tokens(content).unwrap_err().to_string();
            assert!(error.starts_with("--caller-tokens: /") && error.ends_with(reason), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn names_match_in_full() {
        let callers = Callers::default()
            .with_names(["flyte.example", "spiffe://c/ns/flyte"].map(str::to_owned));
        let peer = |names: &[&str]| Peer {
            names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        for (names, expected) in [
            (&["flyte.example"][..], None),
            (&["other.example", "FLYTE.example"], None),
            (&["spiffe://c/ns/flyte"], None),
            (&["x.flyte.example"], Some(ErrorKind::Forbidden)),
            (&["flyte.example.evil"], Some(ErrorKind::Forbidden)),
            (&["spiffe://c/ns/flyte/x"], Some(ErrorKind::Forbidden)),
            (&[], Some(ErrorKind::Forbidden)),
        ] {
            assert_eq!(kind(&callers, &peer(names), None), expected, "{names:?}");
        }
        assert_eq!(kind(&callers, &Peer::default(), None), Some(ErrorKind::Unauthenticated));
    }

    #[test]
    fn tokens_and_names_are_both_required() {
        let callers = tokens(OLD).unwrap().with_names(["flyte.example".to_owned()]);
        let named = Peer { names: Some(vec!["flyte.example".to_owned()]) };
        let token = format!("Bearer {OLD}");
        assert_eq!(kind(&callers, &named, Some(&token)), None);
        assert_eq!(kind(&callers, &named, None), Some(ErrorKind::Unauthenticated));
        assert_eq!(
            kind(&callers, &Peer::default(), Some(&token)),
            Some(ErrorKind::Unauthenticated)
        );
    }

    #[test]
    fn debug_output_contains_no_token() {
        assert!(!format!("{:?}", tokens(OLD).unwrap()).contains(OLD));
    }
}
