//! The client of the demo: makes the calls of Flyte's executor for one task and records the responses.

use std::{io, time::Duration};

use flyteidl2::{
    connector::{
        CreateTaskRequest, DeleteTaskRequest, GetTaskLogsRequest, GetTaskLogsResponse,
        GetTaskRequest, TaskCategory, get_task_logs_response::Part,
    },
    core::{Connection, task_execution::Phase},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tonic::{Request, Status, Streaming};

use super::{
    event::{Created, Event, Response, is_terminal},
    harness::{BoxError, Client, Harness, TASK_TOKEN},
    outcome::Outcome,
    output::Output,
    request::{self, Target},
    scenario::Scenario,
};

/// Interval between two `GetTask` calls. Flyte's executor waits several seconds.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Deadline of each call, as Flyte's default connector has it.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit of a scenario.
const SCENARIO_LIMIT: Duration = Duration::from_secs(12);

/// `GetTask` responses with RUNNING before an aborted task is deleted.
const POLLS_BEFORE_ABORT: u32 = 3;

/// Runs a scenario until it is complete or a call fails.
pub(super) async fn run(
    scenario: &Scenario,
    harness: &Harness,
    output: &mut Output,
) -> Result<Outcome, BoxError> {
    let workspace = harness.emulator.https_host();
    let target = Target { workspace: &workspace, run_name: scenario.run_name, token: TASK_TOKEN };
    let request = request::retarget(scenario.captured, target)?;
    harness.emulator.set_script(scenario.run_name, scenario.script.clone());
    let mut executor = Executor {
        client: harness.client().await?,
        output,
        started: Instant::now(),
        outcome: Outcome::new(scenario.key, scenario.expected),
    };
    match executor.run(scenario, harness, request).await {
        Ok(()) => {}
        Err(Stop::Failed(reason)) => {
            executor.outcome.duration = executor.started.elapsed();
            executor.output.paragraph(&format!("Stopped: {reason}."))?;
            executor.outcome.failure = Some(reason);
        }
        Err(Stop::Output(error)) => return Err(error.into()),
    }
    Ok(executor.outcome)
}

/// Why a scenario stops early.
enum Stop {
    /// A call failed, or its response is unusable.
    Failed(String),
    /// Standard output cannot be written to.
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// What Flyte stores of a task between two calls.
struct Task {
    resource_meta: Vec<u8>,
    category: Option<TaskCategory>,
    output_prefix: String,
    connection: Option<Connection>,
}

/// The part of `resource_meta` that the demo prints.
#[derive(Deserialize)]
struct Meta {
    databricks_instance: String,
    run_id: String,
}

struct Executor<'a> {
    client: Client,
    output: &'a mut Output,
    started: Instant,
    outcome: Outcome,
}

impl Executor<'_> {
    async fn run(
        &mut self,
        scenario: &Scenario,
        harness: &Harness,
        request: CreateTaskRequest,
    ) -> Result<(), Stop> {
        let task = self.create(scenario, harness, request).await?;
        if scenario.abort {
            self.poll(&task, Some(POLLS_BEFORE_ABORT)).await?;
            self.delete(&task).await?;
        }
        self.poll(&task, None).await?;
        self.outcome.duration = self.started.elapsed();
        self.logs(&task).await?;
        if !scenario.abort {
            self.delete(&task).await?;
        }
        Ok(())
    }

    async fn create(
        &mut self,
        scenario: &Scenario,
        harness: &Harness,
        request: CreateTaskRequest,
    ) -> Result<Task, Stop> {
        let category = request.template.as_ref().map(|template| TaskCategory {
            name: template.r#type.clone(),
            version: template.task_type_version,
        });
        let output_prefix = request.output_prefix.clone();
        let connection = request.connection.clone();
        let response = Box::pin(self.client.create_task(with_timeout(request))).await;
        let resource_meta = self.success("CreateTask", response)?.resource_meta;
        let Ok(meta) = serde_json::from_slice::<Meta>(&resource_meta) else {
            return Err(Stop::Failed(
                "CreateTask returned a resource_meta without a run id".to_owned(),
            ));
        };
        self.outcome.run_id = Some(meta.run_id.clone());
        let submissions = harness.emulator.submissions();
        let has_name =
            |body: &&Value| body.get("run_name").and_then(Value::as_str) == Some(scenario.run_name);
        let Some(body) = submissions.iter().find(has_name) else {
            let reason = "CreateTask succeeded, but the workspace received no run of that name";
            return Err(Stop::Failed(reason.to_owned()));
        };
        let created = Created::new(meta.databricks_instance, meta.run_id, body);
        self.emit(Response::Created(created))?;
        Ok(Task { resource_meta, category, output_prefix, connection })
    }

    /// Calls `GetTask` until the phase is terminal, or was RUNNING `max_running` times.
    async fn poll(&mut self, task: &Task, max_running: Option<u32>) -> Result<(), Stop> {
        let mut running = 0;
        loop {
            let phase = self.get(task).await?;
            if phase == Phase::Running {
                running += 1;
            }
            if is_terminal(phase) || max_running.is_some_and(|max| running >= max) {
                return Ok(());
            }
            if self.started.elapsed() > SCENARIO_LIMIT {
                let limit = SCENARIO_LIMIT.as_secs();
                return Err(Stop::Failed(format!("the run did not end within {limit} s")));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn get(&mut self, task: &Task) -> Result<Phase, Stop> {
        let request = GetTaskRequest {
            resource_meta: task.resource_meta.clone(),
            task_category: task.category.clone(),
            output_prefix: task.output_prefix.clone(),
            connection: task.connection.clone(),
        };
        let response = self.client.get_task(with_timeout(request)).await;
        let resource = self.success("GetTask", response)?.resource.unwrap_or_default();
        let phase = resource.phase();
        self.outcome.record(&resource);
        self.emit(Response::Status(resource))?;
        Ok(phase)
    }

    async fn logs(&mut self, task: &Task) -> Result<(), Stop> {
        let request = GetTaskLogsRequest {
            resource_meta: task.resource_meta.clone(),
            task_category: task.category.clone(),
            ..GetTaskLogsRequest::default()
        };
        let response = self.client.get_task_logs(with_timeout(request)).await;
        let stream = self.success("GetTaskLogs", response)?;
        let lines = read_lines(stream).await;
        let lines = lines.map_err(|status| self.error("GetTaskLogs", status))?;
        self.outcome.log.clone_from(&lines);
        self.emit(Response::Logs(lines))
    }

    async fn delete(&mut self, task: &Task) -> Result<(), Stop> {
        let request = DeleteTaskRequest {
            resource_meta: task.resource_meta.clone(),
            task_category: task.category.clone(),
            connection: task.connection.clone(),
        };
        let response = self.client.delete_task(with_timeout(request)).await;
        self.success("DeleteTask", response)?;
        self.emit(Response::Deleted)
    }

    fn success<T>(
        &mut self,
        call: &'static str,
        response: Result<tonic::Response<T>, Status>,
    ) -> Result<T, Stop> {
        response.map(tonic::Response::into_inner).map_err(|status| self.error(call, status))
    }

    fn error(&mut self, call: &'static str, status: Status) -> Stop {
        let reason = format!("{call} failed: {}", status.message());
        match self.emit(Response::Error { call, status }) {
            Ok(()) => Stop::Failed(reason),
            Err(stop) => stop,
        }
    }

    fn emit(&mut self, response: Response) -> Result<(), Stop> {
        let event = Event { task: self.outcome.task, elapsed: self.started.elapsed(), response };
        Ok(self.output.event(event)?)
    }
}

fn with_timeout<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// Collects the lines of a log stream, without line endings.
async fn read_lines(mut stream: Streaming<GetTaskLogsResponse>) -> Result<Vec<String>, Status> {
    let mut lines = Vec::new();
    while let Some(part) = stream.message().await? {
        if let Some(Part::Body(body)) = part.part {
            let messages = body.lines.into_iter().map(|line| line.message);
            lines.extend(messages.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()));
        }
    }
    Ok(lines)
}
