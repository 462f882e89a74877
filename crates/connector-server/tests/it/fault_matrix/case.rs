//! One case of the matrix: a fault in one call to the workspace, and one RPC of Flyte.
//!
//! Each case has its own workspace and task; all cases share one server. A case describes the response and the run in
//! the words of the matrix.

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
    core::Connection,
};
use tonic::{Request, Status};

use super::expectations::{InjectedFault, TOKEN_LIFETIME};
use crate::{
    fixtures::create_request_for,
    server::{Running, config, start},
    workspace::{connector_config, task_category},
};

/// The name of the injected rule.
const RULE: &str = "fault";

/// The name of the rule that accepts expired tokens.
const LENIENT_RULE: &str = "lenient";

/// Expires between any two polls, so a test needs no sleep. The defaults are 15 min and 60 s.
const GRACE_PERIOD: Duration = Duration::from_nanos(1);

/// The token of every task.
const TOKEN: &str = "dapi-of-the-task";

/// The output of every task.
const LOG: &str = "hello\n";

/// An RPC of Flyte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rpc {
    Create,
    Get,
    Delete,
    Logs,
    Metrics,
}

impl Rpc {
    pub const ALL: [Self; 5] = [Self::Create, Self::Get, Self::Delete, Self::Logs, Self::Metrics];

    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CreateTask",
            Self::Get => "GetTask",
            Self::Delete => "DeleteTask",
            Self::Logs => "GetTaskLogs",
            Self::Metrics => "GetTaskMetrics",
        }
    }

    /// Returns the endpoint whose calls fail.
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

/// How often the fault occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Once,
    Always,
}

impl Repeat {
    pub const ALL: [Self; 2] = [Self::Once, Self::Always];

    fn when<F>(self, fault: F) -> When<F> {
        match self {
            Self::Once => When::once(fault),
            Self::Always => When::Always(fault),
        }
    }

    /// Returns Flyte's timeout. A fault that occurs once leaves time for a retry after a slow first attempt.
    fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Once => 5,
            Self::Always => 2,
        })
    }
}

#[derive(Debug)]
pub struct Case {
    pub fault: InjectedFault,
    pub rpc: Rpc,
    pub repeat: Repeat,
    /// Distinguishes the tasks of all cases.
    pub number: usize,
}

/// The server of all cases, and an emulator whose certificates the workspaces reuse, because trusting one is slow.
pub struct SharedServer {
    emulator: Emulator,
    server: Running,
}

impl SharedServer {
    pub async fn start() -> Self {
        let emulator = Emulator::builder().start().await.unwrap();
        let databricks = Config {
            refusal_patience: GRACE_PERIOD,
            vanished_patience: GRACE_PERIOD,
            ..connector_config(&emulator)
        };
        let server = start(config(), registry(databricks).unwrap()).await;
        Self { emulator, server }
    }
}

/// The workspace of a case, and its task.
struct CaseTask<'a> {
    emulator: Emulator,
    server: &'a Running,
    output_prefix: String,
    resource_meta: Vec<u8>,
    timeout: Duration,
    /// Whether the emulator records the calls that the fault hits.
    records_faults: bool,
}

impl Case {
    /// Runs the case. Returns the response and the state of the run.
    pub async fn run(&self, shared: &SharedServer) -> String {
        let mut task = self.task(shared).await;
        if self.rpc != Rpc::Create {
            self.prepare(&mut task).await;
        }
        task.timeout = self.repeat.timeout();
        task.emulator.inject(self.rule());
        if let Some(rule) = self.lenient_rule() {
            // All other calls must succeed.
            task.emulator.inject(rule);
        }
        let mut outcome = task.call(self.rpc).await;
        if self.repeat == Repeat::Always && matches!(self.rpc, Rpc::Get | Rpc::Delete) {
            let later = task.call(self.rpc).await;
            if later != outcome {
                outcome = format!("{outcome}, later {later}");
            }
        }
        let hits = task.emulator.fault_count(RULE);
        let runs = task.emulator.submissions().len();
        if hits == 0 || hits > 1 && self.repeat == Repeat::Once {
            outcome = format!("{outcome} (the fault occurred {hits} times)");
        }
        if runs > 1 {
            outcome = format!("{outcome} ({runs} runs of one attempt)");
        }
        outcome
    }

