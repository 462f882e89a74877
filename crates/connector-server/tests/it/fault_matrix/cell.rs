//! One cell: a workspace, a server and a task of their own, one fault, and one call of Flyte.

use std::time::Duration;

use connector_server::registry;
use databricks_connector::Config;
use databricks_emulator::{
    Calls, Emulator, Endpoint, Fault, FaultRule, LifeCycle, Pace, RunCall, RunCalls, RunFault,
    Script, Step, TokenClock, When,
};
use flyteidl2::{
    connector::{
        DeleteTaskRequest, GetTaskLogsRequest, GetTaskMetricsRequest, GetTaskRequest,
        get_task_logs_response::Part,
    },
    core::{Connection, task_execution::Phase},
};
use tonic::{Request, Status};

use super::rows::{Strike, TOKEN_LIFE};
use crate::{
    databricks::{captured, category, configured, pointed_at},
    server::{Running, config, start},
};

/// The name of the rule.
const RULE: &str = "the fault";

/// The name of the rule that lets an expired token pass.
const LENIENT: &str = "lenient";

/// How long a refusal and a vanished run are borne; 15 min and 60 s where nobody says otherwise.
const PATIENCE: Duration = Duration::from_millis(100);

/// The token of every task.
const TOKEN: &str = "dapi-of-the-task";

/// What the task wrote.
const LOG: &str = "hello\n";

/// Until the second look at a fault that lasts.
const LATER: Duration = Duration::from_millis(150);

/// What Flyte calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Get,
    Delete,
    Logs,
    Metrics,
}

impl Verb {
    pub const ALL: [Self; 5] = [Self::Create, Self::Get, Self::Delete, Self::Logs, Self::Metrics];

    /// The name of the call.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CreateTask",
            Self::Get => "GetTask",
            Self::Delete => "DeleteTask",
            Self::Logs => "GetTaskLogs",
            Self::Metrics => "GetTaskMetrics",
        }
    }

    /// The call to Databricks that goes wrong.
    fn endpoint(self) -> Endpoint {
        match self {
            Self::Create => Endpoint::SubmitRun,
            Self::Get | Self::Metrics => Endpoint::GetRun,
            Self::Delete => Endpoint::CancelRun,
            Self::Logs => Endpoint::GetRunOutput,
        }
    }

    fn run_call(self) -> RunCall {
        match self {
            Self::Delete => RunCall::CancelRun,
            Self::Logs => RunCall::GetRunOutput,
            Self::Create | Self::Get | Self::Metrics => RunCall::GetRun,
        }
    }
}

/// How often the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    Once,
    Forever,
}

impl Lasts {
    pub const ALL: [Self; 2] = [Self::Once, Self::Forever];

    fn when<F>(self, fault: F) -> When<F> {
        match self {
            Self::Once => When::once(fault),
            Self::Forever => When::Always(fault),
        }
    }

    /// How long Flyte waits. What strikes once has time to be tried again after a first try that is too slow.
    fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Once => 5,
            Self::Forever => 2,
        })
    }
}

#[derive(Debug)]
pub struct Cell {
    pub strike: Strike,
    pub verb: Verb,
    pub lasts: Lasts,
    /// Tells the tasks of all cells apart.
    pub number: usize,
}

/// A server, and a workspace whose certificates all others share: to be trusted costs the most.
pub struct Stage {
    emulator: Emulator,
    server: Running,
}

impl Stage {
    pub async fn new() -> Self {
        let emulator = Emulator::builder().start().await.unwrap();
        let databricks = Config {
            refusal_patience: PATIENCE,
            vanished_patience: PATIENCE,
            ..configured(&emulator)
        };
        let server = start(config(), registry(databricks).unwrap()).await;
        Self { emulator, server }
    }
}

/// The workspace of a cell, and the task in it.
struct World<'a> {
    emulator: Emulator,
    server: &'a Running,
    output_prefix: String,
    resource_meta: Vec<u8>,
    timeout: Duration,
    /// Whether what the fault strikes is recorded by the workspace.
    is_of_calls: bool,
}

