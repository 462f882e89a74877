//! The service that runs tasks.

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
    creations::{self, Begun},
    log_stream::{self, LogStream},
    outcome::guarded,
};
use crate::metrics::Operation;

/// The service over a registry.
#[derive(Debug)]
pub(crate) struct AsyncConnector {
    calls: Calls,
}

impl AsyncConnector {
    pub(crate) fn new(calls: Calls) -> Self {
        Self { calls }
    }

    /// The work goes on when its caller is gone or was told that time ran out (DESIGN §3.1), and a drain waits for it.
    async fn create(
        &self,
        call: &mut Call,
        request: CreateTaskRequest,
    ) -> Result<CreateTaskResponse, Error> {
        if let Some(execution) = &request.task_execution_metadata {
            call.names(execution.task_execution_id.as_ref());
        }
        let task_type = request
            .template
            .as_ref()
            .map(|task| TaskType::new(task.r#type.as_str(), task.task_type_version));
        let found = call.find(task_type);
        call.inputs(request.inputs.as_ref().map_or(0, prost::Message::encoded_len));
        let (connector, task_type) = found?;
        let answer_at = call.deadline().answer.into();
        let caller = match self.calls.creations().begin(request, answer_at).await? {
            Begun::Joined(caller) => {
                tracing::info!("the same task is being created already");
                caller
            }
            Begun::Started(caller, ticket) => {
                let cx = ticket.context(task_type, call.deadline().connector);
                let work = creations::carry_out(ticket, connector, cx, call.abandonments());
                let room = call.room();
                let work = async move {
                    work.await;
                    drop(room);
                };
                self.calls.tracker().spawn(work.instrument(call.span()));
                caller
            }
        };
        Ok(CreateTaskResponse { resource_meta: caller.answer(answer_at).await? })
    }
}

async fn get(call: &mut Call, request: GetTaskRequest) -> Result<GetTaskResponse, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let cx = later_context(call, task_type)
        .with_connection(request.connection.map(Connection::from).unwrap_or_default())
        .with_output_prefix(request.output_prefix);
    let resource =
        guarded(call.deadline().answer, connector.get(cx, &request.resource_meta)).await?;
    call.phase(resource.phase);
    Ok(GetTaskResponse { resource: Some(resource.into()) })
}

async fn delete(call: &mut Call, request: DeleteTaskRequest) -> Result<DeleteTaskResponse, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let cx = later_context(call, task_type)
        .with_connection(request.connection.map(Connection::from).unwrap_or_default());
    guarded(call.deadline().answer, connector.delete(cx, &request.resource_meta)).await?;
    Ok(DeleteTaskResponse {})
}

async fn metrics(
    call: &mut Call,
    request: GetTaskMetricsRequest,
) -> Result<GetTaskMetricsResponse, Error> {
    let (connector, task_type) = call.find(request.task_category.map(TaskType::from))?;
    let start = time("start_time", request.start_time)?;
    let end = time("end_time", request.end_time)?;
    let asked = MetricsRequest::new(request.queries)
        .with_range(start, end)
        .with_step(request.step.map(step).transpose()?);
    let cx = later_context(call, task_type);
    let found =
        guarded(call.deadline().answer, connector.get_metrics(cx, &request.resource_meta, asked))
            .await?;
    let results = found
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
    let asked = LogsRequest::new(request.lines, request.token);
    let cx = later_context(call, task_type);
    let page =
        guarded(call.deadline().answer, connector.get_logs(cx, &request.resource_meta, asked))
            .await?;
    Ok(log_stream::messages(page))
}

/// The context of a call that brings neither a connection nor an output prefix.
fn later_context(call: &Call, task_type: TaskType) -> CallContext {
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
        let answer = self.create(&mut call, request.into_inner()).instrument(span).await;
        call.answer(answer)
    }

    async fn get_task(
        &self,
        request: Request<GetTaskRequest>,
    ) -> Result<Response<GetTaskResponse>, Status> {
        let mut call = self.calls.begin(Operation::Get, &request);
        let span = call.span();
        let answer = get(&mut call, request.into_inner()).instrument(span).await;
        call.answer(answer)
    }

    async fn delete_task(
        &self,
        request: Request<DeleteTaskRequest>,
    ) -> Result<Response<DeleteTaskResponse>, Status> {
        let mut call = self.calls.begin(Operation::Delete, &request);
        let span = call.span();
        let answer = delete(&mut call, request.into_inner()).instrument(span).await;
        call.answer(answer)
    }

    async fn get_task_metrics(
        &self,
        request: Request<GetTaskMetricsRequest>,
    ) -> Result<Response<GetTaskMetricsResponse>, Status> {
        let mut call = self.calls.begin(Operation::Metrics, &request);
        let span = call.span();
        let answer = metrics(&mut call, request.into_inner()).instrument(span).await;
        call.answer(answer)
    }

    type GetTaskLogsStream = LogStream;

    async fn get_task_logs(
        &self,
        request: Request<GetTaskLogsRequest>,
    ) -> Result<Response<LogStream>, Status> {
        let mut call = self.calls.begin(Operation::Logs, &request);
        let span = call.span();
        let answer = logs(&mut call, request.into_inner()).instrument(span).await;
        let in_flight = self.calls.tracker().token();
        call.answer(answer.map(|messages| LogStream::new(messages, in_flight)))
    }
}