    fn rule(&self) -> FaultRule {
        let rule = match self.fault.clone() {
            InjectedFault::Call(fault) => {
                FaultRule::on_calls(Calls::to([self.rpc.endpoint()]), self.repeat.when(fault))
            }
            InjectedFault::Run(fault) => {
                FaultRule::on_runs(RunCalls::to([self.rpc.run_call()]), self.repeat.when(fault))
            }
            InjectedFault::Connection(fault) => FaultRule::on_connections(self.repeat.when(fault)),
        };
        rule.named(RULE)
    }

    /// Returns a rule that accepts expired tokens, if that is the fault.
    fn lenient_rule(&self) -> Option<FaultRule> {
        let InjectedFault::Call(fault @ Fault::TokenClock(TokenClock::Behind(_))) = &self.fault
        else {
            return None;
        };
        Some(FaultRule::on_calls(Calls::any(), When::Always(fault.clone())).named(LENIENT_RULE))
    }

    async fn task<'a>(&self, shared: &'a SharedServer) -> CaseTask<'a> {
        let script = Script::success()
            .with_pace(Pace::Manual)
            .with_steps([LifeCycle::Pending, LifeCycle::Running].map(Step::new))
            .with_logs(LOG);
        // The fault that accepts expired tokens needs one.
        let lifetime = if self.lenient_rule().is_some() { Duration::ZERO } else { TOKEN_LIFETIME };
        let emulator = Emulator::builder()
            .certificates_from(&shared.emulator)
            .expiring_token(TOKEN, lifetime)
            .default_script(script)
            .start()
            .await
            .unwrap();
        CaseTask {
            emulator,
            server: &shared.server,
            output_prefix: format!("s3://bucket/{}/0", self.number),
            resource_meta: Vec::new(),
            timeout: Duration::from_secs(30),
            records_faults: !matches!(self.fault, InjectedFault::Connection(_)),
        }
    }

    /// Advances the run to RUNNING while the connector's last known phase is INITIALIZING. For
    /// logs and metrics, ends it.
    async fn prepare(&self, task: &mut CaseTask<'_>) {
        if let Some(rule) = self.lenient_rule() {
            task.emulator.inject(rule);
        }
        assert_eq!(task.call(Rpc::Create).await, "OK, 1 run");
        assert_eq!(task.call(Rpc::Get).await, "OK INITIALIZING");
        let run_id = task.emulator.runs()[0].run_id;
        task.emulator.advance(run_id);
        if matches!(self.fault, InjectedFault::Run(RunFault::EarlierState(_)))
            && self.rpc == Rpc::Get
        {
            // The newer state must come before the older one.
            assert_eq!(task.call(Rpc::Get).await, "OK RUNNING");
        }
        if matches!(self.rpc, Rpc::Logs | Rpc::Metrics) {
            task.emulator.advance(run_id);
        }
        task.emulator.remove_fault(LENIENT_RULE);
    }
}