impl Cell {
    /// What Flyte is answered, and how the run fares.
    pub async fn play(&self, stage: &Stage) -> String {
        let mut world = self.world(stage).await;
        if self.verb != Verb::Create {
            self.prepare(&mut world).await;
        }
        world.timeout = self.lasts.timeout();
        world.emulator.inject(self.rule());
        if let Some(lenient) = self.lenient() {
            // The calls that the fault is not for are to succeed all the same.
            world.emulator.inject(lenient);
        }
        let mut seen = world.call(self.verb).await;
        if self.lasts == Lasts::Forever && matches!(self.verb, Verb::Get | Verb::Delete) {
            tokio::time::sleep(LATER).await;
            let later = world.call(self.verb).await;
            if later != seen {
                seen = format!("{seen}, later {later}");
            }
        }
        let struck = world.emulator.fault_count(RULE);
        let runs = world.emulator.submissions().len();
        if struck == 0 || struck > 1 && self.lasts == Lasts::Once {
            seen = format!("{seen} (the fault struck {struck} times)");
        }
        if runs > 1 {
            seen = format!("{seen} ({runs} runs of one attempt)");
        }
        seen
    }

    fn rule(&self) -> FaultRule {
        let rule = match self.strike.clone() {
            Strike::Call(fault) => {
                FaultRule::on_calls(Calls::to([self.verb.endpoint()]), self.lasts.when(fault))
            }
            Strike::Run(fault) => {
                FaultRule::on_runs(RunCalls::to([self.verb.run_call()]), self.lasts.when(fault))
            }
            Strike::Connection(fault) => FaultRule::on_connections(self.lasts.when(fault)),
        };
        rule.named(RULE)
    }

    /// Lets a token pass that has expired, where that is the fault.
    fn lenient(&self) -> Option<FaultRule> {
        let Strike::Call(fault @ Fault::TokenClock(TokenClock::Behind(_))) = &self.strike else {
            return None;
        };
        Some(FaultRule::on_calls(Calls::any(), When::Always(fault.clone())).named(LENIENT))
    }

    async fn world<'a>(&self, stage: &'a Stage) -> World<'a> {
        let script = Script::success()
            .with_pace(Pace::Manual)
            .with_steps([LifeCycle::Pending, LifeCycle::Running].map(Step::new))
            .with_logs(LOG);
        // A token that is accepted too long has expired already.
        let lifetime = if self.lenient().is_some() { Duration::ZERO } else { TOKEN_LIFE };
        let emulator = Emulator::builder()
            .certificates_from(&stage.emulator)
            .expiring_token(TOKEN, lifetime)
            .default_script(script)
            .start()
            .await
            .unwrap();
        World {
            emulator,
            server: &stage.server,
            output_prefix: format!("s3://bucket/{}/0", self.number),
            resource_meta: Vec::new(),
            timeout: Duration::from_secs(30),
            is_of_calls: !matches!(self.strike, Strike::Connection(_)),
        }
    }

    /// A run that is RUNNING, and was INITIALIZING when this process saw it last; for its log and metrics one that has
    /// ended.
    async fn prepare(&self, world: &mut World<'_>) {
        if let Some(lenient) = self.lenient() {
            world.emulator.inject(lenient);
        }
        assert_eq!(world.call(Verb::Create).await, "OK, 1 run");
        assert_eq!(world.call(Verb::Get).await, "OK INITIALIZING");
        let run_id = world.emulator.runs()[0].run_id;
        world.emulator.advance(run_id);
        if matches!(self.strike, Strike::Run(RunFault::EarlierState(_))) && self.verb == Verb::Get {
            // The newer state, before the older one.
            assert_eq!(world.call(Verb::Get).await, "OK RUNNING");
        }
        if matches!(self.verb, Verb::Logs | Verb::Metrics) {
            world.emulator.advance(run_id);
        }
        world.emulator.remove_fault(LENIENT);
    }
}

