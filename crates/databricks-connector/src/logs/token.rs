//! The token of the next page: a cursor that only this run's log takes back, and that nobody can change unseen.
//!
//! `v2.` and, in base64, a seal of 32 bytes and the cursor as JSON. The seal is an HMAC-SHA256 over the workspace, the
//! run and the cursor (ADR 0009). Pure.

use std::fmt;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use connector_core::Error;
use databricks_client::RunId;
use secrecy::{ExposeSecret as _, SecretString};

use super::cursor::Cursor;

/// Marks a token as ours, and what is in it.
const VERSION: &str = "v2.";

/// The longest token that is looked at, in bytes: a run has at most 1,000 tasks.
const MAX_TOKEN: usize = 512 * 1024;

/// The length of a seal, in bytes.
const SEAL: usize = 32;

/// What seals tokens without a key of the operator's: no secret, and the same everywhere.
const PUBLIC: &[u8] = b"flyte-connector-databricks log token";

/// Seals tokens. Every replica needs the same.
#[derive(Clone)]
pub(crate) struct TokenKey(hmac::Key);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// Of the operator's secret, if there is one. Without it tokens are told from foreign, broken and changed ones, but
    /// somebody who reads this source can make one.
    pub(crate) fn new(secret: Option<&SecretString>) -> Self {
        let secret = secret.map(|secret| secret.expose_secret().as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.unwrap_or(PUBLIC)))
    }

    /// The token of a cursor in the log of this run.
    pub(super) fn token(&self, host: &str, run_id: RunId, cursor: &Cursor) -> String {
        // Numbers, texts and maps with keys of integers always make JSON.
        let cursor = serde_json::to_vec(cursor).unwrap_or_default();
        let seal = hmac::sign(&self.0, &sealed(host, run_id, &cursor));
        format!("{VERSION}{}", URL_SAFE_NO_PAD.encode([seal.as_ref(), &cursor].concat()))
    }

    /// The cursor of a token; an empty one is the start.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for a token that was not made for this run with this key.
    pub(super) fn cursor(&self, host: &str, run_id: RunId, token: &str) -> Result<Cursor, Error> {
        if token.is_empty() {
            return Ok(Cursor::default());
        }
        self.open(host, run_id, token).ok_or_else(|| {
            Error::invalid_request("the log token is not one of this run's log")
                .with_hint("start again without a token, or use the token of the page before")
        })
    }

    fn open(&self, host: &str, run_id: RunId, token: &str) -> Option<Cursor> {
        let text = token.strip_prefix(VERSION).filter(|text| text.len() <= MAX_TOKEN)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (seal, cursor) = bytes.split_at_checked(SEAL)?;
        hmac::verify(&self.0, &sealed(host, run_id, cursor), seal).ok()?;
        serde_json::from_slice(cursor).ok()
    }
}

/// What is sealed: no part of it can pass for another.
fn sealed(host: &str, run_id: RunId, cursor: &[u8]) -> Vec<u8> {
    let run_id = run_id.to_string();
    [VERSION.as_bytes(), host.as_bytes(), b"\n", run_id.as_bytes(), b"\n", cursor].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logs::{
        cursor::{Attempt, Clock, Stage},
        place::Place,
    };

    fn run_id() -> RunId {
        "7".parse().unwrap()
    }

    fn key(secret: &str) -> TokenKey {
        TokenKey::new(Some(&SecretString::from(secret.to_owned())))
    }

    fn cursor(offset: usize) -> Cursor {
        let stage = Stage::Delivered {
            stdout: serde_json::from_str(
                r#"{"r": "2026-11-23--15-00", "o": 18446744073709551615, "a": 9}"#,
            )
            .unwrap(),
            stderr: crate::logs::rotation::Position::default(),
            stderr_first: true,
        };
        let output = Stage::Output(Place::default().on(offset, &vec![7; offset]));
        let attempt = |stage| Attempt { marks: 5, cluster: Clock { time: -1, count: 2 }, stage };
        Cursor {
            next: Some(i64::MAX),
            begun: true,
            attempts: [
                (1, attempt(stage)),
                (2, attempt(output)),
                (3, attempt(Stage::Told)),
                (4, Attempt::default()),
            ]
            .into(),
        }
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        for key in [TokenKey::new(None), key("secret")] {
            let token = key.token("h.example", run_id(), &cursor(300));
            assert_eq!(key.cursor("h.example", run_id(), &token).unwrap(), cursor(300));
        }
        assert_eq!(TokenKey::new(None).cursor("h", run_id(), "").unwrap(), Cursor::default());
    }

    #[test]
    fn a_foreign_token_is_refused() {
        let key = key("secret");
        let token = key.token("h.example", run_id(), &cursor(1));
        let foreign = TokenKey::new(None).token("h.example", run_id(), &cursor(1));
        for (host, id, token) in [
            ("h.example", "8", token.as_str()),
            ("g.example", "7", &token),
            ("h.example", "7", &foreign),
            ("h.example", "7", "v1:3"),
            ("h.example", "7", "v2."),
            ("h.example", "7", "v2.AAAA"),
            ("h.example", "7", "x"),
            ("h.example", "7", token.strip_prefix("v2.").unwrap()),
            ("h.example", "7", &token.replace("v2.", "v3.")),
            ("h.example", "7", &format!("v2.{}", "A".repeat(MAX_TOKEN + 4))),
        ] {
            let error = key.cursor(host, id.parse().unwrap(), token).unwrap_err();
            assert_eq!(error.kind(), connector_core::ErrorKind::InvalidRequest, "{host} {id}");
        }
        assert!(!format!("{key:?}").contains("secret"));
    }

    #[test]
    fn a_token_shows_no_path_and_stays_short() {
        let token = key("secret").token("h.example", run_id(), &cursor(300));
        assert!(token.len() < 700, "{}", token.len());
    }

    proptest! {
        #[test]
        fn no_byte_can_be_changed_unseen(at in 3usize..400, with in "[A-Za-z0-9_-]", offset in 0usize..400) {
            let key = key("secret");
            let token = key.token("h.example", run_id(), &cursor(offset));
            let at = 3 + at % (token.len() - 3);
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(key.cursor("h.example", run_id(), &changed).is_ok(), changed == token);
        }

        #[test]
        fn no_text_is_a_fault(text in "\\PC{0,100}") {
            prop_assert!(text.is_empty() || TokenKey::new(None).cursor("h", run_id(), &text).is_err());
        }
    }
}
