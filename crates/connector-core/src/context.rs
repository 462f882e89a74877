//! What a connector is told with each call.

use std::time::Instant;

use flyteidl2::{connector::TaskExecutionMetadata, core::TaskTemplate, task::Inputs};
use serde_json::{Map, Value};

use crate::{Connection, Error, TaskType, value};

/// Everything that comes with a request to start work.
#[derive(Debug, Clone)]
pub struct CreateContext {
    /// The type under which the connector was found.
    pub task_type: TaskType,
    /// The registered task.
    pub template: TaskTemplate,
    /// The values of its inputs. Their types are not checked against the interface.
    pub inputs: Inputs,
    /// Where outputs.pb or error.pb will lie, without a final slash.
    pub output_prefix: String,
    /// Who runs the task: execution id, attempt, labels, environment. Empty when the caller sent none.
    pub execution: TaskExecutionMetadata,
    /// Secrets and settings of this call.
    pub connection: Connection,
    /// How often the work of this very attempt was given up before (see [`Connector::abandon`](crate::Connector::abandon)).
    /// What was given up must not come back as the work of this request.
    pub abandoned: u32,
    /// When the caller stops waiting, less what the server needs to answer. None: the caller set no limit.
    pub deadline: Option<Instant>,
}

impl CreateContext {
    /// The task's `custom` as JSON, with integral numbers as integers. Empty when the task has none.
    ///
    /// # Errors
    ///
    /// `InvalidTask` when a number in it is not finite, which JSON cannot hold.
    pub fn custom(&self) -> Result<Map<String, Value>, Error> {
        let Some(custom) = &self.template.custom else { return Ok(Map::new()) };
        value::json_from_struct(custom).map_err(|error| {
            Error::invalid_task(format!("the task's custom section is not JSON: {error}"))
        })
    }
}

/// What comes with every later call.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The type under which the connector was found.
    pub task_type: TaskType,
    /// Secrets and settings of this call. Empty for logs and metrics, whose requests carry none (FC §1.8).
    pub connection: Connection,
    /// Where outputs.pb or error.pb lies. Only `get` is told; otherwise empty.
    pub output_prefix: String,
    /// When the caller stops waiting, less what the server needs to answer. None: the caller set no limit.
    pub deadline: Option<Instant>,
}

impl From<CreateContext> for CallContext {
    /// The context of a later call about the work of that request, which has the same caller.
    fn from(cx: CreateContext) -> Self {
        Self {
            task_type: cx.task_type,
            connection: cx.connection,
            output_prefix: cx.output_prefix,
            deadline: cx.deadline,
        }
    }
}
