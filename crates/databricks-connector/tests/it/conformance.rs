//! The connector under the conformance tests of `connector-core`: every trap of Flyte that they know.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use connector_core::{
    Connection, CreateContext,
    testing::{Backend, Fault, FaultyCalls, JobEnd, check},
    value,
};
use databricks_connector::{Config, DatabricksConnector};
use databricks_emulator::{
    Calls, CannedResponse, Emulator, Endpoint, Fault as CallFault, FaultPlan, FaultRule, Outcome,
    Pace, RetryAfter, RunSummary, Script, When,
};
use flyteidl2::{connector::CreateTaskRequest, core::TaskTemplate};
use secrecy::SecretString;
use serde_json::json;

use crate::harness::TOKEN;

/// The token that a task brings. The workspace accepts it as the connector's own.
const TASK_TOKEN: &str = "dapi-of-the-task";

struct Workspace {
    emulator: Emulator,
    /// Runs that were deleted, and are not in the emulator's list.
    forgotten: AtomicUsize,
}

impl Workspace {
    fn active_runs(&self) -> impl Iterator<Item = RunSummary> {
        self.emulator.runs().into_iter().filter(|run| run.result.is_none() && !run.cancelled)
    }
}

impl Backend for Workspace {
    type Connector = DatabricksConnector;

    fn connector(&self) -> DatabricksConnector {
        let config = Config {
            instance: Some(self.emulator.http_url()),
            access_token: Some(SecretString::from(TOKEN)),
            ..Config::default()
        };
        DatabricksConnector::new(config).unwrap()
    }

    fn request(&self) -> CreateContext {
        let custom = json!({
            "databricksInstance": self.emulator.http_url(),
            "databricksConf": {
                "existing_cluster_id": "0923-164208-meows279",
                "notebook_task": {"notebook_path": "/report"},
            },
        });
        let mut cx = CreateContext::from(CreateTaskRequest {
            template: Some(TaskTemplate {
                r#type: "databricks".to_owned(),
                custom: custom.as_object().map(value::struct_from_json),
                ..Default::default()
            }),
            ..Default::default()
        });
        let token = SecretString::from(TASK_TOKEN);
        cx.connection = Connection::new().with_secret("databricks_token", token);
        cx
    }

    fn set_fault(&self, fault: Option<Fault>, calls: FaultyCalls) {
        let calls = match calls {
            FaultyCalls::All => Calls::any(),
            FaultyCalls::Start => Calls::to([Endpoint::SubmitRun]),
        };
        let answer = |status, body: &str| CallFault::Answer(CannedResponse::json(status, body));
        let fault = fault.map(|fault| match fault {
            Fault::Unreachable => CallFault::DropBefore,
            Fault::ServerError => answer(503, r#"{"error_code":"TEMPORARILY_UNAVAILABLE"}"#),
            Fault::RateLimited => CallFault::RateLimited(RetryAfter::Absent),
            Fault::MalformedAnswer => answer(200, r#"{"run_id":"#),
            Fault::CredentialRejected => answer(401, r#"{"error_code":"UNAUTHENTICATED"}"#),
            Fault::LostAnswer => CallFault::DropAfter,
            Fault::Hang => CallFault::DelayBefore(Duration::from_hours(1)),
            other => panic!("no rule for {other:?}"),
        });
        let rule = fault.map(|fault| FaultRule::on_calls(calls.clone(), When::Always(fault)));
        self.emulator.set_faults(FaultPlan::default());
        if let Some(rule) = rule {
            self.emulator.inject(rule);
        }
    }

    fn end_jobs(&self, end: JobEnd) {
        for run in self.active_runs() {
            let outcome = match end {
                JobEnd::Success => Outcome::Success,
                JobEnd::Failure => {
                    Outcome::Failed { error: "ValueError".to_owned(), error_trace: String::new() }
                }
            };
            self.emulator.end_run(run.run_id, outcome);
        }
    }

    fn forget_jobs(&self) {
        for run in self.emulator.runs() {
            self.emulator.delete_run(run.run_id);
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn started(&self) -> usize {
        self.emulator.runs().len() + self.forgotten.load(Ordering::Relaxed)
    }

    fn active(&self) -> usize {
        self.active_runs().count()
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn timeout_under_fault(&self) -> Duration {
        Duration::from_secs(1)
    }
}

#[tokio::test]
async fn connector_falls_into_no_trap() {
    let script = Script::success().with_pace(Pace::Manual);
    let emulator = Emulator::builder().token(TOKEN).token(TASK_TOKEN).default_script(script);
    let workspace =
        Workspace { emulator: emulator.start().await.unwrap(), forgotten: AtomicUsize::new(0) };
    check(&workspace).await.unwrap_or_else(|found| panic!("{found}"));
}
