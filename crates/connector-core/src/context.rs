//! Arguments of a call to a connector.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use flyteidl2::{
    connector::{CreateTaskRequest, TaskExecutionMetadata},
    core::TaskTemplate,
    task::Inputs,
};
use serde_json::{Map, Value};

use crate::{Connection, Error, TaskType, value};

/// Arguments of [`Connector::create`](crate::Connector::create).
///
/// The server makes one of each request. A test of a connector starts with [`new`](Self::new), or with a captured
/// [`CreateTaskRequest`], and sets the fields that it needs:
///
/// ```
/// use connector_core::{CreateContext, TaskType, serde_json::json};
///
/// let custom = json!({"seconds": 5}).as_object().cloned().unwrap_or_default();
/// let mut cx = CreateContext::new(TaskType::new("sleep", 0)).with_custom(&custom);
/// cx.output_prefix = "s3://bucket/run/a0/1".to_owned();
/// assert_eq!(cx.custom()?["seconds"], 5);
/// # Ok::<(), connector_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CreateContext {
    /// The task type that selected the connector.
    pub task_type: TaskType,
    /// The registered task.
    pub template: TaskTemplate,
    /// The input values. The server does not check them against the task's interface.
    pub inputs: Inputs,
    /// Directory of outputs.pb and error.pb, without a trailing slash.
    pub output_prefix: String,
    /// Execution id, attempt, labels, environment variables. Empty when the caller sent none.
    pub execution: TaskExecutionMetadata,
    /// Secrets and configuration of this call.
    pub connection: Connection,
    /// Number of earlier creates of this attempt that the server abandoned (see
    /// [`Connector::cancel_abandoned`](crate::Connector::cancel_abandoned)). Make it part of an idempotency key, so that
    /// this create does not return work that is being cancelled.
    pub abandoned_creates: u32,
    /// When the caller stops waiting, minus the time that the server needs to respond. `None`: no limit. Send no request
    /// after it.
    pub deadline: Option<Instant>,
    /// Until when `create` may wait for the response to a request that it sent before the deadline. The result is still
    /// used: it identifies work that a repeated request gets, or that is cancelled. `None`: until the deadline.
    pub response_deadline: Option<Instant>,
    /// The error for callers whose deadline passes while `create` still waits for a response.
    pub pending_error: PendingError,
}

/// The error for callers that leave before `create` has a result. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PendingError(Arc<Mutex<Option<Error>>>);

impl PendingError {
    /// Sets the error: what `create` waits for.
    pub fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Returns the error, if one was set.
    pub fn get(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl CreateContext {
    /// Creates the context of a task of this type that has nothing else: no `custom`, no inputs, no execution.
    pub fn new(task_type: TaskType) -> Self {
        let template = TaskTemplate {
            r#type: task_type.name().to_owned(),
            task_type_version: task_type.version(),
            ..TaskTemplate::default()
        };
        let request =
            CreateTaskRequest { template: Some(template), ..CreateTaskRequest::default() };
        Self { task_type, ..Self::from(request) }
    }

    /// Returns the context with this `custom` section of the template.
    #[must_use]
    pub fn with_custom(mut self, custom: &Map<String, Value>) -> Self {
        self.template.custom = Some(value::struct_from_json(custom));
        self
    }

    /// Returns the context with this connection.
    #[must_use]
    pub fn with_connection(mut self, connection: Connection) -> Self {
        self.connection = connection;
        self
    }

    /// Returns the context with this deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Returns the context with this [limit for responses](Self::response_deadline).
    #[must_use]
    pub fn with_response_deadline(mut self, response_deadline: Option<Instant>) -> Self {
        self.response_deadline = response_deadline;
        self
    }

    /// Returns the context with this [error for callers that leave](Self::pending_error).
    #[must_use]
    pub fn with_pending_error(mut self, pending_error: PendingError) -> Self {
        self.pending_error = pending_error;
        self
    }

    /// Returns the context with this number of [abandoned creates](Self::abandoned_creates).
    #[must_use]
    pub fn with_abandoned_creates(mut self, abandoned_creates: u32) -> Self {
        self.abandoned_creates = abandoned_creates;
        self
    }

    /// Returns the template's `custom` as JSON, with integral numbers as integers. Empty when there is none.
    ///
    /// # Errors
    ///
    /// `InvalidTask` when a number is not finite, which JSON cannot represent.
    pub fn custom(&self) -> Result<Map<String, Value>, Error> {
        let Some(custom) = &self.template.custom else { return Ok(Map::new()) };
        value::json_from_struct(custom).map_err(|error| {
            Error::invalid_task(format!("the task's custom section is not JSON: {error}"))
        })
    }
}

impl From<CreateTaskRequest> for CreateContext {
    /// Takes the task type from the template. Sets no deadline.
    fn from(request: CreateTaskRequest) -> Self {
        let template = request.template.unwrap_or_default();
        Self {
            task_type: TaskType::new(template.r#type.as_str(), template.task_type_version),
            template,
            inputs: request.inputs.unwrap_or_default(),
            output_prefix: request.output_prefix,
            execution: request.task_execution_metadata.unwrap_or_default(),
            connection: request.connection.map(Connection::from).unwrap_or_default(),
            abandoned_creates: 0,
            deadline: None,
            response_deadline: None,
            pending_error: PendingError::default(),
        }
    }
}

/// Arguments of every call about work that was created earlier.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CallContext {
    /// The task type that selected the connector.
    pub task_type: TaskType,
    /// Secrets and configuration of this call. Empty for logs and metrics, whose requests have no connection
    /// (flyte-contract.md#logs-and-metrics).
    pub connection: Connection,
    /// Directory of outputs.pb and error.pb. Empty except for `get`.
    pub output_prefix: String,
    /// When the caller stops waiting, minus the time that the server needs to respond. `None`: no limit.
    pub deadline: Option<Instant>,
}

impl CallContext {
    /// Creates a context without connection, output prefix and deadline.
    pub fn new(task_type: TaskType) -> Self {
        Self {
            task_type,
            connection: Connection::new(),
            output_prefix: String::new(),
            deadline: None,
        }
    }

    /// Returns the context with this connection.
    #[must_use]
    pub fn with_connection(mut self, connection: Connection) -> Self {
        self.connection = connection;
        self
    }

    /// Returns the context with this output prefix.
    #[must_use]
    pub fn with_output_prefix(mut self, output_prefix: impl Into<String>) -> Self {
        self.output_prefix = output_prefix.into();
        self
    }

    /// Returns the context with this deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }
}

impl From<CreateContext> for CallContext {
    fn from(cx: CreateContext) -> Self {
        Self {
            task_type: cx.task_type,
            connection: cx.connection,
            output_prefix: cx.output_prefix,
            deadline: cx.deadline,
        }
    }
}
