//! Page tokens: a signed cursor that is valid for the log of one run. Pure.
//!
//! A token is `v2.` followed by base64 of an HMAC-SHA256 signature (32 bytes) and the cursor as JSON. The signature
//! covers workspace, run and cursor (docs/adr/0009-log-tokens.md).

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use connector_core::Error;
use databricks_client::RunId;

use super::cursor::Cursor;
use crate::config::log_token_key::LogTokenKey;

/// Prefix of a token; names the format.
const VERSION: &str = "v2.";

/// The longest token accepted, in bytes. A run has at most 1,000 tasks.
const MAX_TOKEN: usize = 512 * 1024;

/// The length of a signature, in bytes.
const SIGNATURE_BYTES: usize = 32;

impl LogTokenKey {
    /// Returns the token of a cursor in the log of this run.
    pub(super) fn token(&self, host: &str, run_id: RunId, cursor: &Cursor) -> String {
        // Infallible: the cursor holds numbers, strings and maps with integer keys.
        let cursor = serde_json::to_vec(cursor).unwrap_or_default();
        let signature = hmac::sign(self.key(), &signed_bytes(host, run_id, &cursor));
        format!("{VERSION}{}", URL_SAFE_NO_PAD.encode([signature.as_ref(), &cursor].concat()))
    }

    /// Returns the cursor of a token. An empty token is the start of the log.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if the token was not made for this run with this key.
    pub(super) fn cursor(&self, host: &str, run_id: RunId, token: &str) -> Result<Cursor, Error> {
        if token.is_empty() {
            return Ok(Cursor::default());
        }
        self.verify(host, run_id, token).ok_or_else(|| {
            Error::invalid_request("the log token does not belong to the log of this run")
                .with_hint("restart without a token, or send the token of the previous page")
        })
    }

    fn verify(&self, host: &str, run_id: RunId, token: &str) -> Option<Cursor> {
        let text = token.strip_prefix(VERSION).filter(|text| text.len() <= MAX_TOKEN)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signature, cursor) = bytes.split_at_checked(SIGNATURE_BYTES)?;
        hmac::verify(self.key(), &signed_bytes(host, run_id, cursor), signature).ok()?;
        serde_json::from_slice(cursor).ok()
    }
}

/// Returns the signed bytes. Neither host nor run id contains a line feed, so the encoding is unambiguous.
fn signed_bytes(host: &str, run_id: RunId, cursor: &[u8]) -> Vec<u8> {
    let run_id = run_id.to_string();
    [VERSION.as_bytes(), host.as_bytes(), b"\n", run_id.as_bytes(), b"\n", cursor].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::SecretString;

    use super::*;
    use crate::task_logs::{
        cursor::{AttemptCursor, EventCursor, LogSource},
        position::Position,
    };

    fn run_id() -> RunId {
        "7".parse().unwrap()
    }

    fn key(secret: &str) -> LogTokenKey {
        LogTokenKey::new(Some(&SecretString::from(secret.to_owned())))
    }

    fn cursor(offset: usize) -> Cursor {
        let delivered = LogSource::DeliveredLogs {
            stdout: serde_json::from_str(
                r#"{"r": "2026-11-23--15-00", "o": 18446744073709551615, "a": 9}"#,
            )
            .unwrap(),
            stderr: crate::task_logs::rotation::StreamCursor::default(),
            stderr_first: true,
        };
        let output = LogSource::RunOutput(Position::default().advanced(offset, &vec![7; offset]));
        let attempt = |source| AttemptCursor {
            written: 5,
            cluster_events: EventCursor { time: -1, count: 2 },
            unreadable: 1,
            source,
        };
        Cursor {
            next: Some(i64::MAX),
            begun: true,
            incomplete: 0,
            attempts: [
                (1, attempt(delivered)),
                (2, attempt(output)),
                (3, attempt(LogSource::Done)),
                (4, AttemptCursor::default()),
            ]
            .into(),
        }
    }

    #[test]
    fn token_decodes_to_its_cursor() {
        for key in [LogTokenKey::new(None), key("secret")] {
            let token = key.token("h.example", run_id(), &cursor(300));
            assert_eq!(key.cursor("h.example", run_id(), &token).unwrap(), cursor(300));
        }
        assert_eq!(LogTokenKey::new(None).cursor("h", run_id(), "").unwrap(), Cursor::default());
    }

    #[test]
    fn tokens_of_other_runs_and_keys_are_rejected() {
        let key = key("secret");
        let token = key.token("h.example", run_id(), &cursor(1));
        let foreign = LogTokenKey::new(None).token("h.example", run_id(), &cursor(1));
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
    fn token_stays_short() {
        let token = key("secret").token("h.example", run_id(), &cursor(300));
        assert!(token.len() < 700, "{}", token.len());
    }

    proptest! {
        #[test]
        fn changed_tokens_are_rejected(at in 3usize..400, with in "[A-Za-z0-9_-]", offset in 0usize..400) {
            let key = key("secret");
            let token = key.token("h.example", run_id(), &cursor(offset));
            let at = 3 + at % (token.len() - 3);
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(key.cursor("h.example", run_id(), &changed).is_ok(), changed == token);
        }

        #[test]
        fn arbitrary_text_is_rejected_without_panic(text in "\\PC{0,100}") {
            prop_assert!(text.is_empty() || LogTokenKey::new(None).cursor("h", run_id(), &text).is_err());
        }
    }
}
