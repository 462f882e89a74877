//! The SQL Statement Execution API (databricks-api.md#sql-statements).
//!
//! No SQL is executed: scripts define the states and results of statements.

#![expect(clippy::indexing_slicing, reason = "assigning to a key of a JSON object does not panic")]

mod external_links;
mod parameter_markers;
mod request;
mod response;
mod script;

pub use script::{StatementOutcome, StatementRows, StatementScript, StatementSummary};

use crate::api::error::{ApiError, invalid, missing};
use axum::http::HeaderMap;
use axum::response::Response;
use request::ExecuteRequest;
use response::Chunk;
use script::StatementState;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest statement, in bytes.
const MAX_TEXT: usize = 16 * 1024 * 1024;

/// The largest inline result, in bytes.
const MAX_INLINE: usize = 25 * 1024 * 1024;

/// Warehouses, scripts and accepted statements.
#[derive(Debug)]
pub(crate) struct StatementStore(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    warehouses: BTreeSet<String>,
    /// Each with the text that a statement must contain. The latest match wins.
    scripts: Vec<(String, StatementScript)>,
    accepted: Vec<Statement>,
    /// The base URL of external links.
    link_base: String,
}

/// An accepted statement.
#[derive(Debug, Clone)]
struct Statement {
    id: String,
    request: ExecuteRequest,
    script: StatementScript,
    /// The number of polls so far.
    polls: u32,
    canceled: bool,
}

