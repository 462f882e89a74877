//! Parsing of error bodies in every documented form (databricks-api.md#error-bodies). Pure.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::{
    api::json::{Bounds, Document},
    http::request::Subject,
};

/// The maximum length of a message, in characters.
const MAX_MESSAGE: usize = 2_000;

/// The maximum length of an error code in plain text, in bytes.
const MAX_CODE: usize = 100;

/// Texts that signal a transient failure with any status (databricks-api.md#retry-rules).
const TRANSIENT_TEXTS: [&str; 8] = [
    "com.databricks.backend.manager.util.UnknownWorkerEnvironmentException",
    "does not have any associated worker environments",
    "There is no worker environment with id",
    "Unknown worker environment",
    "ClusterNotReadyException",
    "Unexpected error",
    "Please try again later or try a faster operation.",
    "RPC token bucket limit has been exceeded",
];

/// The content of an error body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ErrorBody {
    /// The error code of Databricks, such as `INVALID_PARAMETER_VALUE`.
    pub(crate) code: Option<String>,
    /// The message, bounded and without control characters.
    pub(crate) message: Option<String>,
    /// Identifies the request to Databricks' support.
    pub(crate) request_id: Option<String>,
    /// The delay that the service asks for.
    pub(crate) retry_after: Option<Duration>,
}

impl ErrorBody {
    /// Parses a body of any form. Returns the default for a body that cannot be parsed.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let document = Document::new(Bytes::copy_from_slice(body), Bounds::RESPONSE);
        let text = document.into_text();
        let text = text.trim();
        if text.is_empty() {
            return Self::default();
        }
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => Self::from_json(&Value::Object(object)),
            Ok(_) => Self::default(),
            Err(_) if text.starts_with('<') => {
                Self { message: html_message(text).and_then(|m| clean(&m)), ..Self::default() }
            }
            // Truncated or invalid JSON, which would not be readable as a message.
            Err(_) if text.starts_with(['{', '[']) => Self::default(),
            Err(_) => Self::from_text(text),
        }
    }

    fn from_json(body: &Value) -> Self {
        let text = |key: &str| body.get(key).and_then(scalar);
        let details = body.get("details").and_then(Value::as_array);
        let is_kind = |detail: &Value, kind: &str| {
            detail.get("@type").and_then(Value::as_str).is_some_and(|name| name.ends_with(kind))
        };
        let detail = |kind: &str, key: &str| {
            let detail = details?.iter().find(|detail| is_kind(detail, kind))?;
            detail.get(key)?.as_str()
        };
        // The usual form, SCIM, the two OAuth forms, API 1.2.
        let code = ["error_code", "scimType", "errorCode"]
            .into_iter()
            .find_map(text)
            .or_else(|| body.get("error_description").and_then(|_| text("error")));
        let message = ["message", "detail", "error_description", "errorSummary", "error"]
            .into_iter()
            .find_map(text);
        Self {
            code: code.and_then(|code| clean(&code)),
            message: message.and_then(|message| clean(&message)),
            request_id: detail("google.rpc.RequestInfo", "request_id").and_then(clean),
            retry_after: detail("google.rpc.RetryInfo", "retry_delay").and_then(seconds),
        }
    }

    /// Parses `CODE: message`, or a message alone.
    fn from_text(text: &str) -> Self {
        let is_code = |code: &str| {
            (1..=MAX_CODE).contains(&code.len())
                && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        };
        match text.split_once(": ") {
            Some((code, message)) if is_code(code) => {
                Self { code: Some(code.to_owned()), message: clean(message), ..Self::default() }
            }
            _ => Self { message: clean(text), ..Self::default() },
        }
    }

    /// True if the body signals a transient failure.
    pub(crate) fn is_transient(&self) -> bool {
        let by_text = |message: &String| TRANSIENT_TEXTS.iter().any(|text| message.contains(text));
        self.message.as_ref().is_some_and(by_text)
            || self.code.as_deref() == Some("COULD_NOT_ACQUIRE_LOCK")
    }

    /// True if the body reports that the run does not exist: by the error code and what the request names, else by the
    /// texts of Databricks (databricks-api.md#missing-runs). A gateway may also return 404, but with neither.
    pub(crate) fn is_run_not_found(&self, subject: Subject) -> bool {
        let by_code = match self.code.as_deref() {
            Some("RESOURCE_DOES_NOT_EXIST" | "NOT_FOUND") => true,
            Some("INVALID_PARAMETER_VALUE") => subject == Subject::OnlyRun,
            _ => false,
        };
        let by_text = || {
            self.message.as_ref().is_some_and(|message| {
                let after = |start: &str| message.split_once(start).map(|(_, rest)| rest);
                after("Run ").is_some_and(|rest| rest.contains(" does not exist"))
                    || after("Run: ").is_some_and(|rest| {
                        rest.contains(" in job: ") && rest.contains("doesn't exist")
                    })
            })
        };
        subject != Subject::NoRun && (by_code || by_text())
    }

    /// True if the body reports that the workspace was deleted or deactivated (databricks-api.md#missing-runs).
    pub(crate) fn names_lost_workspace(&self) -> bool {
        self.message.as_ref().is_some_and(|message| {
            let message = message.to_ascii_lowercase();
            message.contains("workspace")
                && ["not active", "inactive", "been deleted", "could not be found"]
                    .iter()
                    .any(|lost| message.contains(lost))
        })
    }

    /// True if a gateway does not know the version of the API (databricks-api.md#further-facts).
    pub(crate) fn is_unknown_api_version(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.starts_with("Bad Target"))
    }
}