impl World<'_> {
    /// What comes of a call, in the words of the matrix.
    async fn call(&mut self, verb: Verb) -> String {
        let answer = match verb {
            Verb::Create => Box::pin(self.create()).await,
            Verb::Get => Box::pin(self.get()).await,
            Verb::Delete => Box::pin(self.delete()).await,
            Verb::Logs => Box::pin(self.logs()).await,
            Verb::Metrics => Box::pin(self.metrics()).await,
        };
        let mut said = answer.unwrap_or_else(|status| code_name(&status));
        match verb {
            Verb::Create => {
                self.settled().await;
                let runs = self.emulator.runs().len();
                said = format!("{said}, {runs} {}", if runs == 1 { "run" } else { "runs" });
            }
            Verb::Delete => {
                self.settled().await;
                said.push_str(match self.emulator.runs().first() {
                    None => ", no run",
                    Some(run) if run.cancelled => ", cancelled",
                    Some(_) => ", alive",
                });
            }
            Verb::Get | Verb::Logs | Verb::Metrics => {}
        }
        said
    }

    /// Waits until the calls that the fault struck have arrived, however late.
    async fn settled(&self) {
        while self.is_of_calls && self.arrived() < self.emulator.fault_count(RULE) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn arrived(&self) -> u64 {
        let requests = self.emulator.requests();
        requests.iter().filter(|request| request.fault.as_deref() == Some(RULE)).count() as u64
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    async fn create(&mut self) -> Result<String, Status> {
        let mut message =
            pointed_at(captured("40_executor_first_attempt"), &self.emulator.https_host());
        message.output_prefix.clone_from(&self.output_prefix);
        message.connection = Some(connection());
        let answer = self.server.tasks().create_task(self.request(message)).await?;
        self.resource_meta = answer.into_inner().resource_meta;
        Ok("OK".to_owned())
    }

    async fn get(&self) -> Result<String, Status> {
        let message = GetTaskRequest {
            resource_meta: self.resource_meta.clone(),
            task_category: Some(category()),
            output_prefix: self.output_prefix.clone(),
            connection: Some(connection()),
        };
        let answer = self.server.tasks().get_task(self.request(message)).await?.into_inner();
        Ok(format!("OK {}", phase_name(answer.resource.unwrap().phase())))
    }

    async fn delete(&self) -> Result<String, Status> {
        let message = DeleteTaskRequest {
            resource_meta: self.resource_meta.clone(),
            task_category: Some(category()),
            connection: Some(connection()),
        };
        self.server.tasks().delete_task(self.request(message)).await?;
        Ok("OK".to_owned())
    }

    /// Reads the log as its readers do, page by page, until it ends or a page has nothing new.
    async fn logs(&self) -> Result<String, Status> {
        let mut token = String::new();
        let mut has_output = false;
        loop {
            let message = GetTaskLogsRequest {
                resource_meta: self.resource_meta.clone(),
                task_category: Some(category()),
                token: std::mem::take(&mut token),
                ..GetTaskLogsRequest::default()
            };
            let mut answers =
                self.server.tasks().get_task_logs(self.request(message)).await?.into_inner();
            let mut lines = 0;
            while let Some(answer) = answers.message().await? {
                match answer.part {
                    Some(Part::Body(body)) => {
                        lines += body.lines.len();
                        has_output |= body.lines.iter().any(|line| line.message == LOG);
                    }
                    Some(Part::Header(header)) => token = header.token,
                    None => {}
                }
            }
            if token.is_empty() {
                let all = if has_output { "OK, whole" } else { "OK, without output" };
                return Ok(all.to_owned());
            }
            if lines == 0 {
                return Ok("OK, more later".to_owned());
            }
        }
    }

    async fn metrics(&self) -> Result<String, Status> {
        let message = GetTaskMetricsRequest {
            resource_meta: self.resource_meta.clone(),
            task_category: Some(category()),
            ..GetTaskMetricsRequest::default()
        };
        let answer = self.server.tasks().get_task_metrics(self.request(message)).await?;
        assert!(!answer.into_inner().results.is_empty());
        Ok("OK".to_owned())
    }
}

/// What Flyte remembers of the task: its token.
fn connection() -> Connection {
    let secrets = [("databricks_token".to_owned(), TOKEN.to_owned())].into();
    Connection { secrets, ..Connection::default() }
}

fn phase_name(phase: Phase) -> &'static str {
    phase.as_str_name()
}

/// As the gRPC documents write it.
fn code_name(status: &Status) -> String {
    let name = format!("{:?}", status.code());
    let mut words = String::new();
    for (place, letter) in name.char_indices() {
        if place > 0 && letter.is_ascii_uppercase() {
            words.push('_');
        }
        words.push(letter.to_ascii_uppercase());
    }
    words
}
