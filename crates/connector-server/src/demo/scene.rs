//! One task's life, as Flyte's executor lives it: create, ask until the end, read the log, delete.

use std::time::Duration;

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
    answer::{Answer, Call, Created, Said, Standing, Submitted, is_terminal},
    display::{Display, OutputError},
    outcome::Outcome,
    requests::{Aim, aimed},
    scenes::{Ending, Scene},
    stage::{BoxError, Client, Stage, TASK_TOKEN},
};

/// How often `GetTask` is asked. Flyte's executor takes some seconds.
const POLL: Duration = Duration::from_millis(200);

/// How long one call may take: what Flyte gives its default connector.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a scene may take.
const SCENE_LIMIT: Duration = Duration::from_secs(12);

/// Plays a scene to its end, or to the first answer that makes going on pointless.
pub(super) async fn play(
    scene: &Scene,
    stage: &Stage,
    display: &mut Display,
) -> Result<Outcome, BoxError> {
    let workspace = stage.emulator.https_host();
    let aim = Aim { workspace: &workspace, run_name: scene.run_name, token: TASK_TOKEN };
    let request = aimed(scene.captured, aim)?;
    stage.emulator.set_script(scene.run_name, scene.script.clone());
    let mut executor = Executor {
        client: stage.client().await?,
        display,
        task: scene.key,
        started: Instant::now(),
        outcome: Outcome::default(),
    };
    match executor.live(scene, stage, request).await {
        Ok(()) => Ok(executor.outcome),
        Err(Break::Off) => Ok(Outcome { took: executor.started.elapsed(), ..executor.outcome }),
        Err(Break::Output(error)) => Err(error.into()),
    }
}

/// Why a scene does not go on.
enum Break {
    /// The outcome says why.
    Off,
    /// Nobody can see it.
    Output(OutputError),
}

impl From<OutputError> for Break {
    fn from(error: OutputError) -> Self {
        Self::Output(error)
    }
}

/// What Flyte keeps of a task between two calls.
struct Task {
    resource_meta: Vec<u8>,
    category: Option<TaskCategory>,
    output_prefix: String,
    connection: Option<Connection>,
}

/// The part of the resource meta that the demo shows.
#[derive(Deserialize)]
struct Meta {
    databricks_instance: String,
    run_id: String,
}

struct Executor<'a> {
    client: Client,
    display: &'a mut Display,
    task: &'static str,
    started: Instant,
    outcome: Outcome,
}

