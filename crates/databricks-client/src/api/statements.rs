//! The Statement Execution API: runs an SQL statement on a warehouse and returns its rows
//! (databricks-api.md#sql-statements).
//!
//! A statement is submitted without waiting, polled until the caller's deadline, and cancelled if its caller stops
//! waiting. Rows are part of the responses, or behind external links. Links are followed over https only, without a
//! token, and only to cloud storage, the workspace and
//! [`external_link_hosts`](crate::ClientPoolBuilder::external_link_hosts).

#![expect(clippy::indexing_slicing, reason = "assigning to a key of a JSON object does not panic")]

mod external_link;
mod poll_interval;
mod response;
mod result;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Client, Error, ErrorKind, RequestClass,
    http::request::{Endpoint, Request},
};

use response::StatementResponse;
pub use result::StatementRows;

const STATEMENTS: Endpoint = Endpoint::Fixed("/api/2.0/sql/statements");

/// The timeout for cancelling a statement whose caller stopped waiting.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// A statement for a warehouse.
///
/// The text is constant. Values that differ between calls are bound to its `:name` markers.
///
/// ```
/// use databricks_client::statements::{Binding, Statement};
///
/// let statement = Statement::new("1234567890abcdef", "SELECT * FROM t WHERE id = :id AND at < timestamp_millis(:at)")
///     .bind("id", Binding::text("x'; DROP TABLE t --"))
///     .bind("at", Binding::bigint(1_750_000_000_000))
///     .idempotent();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Statement {
    text: &'static str,
    warehouse_id: String,
    parameters: Vec<(&'static str, Binding)>,
    row_limit: Option<u64>,
    disposition: Disposition,
    is_idempotent: bool,
}

/// A value that is bound to a marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    kind: &'static str,
    value: Option<String>,
}

impl Binding {
    /// A string.
    pub fn text(value: impl Into<String>) -> Self {
        Self { kind: "STRING", value: Some(value.into()) }
    }

    /// An integer.
    pub fn bigint(value: i64) -> Self {
        Self { kind: "BIGINT", value: Some(value.to_string()) }
    }

    /// NULL.
    pub fn null() -> Self {
        Self { kind: "STRING", value: None }
    }
}

/// How rows are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Disposition {
    /// In the responses, up to 25 MiB.
    #[default]
    Inline,
    /// In cloud storage, behind links that are valid for 15 minutes.
    ExternalLinks,
}

impl Statement {
    /// Creates a statement for a warehouse.
    pub fn new(warehouse_id: impl Into<String>, text: &'static str) -> Self {
        Self {
            text,
            warehouse_id: warehouse_id.into(),
            parameters: Vec::new(),
            row_limit: None,
            disposition: Disposition::default(),
            is_idempotent: false,
        }
    }

    /// Binds a value to a marker. `name` has no colon.
    pub fn bind(mut self, name: &'static str, value: Binding) -> Self {
        self.parameters.push((name, value));
        self
    }

    /// Limits the number of rows. [`StatementRows::is_truncated`] returns whether there were more.
    pub fn row_limit(mut self, rows: u64) -> Self {
        self.row_limit = Some(rows);
        self
    }

    /// Sets how rows are returned.
    pub fn disposition(mut self, disposition: Disposition) -> Self {
        self.disposition = disposition;
        self
    }

    /// Marks a statement that changes nothing, so that its submission is retried.
    pub fn idempotent(mut self) -> Self {
        self.is_idempotent = true;
        self
    }

    fn body(&self) -> Value {
        let parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|(name, bound)| json!({"name": name, "type": bound.kind, "value": bound.value}))
            .collect();
        let disposition = match self.disposition {
            Disposition::Inline => "INLINE",
            Disposition::ExternalLinks => "EXTERNAL_LINKS",
        };
        let mut body = json!({
            "statement": self.text, "warehouse_id": self.warehouse_id, "parameters": parameters,
            "disposition": disposition, "format": "JSON_ARRAY",
            // Returns the id immediately, which is needed to cancel.
            "wait_timeout": "0s",
        });
        if let Some(limit) = self.row_limit {
            body["row_limit"] = limit.into();
        }
        body
    }
}

/// Cancels a statement when dropped, unless its end is known: a running warehouse costs money.
struct CancelOnDrop<'a> {
    client: &'a Client,
    id: String,
    has_ended: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, id) = (self.client.clone().with_deadline(None), std::mem::take(&mut self.id));
        let _detached = runtime.spawn(async move {
            match client.with_timeout(CANCEL_TIMEOUT).cancel_statement(&id).await {
                Ok(()) => tracing::debug!(statement = id, "cancelled an abandoned statement"),
                Err(error) => {
                    tracing::warn!(statement = id, %error, "cannot cancel an abandoned statement");
                }
            }
        });
    }
}

impl Client {
    /// Runs a statement and returns its rows, before the client's deadline.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. `Invalid` if the warehouse rejects the statement, `Timeout` if it does not end before the
    /// deadline, `TooLarge` if the rows exceed the limit of a response.
    pub async fn run_statement(&self, statement: &Statement) -> Result<StatementRows, Error> {
        let deadline = self.deadline();
        let client = self.clone().with_deadline(Some(deadline.into_std()));
        let client = &client.with_request_class(RequestClass::Read);
        let request =
            Request::post(STATEMENTS, &statement.body())?.idempotent(statement.is_idempotent);
        let mut response: StatementResponse = client.call(&request).await?;
        let id = response.checked_id()?;
        let mut running = CancelOnDrop { client, id, has_ended: false };
        let started = Instant::now();
        let mut polls = 0;
        loop {
            match response.state() {
                "PENDING" | "RUNNING" => {}
                "SUCCEEDED" => {
                    running.has_ended = true;
                    let reader = result::ResultReader::new(client, &running.id);
                    return reader.read(response, deadline).await;
                }
                "FAILED" | "CANCELED" | "CLOSED" => {
                    running.has_ended = true;
                    return Err(response.error());
                }
                // The statement may still be running.
                _ => {
                    let text = "the statement is in an unknown state";
                    return Err(Error::new(ErrorKind::Decode, text));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(interval) = poll_interval::next(polls, left) else {
                let (state, elapsed) = (response.state(), started.elapsed().as_secs_f64());
                let text = format!("the statement is {state} after {elapsed:.1} s");
                return Err(Error::new(ErrorKind::Timeout, text));
            };
            tokio::time::sleep(interval).await;
            polls += 1;
            let request = Request::get(STATEMENTS, &[]).with_path(&format!("/{}", running.id));
            response = client.call(&request).await?;
        }
    }

    /// Requests the cancellation of a statement. Has no effect on one that has ended.
    async fn cancel_statement(&self, id: &str) -> Result<(), Error> {
        let request = Request::post(STATEMENTS, &json!({}))?;
        let request = request.idempotent(true).with_path(&format!("/{id}/cancel"));
        // The response is empty or `{}`.
        self.call_bytes(&request).await.map(drop)
    }
}
