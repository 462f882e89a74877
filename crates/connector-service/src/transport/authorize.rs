//! Which callers are served.

use std::{path::PathBuf, sync::Arc, time::Duration};

use connector_core::{Error, ErrorKind};
use http::{HeaderMap, header::AUTHORIZATION};
use secrecy::{ExposeSecret as _, SecretSlice};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    peer::Peer,
    reload::{Reloading, Source},
};
use crate::config_error::ConfigError;

/// The flag of the tokens' file.
const TOKENS: &str = "--caller-tokens";

/// A shorter token could be guessed.
const SHORTEST: usize = 16;

/// Which callers are served. What is set must be met: with tokens and names, a caller needs one of each. The default
/// serves everybody.
#[derive(Debug, Clone, Default)]
pub struct Callers {
    tokens: Option<Arc<Reloading<Tokens>>>,
    names: Option<Arc<[String]>>,
}

impl Callers {
    /// Asks for a bearer token that is in the file: one a line, blank lines and lines with # left out. The file is read
    /// again when it changes.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the file cannot be read, holds no token, or one that is too short or that no header can
    /// carry.
    pub fn with_tokens(self, path: PathBuf) -> Result<Self, ConfigError> {
        let tokens = Reloading::open(vec![Source { flag: TOKENS, path }], Tokens::read)?;
        Ok(Self { tokens: Some(Arc::new(tokens)), ..self })
    }

    /// Asks for a client certificate with one of these DNS names or URIs. They are compared as a whole.
    #[must_use]
    pub fn with_names(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { names: Some(names.into_iter().collect()), ..self }
    }

    /// Describes the required credentials, for the log.
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

    /// Looks for new tokens again and again.
    pub(crate) async fn follow(self, every: Duration) {
        match self.tokens {
            Some(tokens) => tokens.follow(every).await,
            None => std::future::pending().await,
        }
    }

    /// Whether this caller may call.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` when it is not known who calls, `Forbidden` when it is and they may not.
    pub(super) fn admit(&self, peer: &Peer, headers: &HeaderMap) -> Result<(), Error> {
        if let Some(allowed) = &self.names {
            named(allowed, peer)?;
        }
        match &self.tokens {
            Some(tokens) => tokens.current().admit(headers),
            None => Ok(()),
        }
    }
}

fn named(allowed: &[String], peer: &Peer) -> Result<(), Error> {
    let Some(names) = &peer.names else {
        return Err(Error::new(ErrorKind::Unauthenticated, "the caller showed no certificate"));
    };
    // Names of hosts do not differ by case; the URIs in use here, SPIFFE ids, have none to differ by.
    if names.iter().any(|name| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Forbidden, "the caller's certificate has no name that may call")
        .with_detail(format!("it has {}", names.join(", "))))
}

/// The tokens that are good, as digests: nothing that could leak stays in memory, and all have one length.
#[derive(Debug)]
struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    fn read(read: &[(Source, SecretSlice<u8>)]) -> Result<Self, ConfigError> {
        let mut tokens = Vec::new();
        for (source, bytes) in read {
            for (line, number) in bytes.expose_secret().split(|byte| *byte == b'\n').zip(1..) {
                let line = line.trim_ascii();
                if line.is_empty() || line.starts_with(b"#") {
                    continue;
                }
                check(line).map_err(|why| source.refused(format_args!("line {number} {why}")))?;
                tokens.push(Sha256::digest(line).into());
            }
            if tokens.is_empty() {
                return Err(source.refused("holds no token"));
            }
        }
        Ok(Self(tokens))
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Error> {
        let Some(token) = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()))
        else {
            return Err(Error::new(ErrorKind::Unauthenticated, "the call carries no bearer token")
                .with_hint("this server wants one in the `authorization` header"));
        };
        let digest: [u8; 32] = Sha256::digest(token).into();
        // All are compared, whichever is the right one.
        let known =
            self.0.iter().fold(subtle::Choice::from(0), |known, good| known | good.ct_eq(&digest));
        if known.into() {
            Ok(())
        } else {
            let message = "the call's bearer token is none that this server knows";
            Err(Error::new(ErrorKind::Unauthenticated, message))
        }
    }
}

fn check(token: &[u8]) -> Result<(), String> {
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err("holds a blank or a character that no header can carry".to_owned());
    }
    if token.len() < SHORTEST {
        return Err(format!("is shorter than {SHORTEST} characters"));
    }
    Ok(())
}

/// The token after the word, which may be of any case (RFC 7235 §2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (word, token) = value.split_at_checked("bearer ".len())?;
    word.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
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
        callers.admit(peer, &headers).err().map(|error| error.kind())
    }

    #[test]
    fn without_a_rule_everybody_is_served() {
        assert_eq!(kind(&Callers::default(), &Peer::default(), None), None);
    }

    #[test]
    fn each_token_of_the_file_is_good_and_no_other() {
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
    fn a_file_that_holds_no_good_token_is_refused_without_showing_it() {
        for (content, why) in [
            ("", "holds no token"),
            ("# nothing\n", "holds no token"),
            ("short-canary", "line 1 is shorter than 16 characters"),
            (
                "\ncanary with blanks inside",
                "line 2 holds a blank or a character that no header can carry",
            ),
        ] {
            let error = tokens(content).unwrap_err().to_string();
            assert!(error.starts_with("--caller-tokens: /") && error.ends_with(why), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_name_is_compared_as_a_whole() {
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
    fn with_tokens_and_names_both_are_needed() {
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
    fn debug_shows_no_token() {
        assert!(!format!("{:?}", tokens(OLD).unwrap()).contains(OLD));
    }
}