impl Executor<'_> {
    async fn live(
        &mut self,
        scene: &Scene,
        stage: &Stage,
        request: CreateTaskRequest,
    ) -> Result<(), Break> {
        let task = self.create(scene, stage, request).await?;
        if let Ending::DeleteOnceRunning { polls } = scene.ending {
            self.watch(&task, Some(polls)).await?;
            self.delete(&task).await?;
        }
        self.watch(&task, None).await?;
        self.outcome.took = self.started.elapsed();
        self.logs(&task).await?;
        if scene.ending == Ending::ByItself {
            self.delete(&task).await?;
        }
        Ok(())
    }

    async fn create(
        &mut self,
        scene: &Scene,
        stage: &Stage,
        request: CreateTaskRequest,
    ) -> Result<Task, Break> {
        let template = request.template.as_ref();
        let category = template.map(|template| TaskCategory {
            name: template.r#type.clone(),
            version: template.task_type_version,
        });
        let output_prefix = request.output_prefix.clone();
        let connection = request.connection.clone();
        let answer = Box::pin(self.client.create_task(timed(request))).await;
        let resource_meta = self.accepted(Call::CreateTask, answer)?.resource_meta;
        let Ok(meta) = serde_json::from_slice::<Meta>(&resource_meta) else {
            return Err(self.broken_off("CreateTask answered a resource meta without a run id"));
        };
        self.outcome.run_id = Some(meta.run_id.clone());
        let submitted = stage.emulator.submissions().into_iter();
        let mut submitted = submitted
            .filter(|body| body.get("run_name").and_then(Value::as_str) == Some(scene.run_name));
        let Some(body) = submitted.next() else {
            return Err(self
                .broken_off("CreateTask was accepted, and the workspace got no run of that name"));
        };
        self.answered(Said::Created(Created {
            workspace: meta.databricks_instance,
            run_id: meta.run_id,
            submitted: Submitted::of(&body),
        }))?;
        Ok(Task { resource_meta, category, output_prefix, connection })
    }

    /// Asks until the run has ended, or was seen running so often.
    async fn watch(&mut self, task: &Task, running_polls: Option<u32>) -> Result<(), Break> {
        let mut running = 0;
        loop {
            let standing = self.get(task).await?;
            if is_terminal(standing.phase) {
                return Ok(());
            }
            if standing.phase == Phase::Running {
                running += 1;
            }
            if running_polls.is_some_and(|wanted| running >= wanted) {
                return Ok(());
            }
            if self.started.elapsed() > SCENE_LIMIT {
                let limit = SCENE_LIMIT.as_secs();
                return Err(self.broken_off(format!("the run had not ended after {limit} s")));
            }
            sleep(POLL).await;
        }
    }

    async fn get(&mut self, task: &Task) -> Result<Standing, Break> {
        let request = GetTaskRequest {
            resource_meta: task.resource_meta.clone(),
            task_category: task.category.clone(),
            output_prefix: task.output_prefix.clone(),
            connection: task.connection.clone(),
        };
        let answer = self.client.get_task(timed(request)).await;
        let resource = self.accepted(Call::GetTask, answer)?.resource.unwrap_or_default();
        let standing = Standing::of(resource);
        if self.outcome.phases.last() != Some(&standing.phase) {
            self.outcome.phases.push(standing.phase);
        }
        self.outcome.message.clone_from(&standing.message);
        self.outcome.has_run_page |=
            standing.links.iter().any(|link| link.name == "Databricks Console");
        self.answered(Said::Stands(standing.clone()))?;
        Ok(standing)
    }

    async fn logs(&mut self, task: &Task) -> Result<(), Break> {
        let request = GetTaskLogsRequest {
            resource_meta: task.resource_meta.clone(),
            task_category: task.category.clone(),
            ..GetTaskLogsRequest::default()
        };
        let answer = self.client.get_task_logs(timed(request)).await;
        let stream = self.accepted(Call::GetTaskLogs, answer)?;
        match lines_of(stream).await {
            Ok(lines) => {
                self.outcome.log.clone_from(&lines);
                self.answered(Said::Logged(lines))
            }
            Err(status) => Err(self.refused(Call::GetTaskLogs, &status)),
        }
    }

    async fn delete(&mut self, task: &Task) -> Result<(), Break> {
        let request = DeleteTaskRequest {
            resource_meta: task.resource_meta.clone(),
            task_category: task.category.clone(),
            connection: task.connection.clone(),
        };
        let answer = self.client.delete_task(timed(request)).await;
        self.accepted(Call::DeleteTask, answer)?;
        self.answered(Said::Deleted)
    }

    fn accepted<T>(
        &mut self,
        call: Call,
        answer: Result<tonic::Response<T>, Status>,
    ) -> Result<T, Break> {
        answer.map(tonic::Response::into_inner).map_err(|status| self.refused(call, &status))
    }

    fn refused(&mut self, call: Call, status: &Status) -> Break {
        let message = status.message().to_owned();
        self.outcome.trouble = Some(format!("{} was refused: {message}", call.name()));
        match self.answered(Said::Refused { call, code: status.code(), message }) {
            Ok(()) => Break::Off,
            Err(lost) => lost,
        }
    }

    fn broken_off(&mut self, why: impl Into<String>) -> Break {
        self.outcome.trouble = Some(why.into());
        Break::Off
    }

    fn answered(&mut self, said: Said) -> Result<(), Break> {
        let answer = Answer { task: self.task, at: self.started.elapsed(), said };
        Ok(self.display.answer(&answer)?)
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// The lines of the log, without their line ends.
async fn lines_of(mut stream: Streaming<GetTaskLogsResponse>) -> Result<Vec<String>, Status> {
    let mut lines = Vec::new();
    while let Some(part) = stream.message().await? {
        if let Some(Part::Body(body)) = part.part {
            lines.extend(
                body.lines
                    .into_iter()
                    .map(|line| line.message.trim_end_matches(['\r', '\n']).to_owned()),
            );
        }
    }
    Ok(lines)
}