impl StatementStore {
    pub(crate) fn new(warehouses: &[String], link_base: String) -> Self {
        Self(Mutex::new(Inner {
            warehouses: warehouses.iter().cloned().collect(),
            scripts: Vec::new(),
            accepted: Vec::new(),
            link_base,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_warehouse(&self, id: String) {
        self.lock().warehouses.insert(id);
    }

    pub(crate) fn set_script(&self, containing: String, script: StatementScript) {
        let scripts = &mut self.lock().scripts;
        scripts.retain(|(text, _)| *text != containing);
        scripts.push((containing, script));
    }

    pub(crate) fn set_link_base(&self, base: String) {
        self.lock().link_base = base;
    }

    pub(crate) fn summaries(&self) -> Vec<StatementSummary> {
        self.lock().accepted.iter().map(Statement::summary).collect()
    }

    /// `POST sql/statements`.
    pub(crate) fn execute(&self, body: &Map<String, Value>) -> Result<Value, ApiError> {
        let request = ExecuteRequest::parse(body)?;
        let mut inner = self.lock();
        if !inner.warehouses.contains(&request.warehouse_id) {
            let id = &request.warehouse_id;
            return Err(missing(format!("SQL warehouse {id} does not exist.")));
        }
        let scripts = inner.scripts.iter().rev();
        let script = scripts
            .filter(|(text, _)| request.statement.contains(text))
            .map(|(_, script)| script.clone())
            .next()
            .unwrap_or_else(StatementScript::unscripted);
        let id = format!("01f0c0de-0000-1000-8000-{:012x}", inner.accepted.len() + 1);
        let waits = request.waits;
        let cancel_on_timeout = request.cancel_on_timeout;
        let mut statement = Statement { id, script, request, polls: 0, canceled: false };
        if let Some(unbound) = statement.request.unbound_marker() {
            statement.script = StatementScript::unbound_marker(&unbound);
        }
        if waits && cancel_on_timeout && statement.state() != StatementState::Finished {
            statement.canceled = true;
        }
        // With wait_timeout 0s the service responds before it starts the statement.
        let response = if waits {
            statement.response(&inner.link_base)
        } else {
            json!({"statement_id": statement.id, "status": {"state": "PENDING"}})
        };
        inner.accepted.push(statement);
        Ok(response)
    }

    /// `GET sql/statements/{id}`.
    pub(crate) fn get(&self, id: &str) -> Result<Value, ApiError> {
        let mut inner = self.lock();
        let base = inner.link_base.clone();
        let statement = inner.find(id)?;
        let response = statement.response(&base);
        statement.polls = statement.polls.saturating_add(1);
        Ok(response)
    }

    /// `POST sql/statements/{id}/cancel`. Does not change a finished statement.
    pub(crate) fn cancel(&self, id: &str) -> Result<Value, ApiError> {
        let mut inner = self.lock();
        let statement = inner.find(id)?;
        statement.canceled |= statement.state() != StatementState::Finished;
        Ok(json!({}))
    }

    /// `GET sql/statements/{id}/result/chunks/{index}`.
    pub(crate) fn chunk(&self, id: &str, index: &str) -> Result<Value, ApiError> {
        let mut inner = self.lock();
        let base = inner.link_base.clone();
        let statement = inner.find(id)?;
        let not_found = || invalid(format!("Statement {id} has no result chunk {index}."));
        let index: usize = index.parse().map_err(|_not_a_number| not_found())?;
        let chunks = statement.result().ok_or_else(not_found)?;
        let chunk = chunks.get(index).ok_or_else(not_found)?;
        Ok(statement.data(chunk, &chunks, &base))
    }

    /// Responds to a request for an external link.
    pub(crate) fn follow_link(&self, path: &str, query: &str, headers: &HeaderMap) -> Response {
        let inner = self.lock();
        let target = external_links::LinkTarget::parse(path, query);
        let found = target.and_then(|target| {
            let statement = inner.accepted.iter().find(|statement| statement.id == target.id)?;
            let chunk = statement.result()?.get(target.chunk)?.clone();
            Some((chunk, statement.script.link_headers.clone()))
        });
        external_links::respond(found, headers)
    }
}

impl Inner {
    fn find(&mut self, id: &str) -> Result<&mut Statement, ApiError> {
        let found = self.accepted.iter_mut().find(|statement| statement.id == id);
        found.ok_or_else(|| missing(format!("The statement {id} was not found.")))
    }
}

impl Statement {
    fn state(&self) -> StatementState {
        let (pending, running) = (self.script.pending_polls, self.script.running_polls);
        match self.polls {
            _ if self.canceled => StatementState::Canceled,
            polls if polls < pending => StatementState::Pending,
            polls if polls < pending.saturating_add(running) => StatementState::Running,
            _ => StatementState::Finished,
        }
    }

    /// Returns the state as the API names it.
    fn state_name(&self) -> &'static str {
        match self.state() {
            StatementState::Pending => "PENDING",
            StatementState::Running => "RUNNING",
            StatementState::Canceled => "CANCELED",
            StatementState::Finished => match &self.script.outcome {
                StatementOutcome::Rows(_) if self.is_too_large() => "FAILED",
                StatementOutcome::Rows(_) => "SUCCEEDED",
                StatementOutcome::Failed { .. } => "FAILED",
                StatementOutcome::Closed => "CLOSED",
            },
        }
    }

    fn is_too_large(&self) -> bool {
        let StatementOutcome::Rows(rows) = &self.script.outcome else { return false };
        !self.request.external_links && rows.bytes() > MAX_INLINE
    }

    /// Returns the chunks of the result, if there is one.
    fn result(&self) -> Option<Vec<Chunk>> {
        match &self.script.outcome {
            StatementOutcome::Rows(rows) if self.state_name() == "SUCCEEDED" => {
                let rows = rows.bind(&self.request.parameters);
                Some(response::chunks(rows, self.request.row_limit, self.script.rows_per_chunk))
            }
            _ => None,
        }
    }

    fn response(&self, link_base: &str) -> Value {
        let mut status = json!({"state": self.state_name()});
        let too_large = "The result is too large for disposition INLINE; ask for EXTERNAL_LINKS.";
        match &self.script.outcome {
            _ if self.state() != StatementState::Finished => {}
            StatementOutcome::Failed { error_code, message, sql_state } => {
                status["error"] = json!({"error_code": error_code, "message": message});
                status["sql_state"] = json!(sql_state);
            }
            _ if self.is_too_large() => {
                status["error"] = json!({"error_code": "BAD_REQUEST", "message": too_large});
            }
            StatementOutcome::Rows(_) | StatementOutcome::Closed => {}
        }
        let mut response = json!({"statement_id": self.id, "status": status});
        if let (Some(chunks), StatementOutcome::Rows(rows)) = (self.result(), &self.script.outcome)
        {
            let truncated = self.request.row_limit.is_some_and(|limit| rows.rows.len() > limit);
            response["manifest"] = response::manifest(&rows.columns, &chunks, truncated);
            let first = chunks.first().map(|first| self.data(first, &chunks, link_base));
            response["result"] = first.unwrap_or_else(|| json!({}));
        }
        response
    }

    fn data(&self, chunk: &Chunk, chunks: &[Chunk], link_base: &str) -> Value {
        let has_next = chunk.index + 1 < chunks.len();
        if !self.request.external_links {
            return response::inline(&self.id, chunk, has_next);
        }
        let link = external_links::link(link_base, &self.id, chunk.index);
        response::linked(&self.id, chunk, has_next, &link, &self.script.link_headers)
    }

    fn summary(&self) -> StatementSummary {
        StatementSummary {
            statement_id: self.id.clone(),
            warehouse_id: self.request.warehouse_id.clone(),
            statement: self.request.statement.clone(),
            parameters: self.request.parameters.clone(),
            state: self.state_name().to_owned(),
        }
    }
}

/// Parameter values by name. `None` is NULL.
type BoundParameters = BTreeMap<String, Option<String>>;

#[cfg(test)]
mod tests;
