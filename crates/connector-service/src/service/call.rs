//! What all calls share, from arrival to response: deadline, lookup of the connector, log line, metrics.

use std::{borrow::Cow, sync::Arc, time::Duration};

use connector_core::{CallContext, ConnectorHandle, Error, ErrorKind, Phase, Registry, TaskType};
use flyteidl2::core::TaskExecutionIdentifier;
use tokio::time::Instant;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tonic::{Code, Request, Response, Status};
use tracing::{Span, field};

use super::{CreateDedup, guard::with_deadline};
use crate::{
    deadline::Deadline,
    metrics::{Metrics, Operation, OrphanOutcome, UNKNOWN},
    status, traces,
    transport::{CallInfo, MemoryPermit},
};

/// State shared by all calls of a server.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<Metrics>,
    /// Calls and background tasks, which shutdown waits for.
    pub(crate) tracker: TaskTracker,
    pub(crate) create_dedup: CreateDedup,
    pub(crate) default_timeout: Duration,
}

impl Calls {
    /// Begins a call, and returns its span as well. Shutdown waits for it.
    pub(super) fn begin<T>(&self, operation: Operation, request: &Request<T>) -> (Call, Span) {
        let started = request
            .extensions()
            .get::<CallInfo>()
            .map_or_else(Instant::now, |info| info.arrived.into());
        let span = tracing::info_span!(
            "rpc",
            otel.kind = field::Empty,
            rpc.method = operation.method(),
            flyte.task_type = field::Empty,
            flyte.project = field::Empty,
            flyte.domain = field::Empty,
            flyte.run = field::Empty,
            flyte.action = field::Empty,
            flyte.attempt = field::Empty,
            // Recorded by the connector (see `connector_core::Connector`).
            workspace = field::Empty,
            run_id = field::Empty,
            requests = field::Empty,
        );
        traces::accept(&span, request.metadata());
        let call = Call {
            calls: self.clone(),
            operation,
            deadline: Deadline::of(
                operation.method(),
                request.metadata().as_ref(),
                started.into_std(),
                self.default_timeout,
            ),
            started,
            task_type: None,
            phase: None,
            span: span.clone(),
            responded: false,
            memory: request.extensions().get::<MemoryPermit>().cloned(),
            _in_flight: self.tracker.token(),
        };
        (call, span)
    }
}

/// A call in progress. Dropped without a response, it counts as cancelled by its caller.
#[derive(Debug)]
pub(super) struct Call {
    calls: Calls,
    operation: Operation,
    pub(super) deadline: Deadline,
    started: Instant,
    /// None until a connector is found.
    task_type: Option<TaskType>,
    /// The phase for the log line.
    pub(super) phase: Option<Phase>,
    pub(super) span: Span,
    responded: bool,
    /// The memory of the request, held by background tasks that keep the message.
    pub(super) memory: Option<MemoryPermit>,
    _in_flight: TaskTrackerToken,
}

impl Call {
    /// Returns the connector of a task type. Metrics of the call have this task type from now on.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the task types of this server.
    pub(super) fn find(
        &mut self,
        task_type: Option<TaskType>,
    ) -> Result<(ConnectorHandle, TaskType), Error> {
        let Some(task_type) = task_type.filter(|task_type| !task_type.name().is_empty()) else {
            return Err(Error::not_found("the request names no task type").with_hint(self.served()));
        };
        let Some(connector) = self.calls.registry.find(&task_type) else {
            let message = format!("no connector for task type {}", truncated(&task_type));
            return Err(Error::not_found(message).with_hint(self.served()));
        };
        self.span.record("flyte.task_type", task_type.name());
        self.task_type = Some(task_type.clone());
        Ok((connector.clone(), task_type))
    }

    fn served(&self) -> String {
        let served: Vec<String> =
            self.calls.registry.task_types().map(ToString::to_string).collect();
        if served.is_empty() {
            "this server serves no task type".to_owned()
        } else {
            format!("this server serves {}", served.join(", "))
        }
    }

    /// Records the attempt in the span.
    pub(super) fn record_attempt(&self, attempt: Option<&TaskExecutionIdentifier>) {
        let Some(attempt) = attempt else { return };
        // Counted from 1, as in Flyte's labels and output folders.
        self.span.record("flyte.attempt", attempt.retry_attempt.saturating_add(1));
        let Some(action) = &attempt.node_execution_id else { return };
        self.span.record("flyte.action", action.node_id.as_str());
        let Some(run) = &action.execution_id else { return };
        self.span.record("flyte.project", run.project.as_str());
        self.span.record("flyte.domain", run.domain.as_str());
        self.span.record("flyte.run", run.name.as_str());
    }

    /// Observes the size of a task's inputs.
    pub(super) fn observe_inputs(&self, bytes: usize) {
        self.calls.metrics.inputs(self.label(), bytes);
    }

    /// Returns a function that counts the outcome of an orphan, usable after the call.
    pub(super) fn orphan_counter(&self) -> impl FnOnce(OrphanOutcome) + Send + 'static {
        let (metrics, task_type) = (Arc::clone(&self.calls.metrics), self.label());
        move |outcome| metrics.orphan(task_type, outcome)
    }

    /// Returns a context without connection and output prefix.
    pub(super) fn context(&self, task_type: TaskType) -> CallContext {
        CallContext::new(task_type).with_deadline(Some(self.deadline.connector))
    }

    /// Runs a connector's future until the server must respond.
    pub(super) async fn within_deadline<T>(
        &self,
        future: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        with_deadline(self.deadline.response, future).await
    }

    /// Ends the call: writes its log line, counts it, and converts the result.
    pub(super) fn respond<T>(mut self, result: Result<T, Error>) -> Result<Response<T>, Status> {
        self.responded = true;
        let code = result.as_ref().map_or_else(|error| status::code(error.kind()), |_| Code::Ok);
        self.finish(code, result.as_ref().err());
        result.map(Response::new).map_err(|error| status::from_error(&error))
    }

    fn finish(&self, code: Code, error: Option<&Error>) {
        let duration = self.started.elapsed();
        self.calls.metrics.call(self.operation, self.label(), code, duration);
        traces::record_code(&self.span, code);
        let _in_span = self.span.enter();
        let code = status::code_name(code);
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let phase = self.phase.map(Phase::flyte_name);
        match error {
            None => {
                tracing::info!(rpc.code = code, flyte.phase = phase, duration_ms, "call answered");
            }
            Some(error) => {
                let (message, detail) = (status::message(error), error.detail());
                if error.kind() == ErrorKind::Internal {
                    tracing::error!(
                        rpc.code = code,
                        duration_ms,
                        error = message,
                        detail,
                        "call answered with an error"
                    );
                } else {
                    tracing::warn!(
                        rpc.code = code,
                        duration_ms,
                        error = message,
                        detail,
                        "call answered with an error"
                    );
                }
            }
        }
    }

    fn label(&self) -> Cow<'static, str> {
        self.task_type
            .as_ref()
            .map_or(Cow::Borrowed(UNKNOWN), |task_type| Cow::Owned(task_type.name().to_owned()))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.responded {
            self.finish(Code::Cancelled, None);
        }
    }
}

/// Truncates a task type from a request, which may have any length.
fn truncated(task_type: &TaskType) -> String {
    const MAX_CHARS: usize = 100;
    let name = task_type.name();
    match name.char_indices().nth(MAX_CHARS) {
        None => task_type.to_string(),
        Some(_) => TaskType::new(
            name.chars().take(MAX_CHARS).chain(['…']).collect::<String>(),
            task_type.version(),
        )
        .to_string(),
    }
}
