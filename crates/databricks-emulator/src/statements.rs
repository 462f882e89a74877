//! Statements for an SQL warehouse (DA §1.13). Nothing is executed: a script says what comes of a statement.

mod answer;
mod markers;
mod request;
mod script;
mod storage;

pub use script::{StatementOutcome, StatementRows, StatementScript, StatementSummary};
pub(crate) use storage::PREFIX;

use crate::refusal::{Refusal, invalid, missing};
use answer::{Chunk, put};
use axum::http::StatusCode;
use request::{Disposition, Execute, OnWaitTimeout};
use script::State;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest text of a statement, in bytes.
const MAX_TEXT: usize = 16 * 1024 * 1024;

/// The largest result that comes inside of an answer, in bytes.
const MAX_INLINE: usize = 25 * 1024 * 1024;

/// The warehouses, what they are told to answer, and what was asked of them.
#[derive(Debug)]
pub(crate) struct Statements(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    warehouses: BTreeSet<String>,
    /// By words that a statement must contain; the latest that fits is the one.
    scripts: Vec<(String, StatementScript)>,
    accepted: Vec<Statement>,
    /// What external links begin with.
    link_base: String,
}

/// One accepted statement.
#[derive(Debug, Clone)]
struct Statement {
    id: String,
    request: Execute,
    script: StatementScript,
    /// How often its state was asked for.
    polls: u32,
    canceled: bool,
}

impl Statements {
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

    pub(crate) fn script(&self, containing: String, script: StatementScript) {
        let scripts = &mut self.lock().scripts;
        scripts.retain(|(words, _)| *words != containing);
        scripts.push((containing, script));
    }

    pub(crate) fn set_link_base(&self, base: String) {
        self.lock().link_base = base;
    }

    pub(crate) fn summaries(&self) -> Vec<StatementSummary> {
        self.lock().accepted.iter().map(Statement::summary).collect()
    }

    /// `POST sql/statements`.
    pub(crate) fn execute(&self, body: &Map<String, Value>) -> Result<Value, Refusal> {
        let request = Execute::parse(body)?;
        let mut inner = self.lock();
        if !inner.warehouses.contains(&request.warehouse_id) {
            let id = &request.warehouse_id;
            return Err(missing(format!("SQL warehouse {id} does not exist.")));
        }
        let scripts = inner.scripts.iter().rev();
        let script = scripts
            .filter(|(words, _)| request.statement.contains(words))
            .map(|(_, script)| script.clone())
            .next()
            .unwrap_or_else(StatementScript::unknown);
        let id = format!("01f0c0de-0000-1000-8000-{:012x}", inner.accepted.len() + 1);
        let waits = request.waits;
        let on_wait_timeout = request.on_wait_timeout;
        let mut statement = Statement { id, script, request, polls: 0, canceled: false };
        if let Some(unbound) = statement.request.unbound() {
            statement.script = StatementScript::unbound(&unbound);
        }
        if waits && statement.state() != State::Ended && on_wait_timeout == OnWaitTimeout::Cancel {
            statement.canceled = true;
        }
        // Asked not to wait, the service answers before it has begun.
        let answer = if waits {
            statement.answer(&inner.link_base)
        } else {
            json!({"statement_id": statement.id, "status": {"state": "PENDING"}})
        };
        inner.accepted.push(statement);
        Ok(answer)
    }

    /// `GET sql/statements/{id}`.
    pub(crate) fn get(&self, id: &str) -> Result<Value, Refusal> {
        let mut inner = self.lock();
        let base = inner.link_base.clone();
        let statement = inner.find(id)?;
        let answer = statement.answer(&base);
        statement.polls = statement.polls.saturating_add(1);
        Ok(answer)
    }

    /// `POST sql/statements/{id}/cancel`. What has ended stays as it is.
    pub(crate) fn cancel(&self, id: &str) -> Result<Value, Refusal> {
        let mut inner = self.lock();
        let statement = inner.find(id)?;
        statement.canceled |= statement.state() != State::Ended;
        Ok(json!({}))
    }

    /// `GET sql/statements/{id}/result/chunks/{index}`.
    pub(crate) fn chunk(&self, id: &str, index: &str) -> Result<Value, Refusal> {
        let mut inner = self.lock();
        let base = inner.link_base.clone();
        let statement = inner.find(id)?;
        let not_there = || invalid(format!("There is no result chunk {index} of statement {id}."));
        let index: usize = index.parse().map_err(|_not_a_number| not_there())?;
        let chunks = statement.result().ok_or_else(not_there)?;
        let chunk = chunks.get(index).ok_or_else(not_there)?;
        Ok(statement.data(chunk, &chunks, &base))
    }

