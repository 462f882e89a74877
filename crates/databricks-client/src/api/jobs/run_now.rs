//! `run-now` (databricks-api.md#run-now).

use serde::Serialize;
use serde_json::{Map, Value};

/// The body of a request to run an existing job: `job_id` and parameters, sent unchanged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunNow {
    #[serde(flatten)]
    body: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_token: Option<String>,
}

impl RunNow {
    /// Creates a request without an idempotency token. It is not retried, since a lost response may have started a run.
    pub fn new(mut body: Map<String, Value>) -> Self {
        body.remove("idempotency_token");
        Self { body, idempotency_token: None }
    }

    /// Sets the idempotency token, of at most 64 characters (databricks-api.md#idempotency-token). Databricks returns
    /// the existing run for a token that it has seen before.
    #[must_use]
    pub fn with_idempotency_token(mut self, token: impl Into<String>) -> Self {
        self.idempotency_token = Some(token.into());
        self
    }

    /// Returns the idempotency token.
    pub fn idempotency_token(&self) -> Option<&str> {
        self.idempotency_token.as_deref()
    }
}
