//! SQL statements at a warehouse: run one to its end, and read its rows (DA §1.13).
//!
//! A statement is sent without waiting for its end, polled within the caller's deadline, and cancelled when its caller
//! gives up. Rows come inside of the answers or by links, which are followed over https alone, without any token, and only
//! to the storages of clouds, the workspace itself and what
//! [`link_hosts`](crate::ClientPoolBuilder::link_hosts) lists.

mod link;
mod poll;
mod result;
mod wire;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Client, Error, ErrorKind, Lane,
    request::{Endpoint, Request},
};

pub use result::StatementRows;
use wire::Response;

const STATEMENTS: Endpoint = Endpoint::Fixed("/api/2.0/sql/statements");

/// How long the cancel of a statement may take that nobody waits for any more.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);

/// A statement for a warehouse.
///
/// Its text is part of the program: what differs from call to call is bound to its `:name` markers.
///
/// ```
/// use databricks_client::statements::{Binding, Statement};
///
/// let statement = Statement::new("1234567890abcdef", "SELECT * FROM t WHERE id = :id AND at < timestamp_millis(:at)")
///     .bind("id", Binding::text("x'; DROP TABLE t --"))
///     .bind("at", Binding::bigint(1_750_000_000_000))
///     .repeatable();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    text: &'static str,
    warehouse_id: String,
    parameters: Vec<(&'static str, Binding)>,
    row_limit: Option<u64>,
    delivery: Delivery,
    is_repeatable: bool,
}

/// A value for a marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    kind: &'static str,
    value: Option<String>,
}

impl Binding {
    /// A text.
    pub fn text(value: impl Into<String>) -> Self {
        Self { kind: "STRING", value: Some(value.into()) }
    }

    /// A whole number.
    pub fn bigint(value: i64) -> Self {
        Self { kind: "BIGINT", value: Some(value.to_string()) }
    }

    /// NULL.
    pub fn null() -> Self {
        Self { kind: "STRING", value: None }
    }
}

/// How the rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Inside of answers; Databricks gives at most 25 MiB so.
    #[default]
    Inline,
    /// From the workspace's own storage in its cloud, which has to be reached, by links that last for 15 minutes.
    ExternalLinks,
}

impl Statement {
    /// A statement for the warehouse of that id.
    pub fn new(warehouse_id: impl Into<String>, text: &'static str) -> Self {
        Self {
            text,
            warehouse_id: warehouse_id.into(),
            parameters: Vec::new(),
            row_limit: None,
            delivery: Delivery::default(),
            is_repeatable: false,
        }
    }

    /// Binds a value to a marker, whose name comes without the colon.
    #[must_use]
    pub fn bind(mut self, name: &'static str, value: Binding) -> Self {
        self.parameters.push((name, value));
        self
    }

    /// Gives at most so many rows; [`StatementRows::is_truncated`] tells when there were more.
    #[must_use]
    pub fn row_limit(mut self, rows: u64) -> Self {
        self.row_limit = Some(rows);
        self
    }

    /// How the rows come.
    #[must_use]
    pub fn delivered(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Says that it changes nothing, so that it may be sent again when nobody knows whether it arrived.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    fn body(&self) -> Value {
        let parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|(name, bound)| json!({"name": name, "type": bound.kind, "value": bound.value}))
            .collect();
        let disposition = match self.delivery {
            Delivery::Inline => "INLINE",
            Delivery::ExternalLinks => "EXTERNAL_LINKS",
        };
        let mut body = json!({
            "statement": self.text, "warehouse_id": self.warehouse_id, "parameters": parameters,
            "disposition": disposition, "format": "JSON_ARRAY",
            // The id is there at once, and with it the way to cancel.
            "wait_timeout": "0s",
        });
        if let (Some(limit), Some(body)) = (self.row_limit, body.as_object_mut()) {
            body.insert("row_limit".to_owned(), json!(limit));
        }
        body
    }
}

/// A statement that may still be running. Dropped before its end is known, it is cancelled: a warehouse that works for
/// nobody costs money.
struct Begun<'a> {
    client: &'a Client,
    id: String,
    is_settled: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, id) = (self.client.clone().with_deadline(None), std::mem::take(&mut self.id));
        let _detached = runtime.spawn(async move {
            match client.within(CANCEL_PATIENCE).cancel_statement(&id).await {
                Ok(()) => tracing::debug!(statement = id, "a statement nobody waits for is cancelled"),
                Err(error) => {
                    tracing::warn!(statement = id, %error, "a statement nobody waits for is not cancelled");
                }
            }
        });
    }
}

impl Client {
    /// Runs a statement to its end, and reads its rows, within the client's deadline.
    ///
    /// # Errors
    ///
    /// [`Error`] as its kinds say: `Invalid` when the warehouse refuses the statement or fails it for what it says,
    /// `Timeout` when it has not ended in time, `TooLarge` for rows over the limit of an answer.
    pub async fn run_statement(&self, statement: &Statement) -> Result<StatementRows, Error> {
        let deadline = self.deadline();
        let client = &self.clone().until(deadline).in_lane(Lane::Reads);
        let request =
            Request::post(STATEMENTS, &statement.body())?.safe_if(statement.is_repeatable);
        let mut answer: Response = client.call(&request).await?;
        let id = answer.checked_id()?;
        let mut begun = Begun { client, id, is_settled: false };
        let started = Instant::now();
        let mut polls = 0;
        loop {
            match answer.state() {
                "PENDING" | "RUNNING" => {}
                "SUCCEEDED" => {
                    begun.is_settled = true;
                    return result::Reading::new(client, &begun.id).read(answer, deadline).await;
                }
                "FAILED" | "CANCELED" | "CLOSED" => {
                    begun.is_settled = true;
                    return Err(answer.failure());
                }
                // Nobody knows whether it goes on.
                _ => {
                    let what = "the statement is in a state that is not known";
                    return Err(Error::new(ErrorKind::Decode, what));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(pause) = poll::pause(polls, left) else {
                let (state, since) = (answer.state(), started.elapsed().as_secs_f64());
                let what = format!("the statement is {state} after {since:.1} s");
                return Err(Error::new(ErrorKind::Timeout, what));
            };
            tokio::time::sleep(pause).await;
            polls += 1;
            answer = client
                .call(&Request::get(STATEMENTS, &[]).below(&format!("/{}", begun.id)))
                .await?;
        }
    }

    /// Asks for the end of a statement. One that has ended stays as it is.
    async fn cancel_statement(&self, id: &str) -> Result<(), Error> {
        let request =
            Request::post(STATEMENTS, &json!({}))?.safe_if(true).below(&format!("/{id}/cancel"));
        // The answer is empty or `{}`.
        self.bytes(&request).await.map(drop)
    }
}