    /// The rows behind an external link, for a storage that answers as S3 does.
    pub(crate) fn stored(
        &self,
        path: &str,
        query: &str,
        headers: &axum::http::HeaderMap,
    ) -> storage::Stored {
        let inner = self.lock();
        let asked = storage::Asked::parse(path, query);
        let found = asked.and_then(|asked| {
            let statement = inner.accepted.iter().find(|statement| statement.id == asked.id)?;
            let chunk = statement.result()?.get(asked.chunk)?.clone();
            Some((chunk, statement.script.link_headers.clone()))
        });
        storage::answer(found, headers)
    }
}

impl Inner {
    fn find(&mut self, id: &str) -> Result<&mut Statement, Refusal> {
        let found = self.accepted.iter_mut().find(|statement| statement.id == id);
        found.ok_or_else(|| missing(format!("The statement {id} was not found.")))
    }
}

impl Statement {
    fn state(&self) -> State {
        let (pending, running) = (self.script.pending_polls, self.script.running_polls);
        match self.polls {
            _ if self.canceled => State::Canceled,
            polls if polls < pending => State::Pending,
            polls if polls < pending.saturating_add(running) => State::Running,
            _ => State::Ended,
        }
    }

    fn word(&self) -> &'static str {
        match self.state() {
            State::Pending => "PENDING",
            State::Running => "RUNNING",
            State::Canceled => "CANCELED",
            State::Ended => match &self.script.outcome {
                StatementOutcome::Rows(_) if self.is_too_large() => "FAILED",
                StatementOutcome::Rows(_) => "SUCCEEDED",
                StatementOutcome::Failed { .. } => "FAILED",
                StatementOutcome::Closed => "CLOSED",
            },
        }
    }

    fn is_too_large(&self) -> bool {
        let StatementOutcome::Rows(rows) = &self.script.outcome else { return false };
        self.request.disposition == Disposition::Inline && rows.bytes() > MAX_INLINE
    }

    /// The chunks of its result, once it has one.
    fn result(&self) -> Option<Vec<Chunk>> {
        match &self.script.outcome {
            StatementOutcome::Rows(rows) if self.word() == "SUCCEEDED" => {
                let rows = rows.bound(&self.request.parameters);
                Some(answer::chunks(rows, self.request.row_limit, self.script.rows_per_chunk))
            }
            _ => None,
        }
    }

    fn answer(&self, link_base: &str) -> Value {
        let (mut status, mut answer) = (Map::new(), Map::new());
        put(&mut status, "state", self.word());
        let too_large = "The result is too large for disposition INLINE; ask for EXTERNAL_LINKS.";
        match &self.script.outcome {
            _ if self.state() != State::Ended => {}
            StatementOutcome::Failed { error_code, message, sql_state } => {
                put(&mut status, "error", json!({"error_code": error_code, "message": message}));
                put(&mut status, "sql_state", sql_state.clone());
            }
            _ if self.is_too_large() => {
                let error = json!({"error_code": "BAD_REQUEST", "message": too_large});
                put(&mut status, "error", error);
            }
            StatementOutcome::Rows(_) | StatementOutcome::Closed => {}
        }
        put(&mut answer, "statement_id", self.id.as_str());
        put(&mut answer, "status", status);
        if let (Some(chunks), StatementOutcome::Rows(rows)) = (self.result(), &self.script.outcome)
        {
            let truncated = self.request.row_limit.is_some_and(|limit| rows.rows.len() > limit);
            put(&mut answer, "manifest", answer::manifest(&rows.columns, &chunks, truncated));
            let first = chunks.first().map(|first| self.data(first, &chunks, link_base));
            put(&mut answer, "result", first.unwrap_or_else(|| json!({})));
        }
        Value::Object(answer)
    }

    fn data(&self, chunk: &Chunk, chunks: &[Chunk], link_base: &str) -> Value {
        let has_next = chunk.index + 1 < chunks.len();
        match self.request.disposition {
            Disposition::Inline => answer::inline(&self.id, chunk, has_next),
            Disposition::ExternalLinks => {
                let link = storage::link(link_base, &self.id, chunk.index);
                answer::linked(&self.id, chunk, has_next, &link, &self.script.link_headers)
            }
        }
    }

    fn summary(&self) -> StatementSummary {
        StatementSummary {
            statement_id: self.id.clone(),
            warehouse_id: self.request.warehouse_id.clone(),
            statement: self.request.statement.clone(),
            parameters: self.request.parameters.clone(),
            state: self.word().to_owned(),
        }
    }
}

/// What is bound to the names of a statement; none for NULL.
type Bound = BTreeMap<String, Option<String>>;

/// 400 for a text over the limit of DA §1.13.
fn too_long() -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        error_code: "INVALID_PARAMETER_VALUE",
        message: format!("The statement is longer than {MAX_TEXT} bytes."),
    }
}

#[cfg(test)]
mod tests;
