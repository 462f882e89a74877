//! One call from its arrival to its answer: deadline, task type, log line, numbers.

use std::{borrow::Cow, sync::Arc, time::Duration};

use connector_core::{ConnectorHandle, Error, ErrorKind, Phase, Registry, TaskType};
use flyteidl2::core::TaskExecutionIdentifier;
use tokio::time::Instant;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tonic::{Code, Request, Response, Status};
use tracing::{Span, field};

use crate::{
    deadline::Deadline,
    metrics::{Abandoned, Metrics, Operation, UNKNOWN},
    service::Creations,
    status, traces,
    transport::{Arrived, Room},
};

/// What the calls of one server share.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    registry: Registry,
    metrics: Arc<Metrics>,
    tracker: TaskTracker,
    creations: Creations,
    default_timeout: Duration,
}

impl Calls {
    pub(crate) fn new(
        registry: Registry,
        metrics: Arc<Metrics>,
        tracker: TaskTracker,
        creations: Creations,
        default_timeout: Duration,
    ) -> Self {
        Self { registry, metrics, tracker, creations, default_timeout }
    }

    /// Every task that is being created.
    pub(super) fn creations(&self) -> &Creations {
        &self.creations
    }

    /// What a drain waits for.
    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// A call has come. A drain waits until it is answered.
    pub(super) fn begin<T>(&self, operation: Operation, request: &Request<T>) -> Call {
        let started = request
            .extensions()
            .get::<Arrived>()
            .map_or_else(Instant::now, |Arrived(at)| (*at).into());
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
            // The connector fills these in (`connector_core::Connector`).
            workspace = field::Empty,
            run_id = field::Empty,
            attempts = field::Empty,
        );
        traces::accept(&span, request.metadata());
        Call {
            calls: self.clone(),
            operation,
            deadline: Deadline::of(
                request.metadata().as_ref(),
                started.into_std(),
                self.default_timeout,
            ),
            started,
            task_type: None,
            phase: None,
            span,
            answered: false,
            room: request.extensions().get::<Room>().cloned(),
            _in_flight: self.tracker.token(),
        }
    }
}

/// A call that is not answered yet. Dropped before it is answered, it counts as one whose caller went away.
#[derive(Debug)]
pub(super) struct Call {
    calls: Calls,
    operation: Operation,
    deadline: Deadline,
    started: Instant,
    /// Only once a connector was found for it.
    task_type: Option<TaskType>,
    phase: Option<Phase>,
    span: Span,
    answered: bool,
    room: Option<Room>,
    _in_flight: TaskTrackerToken,
}

impl Call {
    /// The connector of that task type. From here on the call is counted under it.
    ///
    /// # Errors
    ///
    /// `NotFound`, with what this server has.
    pub(super) fn find(
        &mut self,
        task_type: Option<TaskType>,
    ) -> Result<(ConnectorHandle, TaskType), Error> {
        let Some(task_type) = task_type.filter(|task_type| !task_type.name().is_empty()) else {
            return Err(Error::not_found("the request names no task type").with_hint(self.served()));
        };
        let Some(connector) = self.calls.registry.find(&task_type) else {
            let message = format!("no connector for task type {}", shortened(&task_type));
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
            "this server has none".to_owned()
        } else {
            format!("this server has {}", served.join(", "))
        }
    }

    /// Names the attempt in the log.
    pub(super) fn names(&self, attempt: Option<&TaskExecutionIdentifier>) {
        let Some(attempt) = attempt else { return };
        self.span.record("flyte.attempt", attempt.retry_attempt);
        let Some(action) = &attempt.node_execution_id else { return };
        self.span.record("flyte.action", action.node_id.as_str());
        let Some(run) = &action.execution_id else { return };
        self.span.record("flyte.project", run.project.as_str());
        self.span.record("flyte.domain", run.domain.as_str());
        self.span.record("flyte.run", run.name.as_str());
    }

    /// Notes the size of a task's inputs.
    pub(super) fn inputs(&self, bytes: usize) {
        self.calls.metrics.inputs(self.label(), bytes);
    }

    /// Counts what becomes of work that nobody got, long after the call.
    pub(super) fn abandonments(&self) -> impl FnOnce(Abandoned) + Send + 'static {
        let (metrics, task_type) = (Arc::clone(&self.calls.metrics), self.label());
        move |fate| metrics.abandoned(task_type, fate)
    }

    /// Notes the phase that is answered.
    pub(super) fn phase(&mut self, phase: Phase) {
        self.phase = Some(phase);
    }

    /// What its message takes, to be held by work that outlives the call.
    pub(super) fn room(&self) -> Option<Room> {
        self.room.clone()
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Answers the call: one log line, and the numbers.
    pub(super) fn answer<T>(mut self, answer: Result<T, Error>) -> Result<Response<T>, Status> {
        self.answered = true;
        let code = answer.as_ref().map_or_else(|error| status::code(error.kind()), |_| Code::Ok);
        self.finish(code, answer.as_ref().err());
        answer.map(Response::new).map_err(|error| status::from_error(&error))
    }

    fn finish(&self, code: Code, error: Option<&Error>) {
        let took = self.started.elapsed();
        self.calls.metrics.call(self.operation, self.label(), code, took);
        traces::record_code(&self.span, code);
        let _in_span = self.span.enter();
        let code = status::code_name(code);
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let phase = self.phase.map(field::debug);
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
        if !self.answered {
            self.finish(Code::Cancelled, None);
        }
    }
}

/// A task type that nobody serves may be of any length.
fn shortened(task_type: &TaskType) -> String {
    const MOST: usize = 100;
    let name = task_type.name();
    match name.char_indices().nth(MOST) {
        None => task_type.to_string(),
        Some(_) => TaskType::new(
            name.chars().take(MOST).chain(['…']).collect::<String>(),
            task_type.version(),
        )
        .to_string(),
    }
}
