//! `runs/submit` (databricks-api.md#runs-submit) and `run-now` (databricks-api.md#run-now).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::RunId;

/// The body of a submission or of a request to run an existing job, sent unchanged, and its idempotency token.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[must_use]
pub struct Submission {
    #[serde(flatten)]
    body: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_token: Option<String>,
}

impl Submission {
    /// Creates a submission with the idempotency token of the body, if it has one. Without a token it is not retried,
    /// since a lost response may have started a run.
    pub fn new(mut body: Map<String, Value>) -> Self {
        let idempotency_token = match body.remove("idempotency_token") {
            Some(Value::String(token)) if !token.is_empty() => Some(token),
            _ => None,
        };
        Self { body, idempotency_token }
    }

    /// Sets a random idempotency token, so that lost responses are retried and the run is started once.
    pub fn with_random_idempotency_token(self) -> Self {
        self.with_idempotency_token(format!("{:032x}", fastrand::u128(..)))
    }

    /// Sets the idempotency token, of at most 64 characters (databricks-api.md#idempotency-token). Databricks returns
    /// the existing run for a token that it has seen before, so the token must be specific to the run.
    pub fn with_idempotency_token(mut self, token: impl Into<String>) -> Self {
        self.idempotency_token = Some(token.into());
        self
    }

    /// Returns the idempotency token.
    pub fn idempotency_token(&self) -> Option<&str> {
        self.idempotency_token.as_deref()
    }

    /// Returns the body without the token.
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }
}

/// The response.
#[derive(Debug, Deserialize)]
pub(super) struct Submitted {
    pub(super) run_id: RunId,
}
