//! The gRPC service that creates, gets and deletes tasks.

use std::time::{Duration, SystemTime};

use connector_core::{CallContext, Connection, Error, LogsRequest, MetricsRequest, TaskType};
use flyteidl2::{
    connector::{
        CreateTaskRequest, CreateTaskResponse, DeleteTaskRequest, DeleteTaskResponse,
        GetTaskLogsRequest, GetTaskLogsResponse, GetTaskMetricsRequest, GetTaskMetricsResponse,
        GetTaskRequest, GetTaskResponse, async_connector_service_server::AsyncConnectorService,
    },
    core::ExecutionMetricResult,
};
use prost_types::Timestamp;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{
    call::{Call, Calls},
    create_dedup::{self, Begun},
    guard::with_deadline,
    log_stream::{self, LogStream},
};
use crate::metrics::Operation;

/// `AsyncConnectorService` over a registry.
#[derive(Debug)]
pub(crate) struct AsyncConnector {
    calls: Calls,
}

impl AsyncConnector {
    pub(crate) fn new(calls: Calls) -> Self {
        Self { calls }
    }

    /// Creates a task in the background, so that it continues without its caller (`docs/adr/0003-create-is-detached.md`).
    /// Shutdown waits for it.
    async fn create(
        &self,
        call: &mut Call,
        request: CreateTaskRequest,
    ) -> Result<CreateTaskResponse, Error> {
        if let Some(execution) = &request.task_execution_metadata {
            call.record_attempt(execution.task_execution_id.as_ref());
        }
        let task_type = request
            .template
            .as_ref()
            .map(|task| TaskType::new(task.r#type.as_str(), task.task_type_version));
        let found = call.find(task_type);
        call.observe_inputs(request.inputs.as_ref().map_or(0, prost::Message::encoded_len));
        let (connector, task_type) = found?;
        let answer_by = call.deadline().answer.into();
        let waiter = match self.calls.create_dedup().begin(request, answer_by).await? {
            Begun::Joined(waiter) => {
                tracing::info!("joined an identical request in flight");
                waiter
            }
            Begun::Started(waiter, ticket) => {
                let cx = ticket.context(task_type, call.deadline().connector);
                let work = create_dedup::run(ticket, connector, cx, call.orphan_counter());
                let memory = call.memory();
                let work = async move {
                    work.await;
                    drop(memory);
                };
                self.calls.tracker().spawn(work.instrument(call.span()));
                waiter
            }
        };
        Ok(CreateTaskResponse { resource_meta: waiter.wait(answer_by).await? })
    }
}

async fn get(call: &mut Call, request: GetTaskRequest) -> Result<GetTaskResponse, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let cx = call_context(call, task_type)
        .with_connection(request.connection.map(Connection::from).unwrap_or_default())
        .with_output_prefix(request.output_prefix);
    let resource =
        with_deadline(call.deadline().answer, connector.get(cx, &request.resource_meta)).await?;
    call.set_phase(resource.phase);
    Ok(GetTaskResponse { resource: Some(resource.into()) })
}

async fn delete(call: &mut Call, request: DeleteTaskRequest) -> Result<DeleteTaskResponse, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let cx = call_context(call, task_type)
        .with_connection(request.connection.map(Connection::from).unwrap_or_default());
    with_deadline(call.deadline().answer, connector.delete(cx, &request.resource_meta)).await?;
    Ok(DeleteTaskResponse {})
}

async fn metrics(
    call: &mut Call,
    request: GetTaskMetricsRequest,
) -> Result<GetTaskMetricsResponse, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let start = time("start_time", request.start_time)?;
    let end = time("end_time", request.end_time)?;
    let query = MetricsRequest::new(request.queries)
        .with_range(start, end)
        .with_step(request.step.map(step).transpose()?);
    let cx = call_context(call, task_type);
    let metrics = with_deadline(
        call.deadline().answer,
        connector.get_metrics(cx, &request.resource_meta, query),
    )
    .await?;
    let results = metrics
        .into_iter()
        .map(|metric| ExecutionMetricResult {
            data: Some(metric.to_range_query_result()),
            metric: metric.name,
        })
        .collect();
    Ok(GetTaskMetricsResponse { results })
}

async fn logs(
    call: &mut Call,
    request: GetTaskLogsRequest,
) -> Result<Vec<GetTaskLogsResponse>, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let query = LogsRequest::new(request.lines, request.token);
    let cx = call_context(call, task_type);
    let page = with_deadline(
        call.deadline().answer,
        connector.get_logs(cx, &request.resource_meta, query),
    )
    .await?;
    Ok(log_stream::messages(page))
}

/// Returns a context without connection and output prefix.
fn call_context(call: &Call, task_type: TaskType) -> CallContext {
    CallContext::new(task_type).with_deadline(Some(call.deadline().connector))
}

fn time(field: &str, wire: Option<Timestamp>) -> Result<Option<SystemTime>, Error> {
    wire.map(SystemTime::try_from).transpose().map_err(|error| {
        Error::invalid_request(format!("{field} is not a time")).with_source(error)
    })
}

fn step(wire: prost_types::Duration) -> Result<Duration, Error> {
    Duration::try_from(wire)
        .map_err(|_negative| Error::invalid_request("step is not a positive duration"))
}

#[tonic::async_trait]
impl AsyncConnectorService for AsyncConnector {
    async fn create_task(
        &self,
        request: Request<CreateTaskRequest>,
    ) -> Result<Response<CreateTaskResponse>, Status> {
        let mut call = self.calls.begin(Operation::Create, &request);
        let span = call.span();
        let result = self.create(&mut call, request.into_inner()).instrument(span).await;
        call.respond(result)
    }

    async fn get_task(
        &self,
        request: Request<GetTaskRequest>,
    ) -> Result<Response<GetTaskResponse>, Status> {
        let mut call = self.calls.begin(Operation::Get, &request);
        let span = call.span();
        let result = get(&mut call, request.into_inner()).instrument(span).await;
        call.respond(result)
    }

    async fn delete_task(
        &self,
        request: Request<DeleteTaskRequest>,
    ) -> Result<Response<DeleteTaskResponse>, Status> {
        let mut call = self.calls.begin(Operation::Delete, &request);
        let span = call.span();
        let result = delete(&mut call, request.into_inner()).instrument(span).await;
        call.respond(result)
    }

    async fn get_task_metrics(
        &self,
        request: Request<GetTaskMetricsRequest>,
    ) -> Result<Response<GetTaskMetricsResponse>, Status> {
        let mut call = self.calls.begin(Operation::Metrics, &request);
        let span = call.span();
        let result = metrics(&mut call, request.into_inner()).instrument(span).await;
        call.respond(result)
    }

    type GetTaskLogsStream = LogStream;

    async fn get_task_logs(
        &self,
        request: Request<GetTaskLogsRequest>,
    ) -> Result<Response<LogStream>, Status> {
        let mut call = self.calls.begin(Operation::Logs, &request);
        let span = call.span();
        let result = logs(&mut call, request.into_inner()).instrument(span).await;
        let in_flight = self.calls.tracker().token();
        call.respond(result.map(|messages| LogStream::new(messages, in_flight)))
    }
}
