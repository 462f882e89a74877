//! `runs/submit` (databricks-api.md#runs-submit) and `run-now` (databricks-api.md#run-now).

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    RunId,
    api::json::{Json, Read, read_fields, read_objects},
};

const TOKEN: &str = "idempotency_token";

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
    /// Creates a submission with the idempotency token of the body, if it has one that is not empty. Without a token it
    /// is not retried, since a lost response may have started a run.
    pub fn new(mut body: Map<String, Value>) -> Self {
        let idempotency_token = match body.remove(TOKEN) {
            Some(Value::String(token)) => non_empty(token),
            None | Some(Value::Null) => None,
            // Databricks reports the mistake.
            Some(other) => {
                body.insert(TOKEN.to_owned(), other);
                None
            }
        };
        Self { body, idempotency_token }
    }

    /// Sets a random idempotency token, so that lost responses are retried and the run is started once.
    pub fn with_random_idempotency_token(self) -> Self {
        self.with_idempotency_token(format!("{:032x}", fastrand::u128(..)))
    }

    /// Sets the idempotency token, of at most 64 characters (databricks-api.md#idempotency-token). Databricks returns
    /// the existing run for a token that it has seen before, so the token must be specific to the run. An empty token is
    /// none.
    pub fn with_idempotency_token(mut self, token: impl Into<String>) -> Self {
        self.body.remove(TOKEN);
        self.idempotency_token = non_empty(token.into());
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

/// Returns the token unless it is empty. Databricks would start a run for each request with an empty token.
fn non_empty(token: String) -> Option<String> {
    (!token.is_empty()).then_some(token)
}

/// The response.
#[derive(Debug, Default)]
struct SubmittedFields {
    run_id: Option<RunId>,
}

read_objects! { SubmittedFields { run_id } }

/// The run that a response names.
#[derive(Debug)]
pub(super) struct Submitted(pub(super) RunId);

impl Read for Submitted {
    fn read(json: Json<'_>) -> Option<Self> {
        read_fields::<SubmittedFields>(json)?.run_id.map(Self)
    }
}