/// Returns a string, or a number as a string: `error_code` can be a number.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Parses `"3s"` or `"1.5s"`.
fn seconds(text: &str) -> Option<Duration> {
    let number: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(number).ok()
}

/// Returns the content of `<pre>`, else of `<title>`.
fn html_message(html: &str) -> Option<String> {
    ["pre", "title"].into_iter().find_map(|tag| {
        let (_, rest) = html.split_once(&format!("<{tag}"))?;
        let (_, rest) = rest.split_once('>')?;
        let (inside, _) = rest.split_once(&format!("</{tag}"))?;
        Some(inside.trim().to_owned()).filter(|text| !text.is_empty())
    })
}

/// Returns the text as one bounded line without terminal sequences and control characters. None if nothing is left.
fn clean(text: &str) -> Option<String> {
    let text = without_terminal_sequences(text);
    let words: Vec<&str> =
        text.split(|character: char| character.is_whitespace() || character.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let bounded: String = line.chars().take(MAX_MESSAGE).collect();
    (!bounded.is_empty()).then_some(bounded)
}

/// Removes escape sequences: CSI sequences up to their final byte, otherwise the escape and one character.
fn without_terminal_sequences(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next() == Some('[') {
                    characters.by_ref().find(|character| matches!(character, '@'..='~'));
                }
            }
            // CSI as one character.
            '\u{9b}' => {
                characters.by_ref().find(|character| matches!(character, '@'..='~'));
            }
            other => kept.push(other),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, code: Option<&str>, message: Option<&str>) {
        let parsed = ErrorBody::parse(body.as_bytes());
        assert_eq!((parsed.code.as_deref(), parsed.message.as_deref()), (code, message), "{body}");
    }

    #[test]
    fn each_documented_form_is_parsed() {
        check(
            r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}"#,
            Some("INVALID_PARAMETER_VALUE"),
            Some("no"),
        );
        check(r#"{"error_code": 400, "message": "no"}"#, Some("400"), Some("no"));
        check(r#"{"error_code": "X"}"#, Some("X"), None);
        check(r#"{"error": "Bad Target: /api/2.2"}"#, None, Some("Bad Target: /api/2.2"));
        check(
            r#"{"detail": "gone", "status": "404", "scimType": "noTarget"}"#,
            Some("noTarget"),
            Some("gone"),
        );
        check(
            r#"{"error": "invalid_client", "error_description": "d"}"#,
            Some("invalid_client"),
            Some("d"),
        );
        check(r#"{"errorCode": "E1", "errorSummary": "s"}"#, Some("E1"), Some("s"));
        check("PERMISSION_DENIED: you may not", Some("PERMISSION_DENIED"), Some("you may not"));
        check("just words: here", None, Some("just words: here"));
        check(
            "<html><title>t</title><pre class=x>\n in\nhere </pre></html>",
            None,
            Some("in here"),
        );
        check(
            "<html><title> Invalid access token. </title></html>",
            None,
            Some("Invalid access token."),
        );
        check("<html></html>", None, None);
        check("", None, None);
        check("[1]", None, None);
        check("null", None, None);
        check(r#"{"message": "a\u001b[1;31m\r\nb\u0007\u001b[0m\u009b2Jc"}"#, None, Some("a b c"));
        check(r#"{"message": "a\u001b"}"#, None, Some("a"));
        check(r#"{"message": "\u001b[31"}"#, None, None);
        check(r#"{"message": null, "error_code": null}"#, None, None);
        check(r#"{"message": {"nested": 1}}"#, None, None);
        check(r#"{"error_code": "X", "message": "cut sh"#, None, None);
        check(r#"{"errorCode": "E1", "error": "e"}"#, Some("E1"), Some("e"));
        check(r#"{"error_code": "X", "message": "a\ud800b"}"#, Some("X"), Some("a\u{fffd}b"));
        check("\u{feff}{\"error_code\": \"X\"}", Some("X"), None);
    }

    #[test]
    fn stray_bytes_do_not_hide_the_code() {
        let parsed = ErrorBody::parse(b"{\"error_code\": \"X\", \"message\": \"caf\xe9\"}");
        assert_eq!(parsed.code.as_deref(), Some("X"));
        assert_eq!(parsed.message.as_deref(), Some("caf\u{fffd}"));
    }

    #[test]
    fn details_contain_the_request_id_and_the_retry_delay() {
        let body = r#"{"error_code": "X", "details": [{"@type": "unknown"}, 7,
            {"@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": "r-1"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retry_delay": "1.5s"}]}"#;
        let parsed = ErrorBody::parse(body.as_bytes());
        assert_eq!(parsed.request_id.as_deref(), Some("r-1"));
        assert_eq!(parsed.retry_after, Some(Duration::from_millis(1500)));
    }

    #[test]
    fn without_a_code_only_the_documented_texts_mean_that_a_run_does_not_exist() {
        let is_not_found = |message: &str| {
            ErrorBody { message: Some(message.to_owned()), ..ErrorBody::default() }
                .is_run_not_found(Subject::OnlyRun)
        };
        assert!(is_not_found("Run 12345 does not exist."));
        assert!(is_not_found("Run: 1 in job: 2 doesn't exist"));
        assert!(!is_not_found("Run 12345 is over"));
        assert!(!is_not_found("does not exist: Run 1"));
        assert!(!is_not_found("Run: 1 doesn't exist"));
        assert!(!is_not_found("Not Found"));
        assert!(!is_not_found("Job 1 does not exist."));
        assert!(!is_not_found("Cluster 1 does not exist"));
    }

    #[test]
    fn each_documented_transient_text_is_recognised() {
        let is_transient = |message: &str| {
            ErrorBody { message: Some(message.to_owned()), ..ErrorBody::default() }.is_transient()
        };
        for text in TRANSIENT_TEXTS {
            assert!(is_transient(&format!("x: {text} y")), "{text}");
        }
        assert!(!is_transient("Invalid cluster"));
    }

    #[test]
    fn long_code_is_treated_as_a_message() {
        let text = format!("{}: m", "A".repeat(10_000));
        let parsed = ErrorBody::parse(text.as_bytes());
        assert_eq!(parsed.code, None);
        assert_eq!(parsed.message.map(|message| message.len()), Some(MAX_MESSAGE));
    }

    #[test]
    fn long_message_is_truncated() {
        let parsed = ErrorBody::parse("ä".repeat(10_000).as_bytes());
        assert_eq!(parsed.message.map(|message| message.chars().count()), Some(MAX_MESSAGE));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(body: Vec<u8>) {
            let _body = ErrorBody::parse(&body);
        }
    }
}
