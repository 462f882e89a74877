//! `run-now` (DA §1.7).

use serde::Serialize;
use serde_json::{Map, Value};

/// The body of a run of a job that is there already: `job_id` and parameters, passed on as they are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunNow {
    #[serde(flatten)]
    body: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_token: Option<String>,
}

impl RunNow {
    /// A run without a token. It is sent once only: a lost answer may have started a run.
    pub fn new(mut body: Map<String, Value>) -> Self {
        body.remove("idempotency_token");
        Self { body, idempotency_token: None }
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
}
