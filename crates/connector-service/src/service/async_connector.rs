//! The gRPC service that creates, gets and deletes tasks.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use connector_core::{Connection, Error, ErrorKind, LogsRequest, MetricsRequest, TaskType};
use flyteidl2::{
    connector::{
        CreateTaskRequest, CreateTaskResponse, DeleteTaskRequest, DeleteTaskResponse,
        GetTaskLogsRequest, GetTaskLogsResponse, GetTaskMetricsRequest, GetTaskMetricsResponse,
        GetTaskRequest, GetTaskResponse, async_connector_service_server::AsyncConnectorService,
    },
    core::ExecutionMetricResult,
};
use prost_types::Timestamp;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use super::{
    call::{Call, Calls},
    create_dedup::{self, Begun, MIN_CREATE_TIME, Waited},
    log_stream::{self, LogStream},
};
use crate::metrics::Operation;

/// The error of a creation that was not started.
fn too_little_time(left: Duration) -> Error {
    let message = format!(
        "nothing was started: only {} ms of the caller's time were left for it",
        left.as_millis()
    );
    Error::new(ErrorKind::DeadlineExceeded, message)
        .with_hint("set a longer `defaultTimeout` in the executor's plugins.connector-service")
}

/// `AsyncConnectorService` over a registry.
#[derive(Debug)]
pub(crate) struct AsyncConnector {
    pub(crate) calls: Calls,
}

impl AsyncConnector {
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
        let left =
            Instant::from_std(call.deadline.connector).saturating_duration_since(Instant::now());
        if left < MIN_CREATE_TIME {
            return Err(too_little_time(left));
        }
        let respond_by = call.deadline.response.into();
        let mut request = Arc::new(create_dedup::with_sorted_inputs(request));
        loop {
            let waiter = match self.calls.create_dedup.begin(request, respond_by).await? {
                Begun::Joined(waiter) => {
                    tracing::info!("joined an identical request in flight");
                    waiter
                }
                Begun::Started(waiter, ticket) => {
                    let cx = ticket.context(task_type.clone(), call.deadline.connector);
                    let work =
                        create_dedup::run(ticket, connector.clone(), cx, call.orphan_counter());
                    let memory = call.memory.clone();
                    let work = async move {
                        work.await;
                        drop(memory);
                    };
                    self.calls.tracker.spawn(work.instrument(call.span.clone()));
                    waiter
                }
            };
            match waiter.wait(respond_by).await {
                Waited::Response(outcome) => {
                    return Ok(CreateTaskResponse { resource_meta: outcome? });
                }
                Waited::Again(same) => request = same,
            }
        }
    }
}

async fn get(call: &mut Call, request: GetTaskRequest) -> Result<GetTaskResponse, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let cx = call
        .context(task_type)
        .with_connection(request.connection.map(Connection::from).unwrap_or_default())
        .with_output_prefix(request.output_prefix);
    let resource = call.within_deadline(connector.get(cx, &request.resource_meta)).await?;
    call.phase = Some(resource.phase);
    Ok(GetTaskResponse { resource: Some(resource.into()) })
}

async fn delete(call: &mut Call, request: DeleteTaskRequest) -> Result<DeleteTaskResponse, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let cx = call
        .context(task_type)
        .with_connection(request.connection.map(Connection::from).unwrap_or_default());
    call.within_deadline(connector.delete(cx, &request.resource_meta)).await?;
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
    let reading = connector.get_metrics(call.context(task_type), &request.resource_meta, query);
    let metrics = call.within_deadline(reading).await?.into_iter();
    let results = metrics.map(|metric| ExecutionMetricResult {
        data: Some(metric.to_range_query_result()),
        metric: metric.name,
    });
    Ok(GetTaskMetricsResponse { results: results.collect() })
}

async fn logs(
    call: &mut Call,
    request: GetTaskLogsRequest,
) -> Result<Vec<GetTaskLogsResponse>, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let query = LogsRequest::new(request.lines, request.token);
    let reading = connector.get_logs(call.context(task_type), &request.resource_meta, query);
    Ok(log_stream::messages(call.within_deadline(reading).await?))
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
        let (mut call, span) = self.calls.begin(Operation::Create, &request);
        let result = self.create(&mut call, request.into_inner()).instrument(span).await;
        call.respond(result)
    }

    async fn get_task(
        &self,
        request: Request<GetTaskRequest>,
    ) -> Result<Response<GetTaskResponse>, Status> {
        let (mut call, span) = self.calls.begin(Operation::Get, &request);
        let result = get(&mut call, request.into_inner()).instrument(span).await;
        call.respond(result)
    }

    async fn delete_task(
        &self,
        request: Request<DeleteTaskRequest>,
    ) -> Result<Response<DeleteTaskResponse>, Status> {
        let (mut call, span) = self.calls.begin(Operation::Delete, &request);
        let result = delete(&mut call, request.into_inner()).instrument(span).await;
        call.respond(result)
    }

    async fn get_task_metrics(
        &self,
        request: Request<GetTaskMetricsRequest>,
    ) -> Result<Response<GetTaskMetricsResponse>, Status> {
        let (mut call, span) = self.calls.begin(Operation::Metrics, &request);
        let result = metrics(&mut call, request.into_inner()).instrument(span).await;
        call.respond(result)
    }

    type GetTaskLogsStream = LogStream;

    async fn get_task_logs(
        &self,
        request: Request<GetTaskLogsRequest>,
    ) -> Result<Response<LogStream>, Status> {
        let (mut call, span) = self.calls.begin(Operation::Logs, &request);
        let result = logs(&mut call, request.into_inner()).instrument(span).await;
        let in_flight = self.calls.tracker.token();
        call.respond(result.map(|messages| LogStream::new(messages, in_flight)))
    }
}
