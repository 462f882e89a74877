//! `runs/submit` (DA §1.1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::RunId;

/// The body of a submission: JSON that is passed on as it is, and the token that makes it safe to send again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SubmitRun {
    #[serde(flatten)]
    body: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_token: Option<String>,
}

impl SubmitRun {
    /// A submission without a token. It is sent once only: a lost answer may have started a run.
    pub fn new(mut body: Map<String, Value>) -> Self {
        let idempotency_token = match body.remove("idempotency_token") {
            Some(Value::String(token)) if !token.is_empty() => Some(token),
            _ => None,
        };
        Self { body, idempotency_token }
    }

    /// Sets the token: at most 64 characters (DA §3.1).
    #[must_use]
    pub fn with_idempotency_token(mut self, token: impl Into<String>) -> Self {
        self.idempotency_token = Some(token.into());
        self
    }

    /// The token.
    pub fn idempotency_token(&self) -> Option<&str> {
        self.idempotency_token.as_deref()
    }

    /// The body without the token.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }
}

/// The answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Submitted {
    pub(crate) run_id: RunId,
}