impl CaseTask<'_> {
    /// Makes a call. Returns its outcome in the words of the matrix.
    async fn call(&mut self, rpc: Rpc) -> String {
        let result = match rpc {
            Rpc::Create => Box::pin(self.create()).await,
            Rpc::Get => Box::pin(self.get()).await,
            Rpc::Delete => Box::pin(self.delete()).await,
            Rpc::Logs => Box::pin(self.logs()).await,
            Rpc::Metrics => Box::pin(self.metrics()).await,
        };
        let mut outcome = result.unwrap_or_else(|status| code_name(&status));
        match rpc {
            Rpc::Create => {
                self.wait_for_faults().await;
                let runs = self.emulator.runs().len();
                outcome = format!("{outcome}, {runs} {}", if runs == 1 { "run" } else { "runs" });
            }
            Rpc::Delete => {
                self.wait_for_faults().await;
                outcome.push_str(match self.emulator.runs().first() {
                    None => ", no run",
                    Some(run) if run.cancelled => ", cancelled",
                    Some(_) => ", active",
                });
            }
            Rpc::Get | Rpc::Logs | Rpc::Metrics => {}
        }
        outcome
    }

    /// Waits until the emulator has processed all calls that the fault hit, however late.
    async fn wait_for_faults(&self) {
        let recording = async {
            while self.records_faults && self.recorded_faults() < self.emulator.fault_count(RULE) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let result = tokio::time::timeout(Duration::from_secs(30), recording).await;
        result.expect("the emulator records all faulty calls");
    }

    fn recorded_faults(&self) -> u64 {
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
            create_request_for("40_executor_first_attempt", &self.emulator.https_host());
        message.output_prefix.clone_from(&self.output_prefix);
        message.connection = Some(connection());
        let response = self.server.tasks().create_task(self.request(message)).await?;
        self.resource_meta = response.into_inner().resource_meta;
        Ok("OK".to_owned())
    }

    async fn get(&self) -> Result<String, Status> {
        let message = GetTaskRequest {
            resource_meta: self.resource_meta.clone(),
            task_category: Some(task_category()),
            output_prefix: self.output_prefix.clone(),
            connection: Some(connection()),
        };
        let response = self.server.tasks().get_task(self.request(message)).await?.into_inner();
        Ok(format!("OK {}", response.resource.unwrap().phase().as_str_name()))
    }

    async fn delete(&self) -> Result<String, Status> {
        let message = DeleteTaskRequest {
            resource_meta: self.resource_meta.clone(),
            task_category: Some(task_category()),
            connection: Some(connection()),
        };
        self.server.tasks().delete_task(self.request(message)).await?;
        Ok("OK".to_owned())
    }

    /// Reads the log page by page until it ends or a page is empty.
    async fn logs(&self) -> Result<String, Status> {
        let mut token = String::new();
        let mut has_output = false;
        loop {
            let message = GetTaskLogsRequest {
                resource_meta: self.resource_meta.clone(),
                task_category: Some(task_category()),
                token: std::mem::take(&mut token),
                ..GetTaskLogsRequest::default()
            };
            let mut page =
                self.server.tasks().get_task_logs(self.request(message)).await?.into_inner();
            let mut lines = 0;
            while let Some(response) = page.message().await? {
                match response.part {
                    Some(Part::Body(body)) => {
                        lines += body.lines.len();
                        has_output |= body.lines.iter().any(|line| line.message == LOG);
                    }
                    Some(Part::Header(header)) => token = header.token,
                    None => {}
                }
            }
            if token.is_empty() {
                let outcome = if has_output { "OK, complete" } else { "OK, without output" };
                return Ok(outcome.to_owned());
            }
            if lines == 0 {
                return Ok("OK, more later".to_owned());
            }
        }
    }

    async fn metrics(&self) -> Result<String, Status> {
        let message = GetTaskMetricsRequest {
            resource_meta: self.resource_meta.clone(),
            task_category: Some(task_category()),
            ..GetTaskMetricsRequest::default()
        };
        let response = self.server.tasks().get_task_metrics(self.request(message)).await?;
        assert!(!response.into_inner().results.is_empty());
        Ok("OK".to_owned())
    }
}

/// Returns the task's connection, which carries its token.
fn connection() -> Connection {
    let secrets = [("databricks_token".to_owned(), TOKEN.to_owned())].into();
    Connection { secrets, ..Connection::default() }
}

/// Returns the gRPC code in upper snake case.
fn code_name(status: &Status) -> String {
    let mut name = String::new();
    for letter in format!("{:?}", status.code()).chars() {
        if !name.is_empty() && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
